/** The processes of a self-hosted edge: started together, ended together. */
import { once } from "node:events";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { readBundle } from "../../demo/bundle.ts";
import { configText } from "./capnp.ts";
import { edgeSetup, httpSocket, objectsAddress, wholeSetup } from "./setup.ts";
import type { Compatibility } from "./setup.ts";
import { StateLock } from "./state-lock.ts";
import { firstDescriptor, startWorkerd } from "./workerd.ts";
import type { Workerd } from "./workerd.ts";

export interface ServeOptions {
  /** Folder of the built Worker. */
  readonly bundle: string;
  /** Where objects and generated files are kept. */
  readonly stateFolder: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** 1: one process does everything. More: so many for requests, and one for the objects. */
  readonly workers: number;
  readonly variables: Readonly<Record<string, string>>;
}

export interface Server {
  readonly port: number;
  readonly pids: readonly number[];
  /** Settles when one of the processes has ended by itself, with what is known of it. */
  readonly failed: Promise<string>;
  /** Running requests end; what still runs after `drainMs` is killed. */
  stop(drainMs: number): Promise<"drained" | "killed">;
}

export async function serve(options: ServeOptions): Promise<Server> {
  await mkdir(join(options.stateFolder, "objects"), { recursive: true });
  const lock = new StateLock(options.stateFolder);
  try {
    const server = await start(options);
    return { ...server, stop: (drainMs) => server.stop(drainMs).finally(() => lock.release()) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function start(options: ServeOptions): Promise<Server> {
  const folder = join(options.stateFolder, "run");
  // Whoever may open the socket in it may do everything with the objects.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await copyFile(join(options.bundle, "index.js"), join(folder, "index.js"));
  await copyFile(join(import.meta.dirname, "edge.js"), join(folder, "edge.js"));
  const { worker } = await readBundle(options.bundle);
  const { compatibilityDate, compatibilityFlags } = worker as Partial<Compatibility>;
  if (compatibilityDate === undefined) throw new Error("wrangler.toml names no compatibility_date");
  const compatibility = { compatibilityDate, compatibilityFlags: compatibilityFlags ?? [] };
  return options.workers === 1
    ? serveAlone(options, folder, compatibility)
    : serveTogether(options, folder, compatibility);
}

/** An IPv6 address stands in brackets: RFC 3986 §3.2.2. */
export function authority(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

async function serveAlone(options: ServeOptions, folder: string, compatibility: Compatibility): Promise<Server> {
  const { host, port, variables } = options;
  const configFile = join(folder, "config.capnp");
  const address = authority(host, port);
  await writeFile(configFile, configText(wholeSetup(compatibility, Object.keys(variables), address)));
  const process = await startWorkerd({ configFile, environment: variables, sockets: [httpSocket], output: "inherit" });
  return {
    port: process.ports[httpSocket] as number,
    pids: [process.pid],
    failed: process.ended,
    stop: (drainMs) => process.stop(drainMs),
  };
}

async function serveTogether(options: ServeOptions, folder: string, compatibility: Compatibility): Promise<Server> {
  const { variables } = options;
  const names = Object.keys(variables);
  const objectsFile = join(folder, "objects.capnp");
  const edgeFile = join(folder, "edge.capnp");
  await writeFile(objectsFile, configText(wholeSetup(compatibility, names, null)));
  await writeFile(edgeFile, configText(edgeSetup(compatibility, names)));
  const objects = await startWorkerd({
    configFile: objectsFile,
    environment: variables,
    sockets: ["debug-port"],
    output: "inherit",
    arguments: [`--debug-port=${objectsAddress}`],
  });
  try {
    const { edges, port } = await startEdges(options, edgeFile);
    return {
      port,
      pids: [objects.pid, ...edges.map((edge) => edge.pid)],
      failed: Promise.race([objects.ended, ...edges.map((edge) => edge.ended)]),
      async stop(drainMs) {
        // Requests need the objects until they have ended.
        const ends = await Promise.all(edges.map((edge) => edge.stop(drainMs)));
        const last = await objects.stop(objectsDrainMs);
        return [...ends, last].includes("killed") ? "killed" : "drained";
      },
    };
  } catch (error) {
    await objects.stop(0);
    throw error;
  }
}

/** Nobody calls any more: only what is being written. */
const objectsDrainMs = 2000;

/** All listen on the one socket, and whoever is free takes the next connection. */
async function startEdges(
  { host, port, workers, variables }: ServeOptions,
  configFile: string,
): Promise<{ readonly edges: readonly Workerd[]; readonly port: number }> {
  const listener = createServer();
  listener.listen({ host, port, backlog });
  await once(listener, "listening");
  const address = listener.address();
  const descriptor = (listener as unknown as { _handle: { fd: number } })._handle.fd;
  const starting = Array.from({ length: workers }, () =>
    startWorkerd({
      configFile,
      environment: variables,
      sockets: [httpSocket],
      output: "inherit",
      arguments: ["--experimental", `--socket-fd=${httpSocket}=${firstDescriptor}`],
      descriptors: [descriptor],
    }),
  );
  // The children have it; closed before this process could take a connection itself.
  listener.close();
  const settled = await Promise.allSettled(starting);
  const edges = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failure = settled.find((one) => one.status === "rejected");
  if (failure !== undefined) {
    await Promise.all(edges.map((edge) => edge.stop(0)));
    throw failure.reason as Error;
  }
  return { edges, port: typeof address === "object" && address !== null ? address.port : port };
}

/** Connections that wait while all are busy; the system's own bound applies as well. */
const backlog = 1024;
