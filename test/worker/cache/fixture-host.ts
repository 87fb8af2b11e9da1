/** Runs the fixture in workerd on a socket of its own: no development proxy in front, and its `fetch` is workerd's. */
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

export async function startFixture(originUrl: string): Promise<FixtureHost> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "cache-fixture",
      compatibilityDate: "2026-10-23",
      compatibilityFlags: ["enable_request_signal"],
      modules: [{ type: "ESModule", path: "fixture.js", contents: await bundled() }],
      bindings: { ORIGIN: originUrl },
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

async function bundled(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cache-fixture-"));
  try {
    const wrangler = new URL("../../../node_modules/wrangler/bin/wrangler.js", import.meta.url).pathname;
    const config = join(import.meta.dirname, "wrangler.toml");
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
