/** A process of plain workerd: started with a configuration, known by its sockets' ports, ended without a trace. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { once } from "node:events";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface WorkerdOptions {
  readonly configFile: string;
  /** What the configuration's `fromEnvironment` bindings read, and nothing else of this process's environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Names of the configuration's sockets, all of which must listen before the process counts as started. */
  readonly sockets: readonly string[];
  /** Where its output goes: here, or to an open file. */
  readonly output: "inherit" | number;
  readonly arguments?: readonly string[];
  /** Open sockets to hand over, which it knows as `firstDescriptor` and those that follow */
  readonly descriptors?: readonly number[];
}

export interface Workerd {
  readonly pid: number;
  /** By socket. */
  readonly ports: Readonly<Record<string, number>>;
  /** Settles with its exit, whoever caused it. */
  readonly ended: Promise<string>;
  /** SIGTERM: running requests end; after `drainMs` it is killed. Settles when it is gone. */
  stop(drainMs: number): Promise<"drained" | "killed">;
}

/** The first start after a build reads a cold file of 100 MB. */
const startPatienceMs = 30_000;
const controlDescriptor = 3;
/** What the first of `descriptors` is to the process. */
export const firstDescriptor = 4;

export async function startWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const child = spawn(
    workerdBinary(),
    ["serve", `--control-fd=${controlDescriptor}`, ...(options.arguments ?? []), options.configFile],
    {
      stdio: ["ignore", options.output, options.output, "pipe", ...(options.descriptors ?? [])],
      env: { ...options.environment },
      // Folders in a configuration are relative to where the process runs.
      cwd: dirname(options.configFile),
      // A Ctrl-C at the terminal goes to the whole group: who started it decides when it ends.
      detached: true,
    },
  );
  const exit = once(child, "exit").then(([code, signal]) => (signal === null ? `code ${code}` : String(signal)));
  const ended = endsWithUs(child, exit);
  try {
    const ports = await listening(child, options.sockets, ended);
    return { pid: child.pid as number, ports, ended, stop: (drainMs) => stop(child, ended, drainMs) };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** Kills the process that it is given as soon as its own input ends. */
const sentryScript = 'read -r _; kill -KILL "$0"';

/**
 * A shell that waits for the end of a pipe which only this process holds: whatever ends this process, workerd ends with it.
 * A handler of signals or of the exit can't promise that, since SIGKILL runs none. Where there is no shell nobody watches.
 */
async function endsWithUs(child: ChildProcess, exit: Promise<string>): Promise<string> {
  if (child.pid === undefined) return exit;
  const sentry = spawn("/bin/sh", ["-c", sentryScript, String(child.pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  const over = once(sentry, "exit").catch(() => undefined);
  sentry.unref();
  (sentry.stdin as Socket).unref();
  const how = await exit;
  // Before anybody else could be given the number of the process that is gone.
  sentry.ref();
  sentry.kill("SIGKILL");
  await over;
  return how;
}

/** The package's own launcher would be one more process between us and it. */
function workerdBinary(): string {
  const { default: path } = createRequire(import.meta.url)("workerd") as { default: string };
  return path;
}

async function listening(
  child: ChildProcess,
  sockets: readonly string[],
  ended: Promise<string>,
): Promise<Record<string, number>> {
  const ports: Record<string, number> = {};
  const lines = createInterface({ input: child.stdio[controlDescriptor] as Readable });
  const all = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      const message = JSON.parse(line) as { event: string; socket: string; port: number };
      if (message.event === "listen") ports[message.socket] = message.port;
      if (sockets.every((name) => name in ports)) resolve();
    });
  });
  let timer: NodeJS.Timeout | null = null;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`workerd did not listen within ${startPatienceMs} ms`)), startPatienceMs);
  });
  const gone = ended.then((how) => Promise.reject(new Error(`workerd ended with ${how} instead of listening`)));
  try {
    await Promise.race([all, gone, late]);
  } finally {
    clearTimeout(timer ?? undefined);
  }
  return ports;
}

async function stop(child: ChildProcess, ended: Promise<string>, drainMs: number): Promise<"drained" | "killed"> {
  child.kill("SIGTERM");
  let killed = false;
  const timer = setTimeout(() => {
    killed = true;
    child.kill("SIGKILL");
  }, drainMs);
  await ended;
  clearTimeout(timer);
  return killed ? "killed" : "drained";
}
