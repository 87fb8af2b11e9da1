/**
 * `npm run serve`: the built Worker on plain workerd, without Cloudflare and without wrangler. One line says where it
 * listens; the Worker's log follows on stdout.
 */
import { join, resolve } from "node:path";
import { defineCommand, runMain } from "citty";
import type { ArgsDef } from "citty";
import { prepareBundle, stateFolder } from "../demo/bundle.ts";
import { refuseUnknown, UsageError } from "./flags.ts";
import { authority, serve } from "./serve/server.ts";
import type { Server } from "./serve/server.ts";
import { faultsOf, readVariables } from "./serve/variables.ts";

const root = join(import.meta.dirname, "..");
/** systemd's unit in docs/operations.md gives 60 s. */
const drainS = 50;
const mostWorkers = 64;

function whole(option: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${option}: a whole number from ${min} to ${max}; received ${JSON.stringify(text)}`);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

function endWithSignals(server: Server, drainMs: number): void {
  let stopping = false;
  const stop = async (): Promise<void> => {
    // Asked a second time, it doesn't wait.
    if (stopping) {
      for (const pid of server.pids) kill(pid);
      return;
    }
    stopping = true;
    const how = await server.stop(drainMs);
    if (how === "killed") console.error(`requests that still ran after ${drainMs / 1000} s were ended`);
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  void server.failed.then(async (how) => {
    if (stopping) return;
    stopping = true;
    console.error(`workerd ended with ${how}`);
    await server.stop(0);
    process.exit(1);
  });
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

const command = defineCommand({
  meta: { name: "serve", description: "Run the built Worker on plain workerd, on this machine" },
  args: {
    host: { type: "string", default: "127.0.0.1", description: "address to listen on" },
    port: { type: "string", default: process.env["PORT"] ?? "8787", description: "port; 0 takes a free one" },
    workers: {
      type: "string",
      default: "1",
      description: "processes that answer requests; one more holds the objects",
    },
    state: { type: "string", default: join(root, stateFolder, "serve"), description: "folder that outlives restarts" },
    "env-file": { type: "string", default: join(root, ".dev.vars"), description: "file of variables" },
    drain: { type: "string", default: String(drainS), description: "seconds for running requests after SIGTERM" },
  },
  async run({ args, cmd }) {
    try {
      refuseUnknown(args, cmd.args as ArgsDef);
      const { values, warnings } = readVariables(args["env-file"], process.env);
      for (const warning of warnings) console.error(warning);
      const faults = faultsOf(values);
      if (faults.length > 0) {
        const lines = faults.map(({ field, allowed, received }) => `  ${field}: ${allowed}; received ${received}`);
        fail(`the configuration can't be used:\n${lines.join("\n")}`);
      }
      const options = {
        host: args.host,
        port: whole("port", args.port, 0, 65_535),
        workers: whole("workers", args.workers, 1, mostWorkers),
      };
      const drainMs = whole("drain", args.drain, 0, 86_400) * 1000;
      const bundle = await prepareBundle(root);
      const server = await serve({ ...options, bundle, stateFolder: resolve(args.state), variables: values });
      endWithSignals(server, drainMs);
      console.log(`jimeng-edge listens on http://${authority(options.host, server.port)}`);
    } catch (error) {
      fail(error instanceof Error ? error.message : String(error));
    }
  },
});

await runMain(command);
