/** Starts stand-ins and the edge as processes that end with whoever started them. */
import { spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { join } from "node:path";
import type { DialectName } from "./dialect.ts";
import type { EdgeOptions } from "./edge-host.ts";
import type { DemoOptions } from "./state.ts";

type Child = ChildProcessByStdio<Writable, Readable, null>;

export interface BackendProcess {
  readonly name: string;
  readonly dialect: DialectName;
  readonly port: number;
  readonly url: string;
  /** Base of the control endpoint, `http://127.0.0.1:…/__demo`. */
  readonly control: string;
  readonly child: ChildProcess;
  /** SIGKILL; settles when the process is gone. */
  kill(): Promise<void>;
}

export interface EdgeProcess {
  readonly port: number;
  readonly url: string;
  readonly child: ChildProcess;
  /** Drains for at most three seconds, then kills; settles when edge and workerd are gone. */
  stop(): Promise<void>;
}

/** Longer than the slowest start seen on a busy machine, in milliseconds. */
const startPatienceMs = 30_000;

export async function startBackend(
  options: Partial<DemoOptions> & Pick<DemoOptions, "dialect" | "name">,
): Promise<BackendProcess> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const args = given.flatMap(([key, value]) => [`--${kebab(key)}`, String(value)]);
  const child = startNode("backend.ts", [...args, "--lifeline"], false);
  const { port, controlPort } = (await firstLine(child)) as { port: number; controlPort: number };
  return {
    name: options.name,
    dialect: options.dialect,
    port,
    url: `http://127.0.0.1:${port}`,
    control: `http://127.0.0.1:${controlPort}/__demo`,
    child,
    kill: () => end(child, () => child.kill("SIGKILL")),
  };
}

export async function startEdge(options: EdgeOptions): Promise<EdgeProcess> {
  const child = startNode("edge.ts", [], true);
  // It leads a process group: should it die by itself, what it started must not stay.
  child.once("exit", () => killGroup(child.pid));
  child.stdin.write(`${JSON.stringify(options)}\n`);
  const { port } = (await firstLine(child)) as { port: number };
  const stop = (): Promise<void> => end(child, () => child.stdin.end());
  return { port, url: `http://127.0.0.1:${port}`, child, stop };
}

const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

function startNode(file: string, args: readonly string[], detached: boolean): Child {
  const child = spawn(process.execPath, [join(import.meta.dirname, file), ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    detached,
  });
  // A child that is gone is noticed by its exit.
  child.stdin.on("error", () => undefined);
  return child;
}

/** The first line that a child prints, as JSON; its `error` becomes ours. */
async function firstLine(child: Child): Promise<object> {
  const lines = createInterface({ input: child.stdout });
  const leave = new AbortController();
  const { signal } = leave;
  try {
    const line = await Promise.race([
      once(lines, "line", { signal }).then(([first]) => String(first)),
      once(child, "exit", { signal }).then(([code]) => JSON.stringify({ error: `ended with code ${String(code)}` })),
      once(AbortSignal.timeout(startPatienceMs), "abort", { signal }).then(() => '{"error":"did not start in time"}'),
    ]);
    const value = JSON.parse(line) as { error?: string };
    if (value.error !== undefined) throw new Error(value.error);
    return value;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    leave.abort();
    lines.close();
    child.stdout.resume();
  }
}

async function end(child: ChildProcess, how: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  how();
  await gone;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody was left in it.
  }
}
