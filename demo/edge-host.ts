/**
 * Runs the bundled Worker in workerd, through Miniflare: Durable Objects with alarms, KV, D1 and the cache as the
 * platform has them, and a socket of its own instead of a development proxy in front.
 */
import { execFile } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { readBundle, type Bundle } from "./bundle.ts";

export interface EdgeOptions {
  readonly root: string;
  readonly bundle: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Where objects, KV and D1 are kept; null: in memory. */
  readonly stateFolder: string | null;
  /** Variables and secrets of the Worker. */
  readonly variables: Readonly<Record<string, string>>;
  /** What the Worker logs goes here; null: nowhere. */
  readonly logFile: string | null;
}

/** workerd drains on SIGTERM, without end while a request runs. */
const drainMs = 3000;

const databaseBinding = "DB";

export class EdgeHost {
  readonly port: number;
  readonly #miniflare: Miniflare;

  private constructor(miniflare: Miniflare, port: number) {
    this.#miniflare = miniflare;
    this.port = port;
  }

  static async start(options: EdgeOptions): Promise<EdgeHost> {
    const { script, worker } = await readBundle(options.bundle);
    const miniflare = new Miniflare(await miniflareOptions(options, script, worker));
    try {
      await miniflare.ready;
      // D1 is optional, as every binding but the objects': whoever took it out of wrangler.toml starts without it.
      if (hasDatabase(worker)) await applyMigrations(miniflare, join(options.root, "migrations"));
      const url = await miniflare.unsafeGetDirectURL();
      return new EdgeHost(miniflare, Number(url.port));
    } catch (error) {
      await miniflare.dispose();
      throw error;
    }
  }

  /** Lets running requests end for a moment, then ends all. */
  async stop(): Promise<void> {
    const pids = await workerdPids();
    for (const pid of pids) signal(pid, "SIGTERM");
    for (let waited = 0; waited < drainMs && pids.some((pid) => signal(pid, 0)); waited += 50) await sleep(50);
    await this.#miniflare.dispose();
  }
}

async function miniflareOptions(
  options: EdgeOptions,
  script: string,
  worker: Bundle["worker"],
): Promise<ConstructorParameters<typeof Miniflare>[0]> {
  const logs = await openLog(options.logFile);
  return convertV4MiniflareOptions({
    ...(worker as object),
    name: "jimeng-edge",
    rootPath: options.root,
    modules: [{ type: "ESModule", path: join(options.root, "index.js"), contents: script }],
    bindings: { ...options.variables },
    // The entry socket of Miniflare rewrites requests and costs as much again as the Worker: clients get a socket of the Worker's own.
    port: 0,
    unsafeDirectSockets: [{ host: options.host, port: options.port }],
    stripCfConnectingIp: false,
    cf: false,
    log: new Log(LogLevel.NONE),
    logRequests: false,
    handleStructuredLogs: ({ level, message }: { level: string; message: string }) => logs(level, message),
    ...(options.stateFolder === null ? {} : { resourcePersistencePath: options.stateFolder }),
  });
}

async function openLog(file: string | null): Promise<(level: string, message: string) => void> {
  if (file === null) return () => undefined;
  await mkdir(dirname(file), { recursive: true });
  const stream = createWriteStream(file);
  return (_level, message) => stream.write(`${message}\n`);
}

function hasDatabase({ d1Databases }: Bundle["worker"]): boolean {
  return typeof d1Databases === "object" && d1Databases !== null && Object.hasOwn(d1Databases, databaseBinding);
}

/** As `wrangler d1 migrations apply --local` does: each file once, in the order of its name. */
async function applyMigrations(miniflare: Miniflare, folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const database = await miniflare.getD1Database(databaseBinding);
  await database
    .prepare("CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)")
    .run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
  const applied = new Set(results.map(({ name }) => name));
  const files = (await readdir(folder)).filter((name) => name.endsWith(".sql") && !applied.has(name)).sort();
  for (const file of files) {
    await database.prepare(await readFile(join(folder, file), "utf8")).run();
    await database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(file).run();
  }
}

/** Miniflare keeps its child to itself, so the system is asked. */
async function workerdPids(): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,comm="]);
  return stdout
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, command]) => Number(parent) === process.pid && command?.includes("workerd"))
    .map(([pid]) => Number(pid));
}

/** False when there is no such process. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
