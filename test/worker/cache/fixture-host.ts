/** Runs a fixture in workerd on a socket of its own: no development proxy in front, and its `fetch` is workerd's. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";

export interface FixtureHost {
  readonly url: URL;
  stop(): Promise<void>;
}

export interface FixtureOptions {
  /** Holds the fixture's `wrangler.toml` and its `fixture.ts`. */
  readonly folder: string;
  readonly bindings: Readonly<Record<string, string>>;
  /** Names of the bindings to the classes of the objects that the fixture exports. */
  readonly objects?: Readonly<Record<string, string>>;
}

/** The cache step in front of an origin. */
export function startFixture(originUrl: string): Promise<FixtureHost> {
  return startWorker({ folder: import.meta.dirname, bindings: { ORIGIN: originUrl } });
}

export async function startWorker({ folder, bindings, objects = {} }: FixtureOptions): Promise<FixtureHost> {
  const classes = Object.entries(objects).map(([name, className]) => [name, { className, useSQLite: true }] as const);
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "fixture",
      compatibilityDate: "2026-10-23",
      compatibilityFlags: ["enable_request_signal"],
      modules: [{ type: "ESModule", path: "fixture.js", contents: await bundled(folder) }],
      bindings: { ...bindings },
      durableObjects: Object.fromEntries(classes),
      port: 0,
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      cf: false,
      log: new Log(LogLevel.NONE),
      logRequests: false,
    }),
  );
  await miniflare.ready;
  return { url: await miniflare.unsafeGetDirectURL(), stop: () => miniflare.dispose() };
}

async function bundled(source: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "fixture-"));
  try {
    const wrangler = new URL("../../../node_modules/wrangler/bin/wrangler.js", import.meta.url).pathname;
    const config = join(source, "wrangler.toml");
    const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG: "warn", NO_COLOR: "1" };
    await promisify(execFile)(
      process.execPath,
      [wrangler, "deploy", "--dry-run", "--config", config, "--outdir", folder],
      { env },
    );
    return await readFile(join(folder, "fixture.js"), "utf8");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
