/** `npm run build`: the bundle as it would be deployed, into `dist/`, and a limit on its size. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

/** Start-up time grows with the code: a Worker of this kind needs no more. */
const limitKiB = 150;

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });

const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
const { status } = spawnSync(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", dist], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
});
if (status !== 0) process.exit(status ?? 1);

const script = readFileSync(join(dist, "index.js"));
const kib = (bytes: number): string => (bytes / 1024).toFixed(1);
const packed = gzipSync(script).length;
console.log(`dist/index.js: ${kib(script.length)} KiB, ${kib(packed)} KiB gzip (at most ${limitKiB})`);
if (packed > limitKiB * 1024) {
  console.error(`the bundle is larger than ${limitKiB} KiB gzip`);
  process.exit(1);
}
