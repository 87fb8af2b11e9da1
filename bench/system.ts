/** One process of plain workerd for each skeleton and for the product, all with the same origin behind them. */
import { closeSync, existsSync, openSync, rmSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBundle } from "../demo/bundle.ts";
import { configText } from "../tools/serve/capnp.ts";
import type { Binding, WorkerService } from "../tools/serve/capnp.ts";
import { startWorkerd } from "../tools/serve/workerd.ts";
import type { Workerd } from "../tools/serve/workerd.ts";
import { workers } from "./cases.ts";
import type { WorkerName } from "./cases.ts";
import { startOrigin } from "./process.ts";
import type { Origin } from "./process.ts";

/** Objects are stored in memory where the system has a file system for that: the disk of a machine is another's bench. */
function fastFolder(): string {
  return existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
}

export interface System {
  readonly origin: Origin;
  readonly workers: Readonly<Record<WorkerName, Workerd>>;
  portOf(name: WorkerName): number;
  stop(): Promise<void>;
}

const drainMs = 2000;
const here = import.meta.dirname;

/** `v8Flags`: for the engine, as a profile needs them. */
export async function startSystem(
  bundle: string,
  needed: readonly WorkerName[] = workers,
  v8Flags: readonly string[] = [],
): Promise<System> {
  const folder = await mkdtemp(join(fastFolder(), "jimeng-edge-bench-"));
  const origin = await startOrigin();
  const started: Partial<Record<WorkerName, Workerd>> = {};
  // It lies in memory, where a signal in the middle of a start must not leave it.
  const clear = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", clear);
  const stop = async (): Promise<void> => {
    await Promise.all(Object.values(started).map((worker) => worker.stop(drainMs)));
    origin.stop();
    await rm(folder, { recursive: true, force: true });
    process.off("exit", clear);
  };
  try {
    for (const name of needed)
      started[name] = await startWorker(name, join(folder, name), bundle, origin.ports, v8Flags);
  } catch (error) {
    await stop();
    throw error;
  }
  const all = started as Record<WorkerName, Workerd>;
  return { origin, workers: all, portOf: (name) => all[name].ports.http as number, stop };
}

async function startWorker(
  name: WorkerName,
  folder: string,
  bundle: string,
  originPorts: readonly number[],
  v8Flags: readonly string[],
): Promise<Workerd> {
  await mkdir(join(folder, "objects"), { recursive: true });
  const made = name.startsWith("product")
    ? await product(folder, bundle, originPorts, rateLimits[name] ?? {})
    : await skeleton(name, folder, bundle, originPorts);
  const configFile = join(folder, "config.capnp");
  const isProduct = name.startsWith("product");
  const listener = { name: "http", address: "127.0.0.1:0", service: made.name };
  const counts = { name: "calls", address: "127.0.0.1:0", service: made.name, entrypoint: "Calls" };
  const listeners = isProduct ? [listener, counts] : [listener];
  const setup = { services: [made], listeners, objectsFolder: "objects", uniquePrefix: "bench", v8Flags };
  await writeFile(configFile, configText(setup));
  // The log goes to a file, as a service's does.
  const log = openSync(join(folder, "log"), "w");
  try {
    return await startWorkerd({ configFile, environment: {}, sockets: listeners.map((one) => one.name), output: log });
  } catch (error) {
    throw new Error(`${name}: ${await readFile(join(folder, "log"), "utf8")}`, { cause: error });
  } finally {
    closeSync(log);
  }
}

/** `RATE_LIMIT` where it is not the usual one. */
const rateLimits: Readonly<Partial<Record<WorkerName, object>>> = {
  "product-unlimited": { mode: "off" },
  "product-roomy": { requests: 10_000 },
};

async function product(
  folder: string,
  bundle: string,
  originPorts: readonly number[],
  rateLimit: object,
): Promise<WorkerService> {
  const { worker } = await readBundle(bundle);
  await copyFile(join(bundle, "index.js"), join(folder, "index.js"));
  await copyFile(join(here, "product", "counting.js"), join(folder, "counting.js"));
  const backends = originPorts.map((port, index) => ({
    name: `origin-${index + 1}`,
    url: `http://127.0.0.1:${port}`,
  }));
  const config = { RATE_LIMIT: rateLimit };
  const bindings: Binding[] = [
    // Clients are told apart by CF-Connecting-IP, which only this runtime believes from anybody.
    { kind: "text", name: "RUNTIME", text: "local" },
    { kind: "text", name: "BACKEND_SERVERS", text: JSON.stringify(backends) },
    { kind: "text", name: "CONFIG", text: JSON.stringify(config) },
    { kind: "objects", name: "BACKEND_REGISTRY", className: "BackendRegistry", service: null },
    { kind: "objects", name: "RATE_LIMITER", className: "RateLimiter", service: null },
    { kind: "objects", name: "OPERATIONS_LEDGER", className: "OperationsLedger", service: null },
  ];
  return {
    name: "product",
    modules: ["counting.js", "index.js"].map((file) => ({ name: file, file })),
    ...compatibility(worker),
    bindings,
    classes: ["BackendRegistry", "RateLimiter", "OperationsLedger"],
    storage: "disk",
  };
}

async function skeleton(
  name: WorkerName,
  folder: string,
  bundle: string,
  originPorts: readonly number[],
): Promise<WorkerService> {
  const { worker } = await readBundle(bundle);
  const main = `${name.replace("-again", "")}.js`;
  const files = [main, "objects.js", ...(name.startsWith("least") ? ["least.js"] : [])];
  for (const file of files) await copyFile(join(here, "skeleton", file), join(folder, file));
  const origins = originPorts.map((port) => `http://127.0.0.1:${port}`).join(" ");
  return {
    name: "skeleton",
    modules: files.map((file) => ({ name: file, file })),
    ...compatibility(worker),
    bindings: [
      { kind: "text", name: "ORIGINS", text: origins },
      { kind: "objects", name: "LIMITER", className: "Limiter", service: null },
      { kind: "objects", name: "REGISTRY", className: "Registry", service: null },
    ],
    classes: ["Limiter", "Registry"],
    storage: "disk",
  };
}

function compatibility(
  worker: Readonly<Record<string, unknown>>,
): Pick<WorkerService, "compatibilityDate" | "compatibilityFlags"> {
  const { compatibilityDate, compatibilityFlags } = worker as Partial<WorkerService>;
  if (compatibilityDate === undefined) throw new Error("wrangler.toml names no compatibility_date");
  return { compatibilityDate, compatibilityFlags: compatibilityFlags ?? [] };
}
