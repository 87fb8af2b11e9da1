/** The Worker as it would be deployed: wrangler's own bundle and its reading of `wrangler.toml`, kept by content. */
import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Bundle {
  readonly script: string;
  /** Miniflare's options of the Worker, without its code and its variables. */
  readonly worker: Readonly<Record<string, unknown>>;
}

/** Folder of everything that a start leaves behind; not part of the repository. */
export const stateFolder = ".jimeng-edge";

/** Bundles of older sources that are kept, the last used, for whoever still starts from them. */
const keptBundles = 4;
const draftPrefix = "draft-";
/** A bundle takes seconds, on a busy machine a minute: whoever began an older draft was killed over it. */
const draftMs = 3_600_000;

export async function readBundle(folder: string): Promise<Bundle> {
  const script = await readFile(join(folder, "index.js"), "utf8");
  return { script, worker: JSON.parse(await readFile(join(folder, "worker.json"), "utf8")) as Bundle["worker"] };
}

/** Makes the bundle, unless one of the very same sources is there, and answers its folder. */
export async function prepareBundle(root: string): Promise<string> {
  const bundles = join(root, stateFolder, "bundles");
  const folder = join(bundles, await sourceDigest(root));
  if (existsSync(folder)) {
    await used(folder);
    return folder;
  }
  await dropOld(bundles, Date.now());
  const draft = join(bundles, draftPrefix + randomUUID());
  await mkdir(draft, { recursive: true });
  const [options] = await Promise.all([readOptions(root), makeScript(root, draft)]);
  await writeFile(join(draft, "worker.json"), options);
  // Two starts may race: the first to finish wins, and both bundles are the same.
  await rename(draft, folder).catch(async () => rm(draft, { recursive: true, force: true }));
  return folder;
}

async function makeScript(root: string, folder: string): Promise<void> {
  await runNode(
    root,
    join("node_modules", "wrangler", "bin", "wrangler.js"),
    "deploy",
    "--dry-run",
    "--outdir",
    folder,
  );
}

async function readOptions(root: string): Promise<string> {
  return runNode(root, join(import.meta.dirname, "worker-options.ts"), join(root, "wrangler.toml"));
}

async function runNode(root: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_LOG: "warn", NO_COLOR: "1" };
  try {
    return (await run(process.execPath, args, { cwd: root, env, maxBuffer: 16 * 1024 * 1024 })).stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`the Worker could not be bundled:\n${stdout}${stderr}`, { cause: error });
  }
}

async function sourceDigest(root: string): Promise<string> {
  const digest = createHash("sha256");
  const sources = (await readdir(join(root, "src"), { recursive: true })).filter((name) => name.endsWith(".ts")).sort();
  for (const name of ["wrangler.toml", "package-lock.json", ...sources.map((source) => join("src", source))]) {
    digest.update(name).update(await readFile(join(root, name)).catch(() => ""));
  }
  return digest.digest("hex").slice(0, 16);
}

/** A folder's time is that of its last use. Another start may just be dropping it, and then makes it anew. */
async function used(folder: string): Promise<void> {
  const now = new Date();
  await utimes(folder, now, now).catch(() => undefined);
}

/** Leaves the last used bundles, and the drafts that may still be written. */
export async function dropOld(bundles: string, nowMs: number): Promise<void> {
  const names = await readdir(bundles).catch(() => []);
  const aged = await Promise.all(
    names.map(async (name) => ({ name, ageMs: nowMs - (await usedMs(join(bundles, name))) })),
  );
  const drafts = aged.filter(({ name }) => name.startsWith(draftPrefix));
  const whole = aged.filter(({ name }) => !name.startsWith(draftPrefix)).sort((one, other) => one.ageMs - other.ageMs);
  for (const { name } of [...whole.slice(keptBundles), ...drafts.filter(({ ageMs }) => ageMs > draftMs)])
    await rm(join(bundles, name), { recursive: true, force: true });
}

/** What another start has just dropped is as old as can be. */
async function usedMs(folder: string): Promise<number> {
  return (await stat(folder).catch(() => null))?.mtimeMs ?? 0;
}
