/**
 * Several edge Workers, each an isolate with a memory and a socket of its own, before one set of objects: as Cloudflare runs
 * them, and as one process with one isolate can't show it. The optional bindings of all may be in trouble.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { prepareBundle, readBundle } from "../../demo/bundle.ts";
import { adminToken, serversOf, type TestBackend } from "./edge.ts";

const root = join(import.meta.dirname, "..", "..");

/** How D1, KV and Analytics Engine behave: `fails` at once, or `hangs` without an answer. */
export type Trouble = "none" | "fails" | "hangs";

export interface IsolateOptions {
  readonly isolates: number;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly trouble?: Trouble;
}

/** In front of the bundle: the same Worker and objects, with bindings that are in trouble. */
function wrapped(trouble: Trouble): string {
  return `
import worker, * as bundle from "./bundle.js";
const trouble = ${JSON.stringify(trouble)};
const fail = () => { throw new Error("down for the verification"); };
const wait = () => trouble === "hangs" ? new Promise(() => undefined) : Promise.reject(new Error("down for the verification"));
const statement = { bind: () => statement, run: wait, all: wait, first: wait, raw: wait };
const broken = { DB: { prepare: () => statement, batch: wait }, CACHE: { get: wait, put: wait }, ANALYTICS: { writeDataPoint: fail } };
const known = new WeakMap();
const given = (env) => {
  if (trouble === "none") return env;
  if (!known.has(env)) known.set(env, { ...env, ...broken });
  return known.get(env);
};
export class BackendRegistry extends bundle.BackendRegistry { constructor(ctx, env) { super(ctx, given(env)); } }
export class RateLimiter extends bundle.RateLimiter {}
export class OperationsLedger extends bundle.OperationsLedger {}
export default {
  fetch: (request, env, ctx) => worker.fetch(request, given(env), ctx),
  scheduled: (controller, env, ctx) => worker.scheduled(controller, given(env), ctx),
};`;
}

export class Isolates {
  readonly urls: readonly string[];
  /** What the Workers and the objects have said. */
  readonly log: readonly string[];
  readonly #miniflare: Miniflare;

  private constructor(miniflare: Miniflare, urls: readonly string[], log: readonly string[]) {
    this.#miniflare = miniflare;
    this.urls = urls;
    this.log = log;
  }

  static async start(backends: readonly TestBackend[], options: IsolateOptions): Promise<Isolates> {
    const { isolates, config = {}, trouble = "none" } = options;
    const { script, worker } = await readBundle(await prepareBundle(root));
    const log: string[] = [];
    const names = Array.from({ length: isolates }, (_, index) => `edge-${index}`);
    const objects = worker["durableObjects"] as Readonly<Record<string, { readonly className: string }>>;
    const elsewhere = Object.fromEntries(
      Object.entries(objects).map(([binding, { className }]) => [
        binding,
        { className, scriptName: names[0], useSQLite: true },
      ]),
    );
    const shared = {
      ...(worker as object),
      rootPath: root,
      modules: [
        { type: "ESModule", path: join(root, "index.js"), contents: wrapped(trouble) },
        { type: "ESModule", path: join(root, "bundle.js"), contents: script },
      ],
      bindings: {
        RUNTIME: "local",
        ADMIN_TOKEN: adminToken,
        BACKEND_SERVERS: serversOf(backends),
        // A line for each request would keep this process busier than the edge.
        CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false }, LOG: { console: false }, ...config }),
      },
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      stripCfConnectingIp: false,
    };
    const workers = names.map((name, index) =>
      index === 0 ? { ...shared, name } : { ...shared, name, durableObjects: elsewhere },
    );
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        port: 0,
        cf: false,
        log: new Log(LogLevel.NONE),
        logRequests: false,
        handleStructuredLogs: ({ message }: { message: string }) => void log.push(message),
        workers,
      } as Parameters<typeof convertV4MiniflareOptions>[0]),
    );
    try {
      await miniflare.ready;
      const database = await miniflare.getD1Database("DB", names[0]);
      await database.prepare(await readFile(join(root, "migrations", "0001_request_logs.sql"), "utf8")).run();
      const urls = await Promise.all(names.map(async (name) => (await miniflare.unsafeGetDirectURL(name)).origin));
      return new Isolates(miniflare, urls, log);
    } catch (error) {
      await miniflare.dispose();
      throw error;
    }
  }

  /** With the admin's token, at the first. */
  operate(path: string, init: { method?: string; body?: unknown } = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
    const body = init.body === undefined ? null : JSON.stringify(init.body);
    return fetch((this.urls[0] ?? "") + path, { method: init.method ?? "GET", headers, body });
  }

  stop(): Promise<void> {
    return this.#miniflare.dispose();
  }
}
