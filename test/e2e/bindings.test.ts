/** Every binding but the objects' is optional: what is missing turns its feature off, and nothing else. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { prepareBundle } from "../../demo/bundle.ts";
import { startEdge, type EdgeProcess } from "../../demo/process-start.ts";
import { adminToken, EdgeSystem, serversOf, TestBackend } from "./edge.ts";

const root = join(import.meta.dirname, "..", "..");
let folder: string;
let system: EdgeSystem;

/** The bundle as it comes of a wrangler.toml without these. */
async function bundleWithout(...kinds: readonly string[]): Promise<string> {
  const bundle = join(folder, "bundle");
  await cp(await prepareBundle(root), bundle, { recursive: true });
  const file = join(bundle, "worker.json");
  const worker = JSON.parse(await readFile(file, "utf8")) as Record<string, object>;
  for (const kind of kinds) {
    expect(Object.keys(worker[kind] ?? {}), kind).toHaveLength(1);
    worker[kind] = {};
  }
  await writeFile(file, JSON.stringify(worker));
  return bundle;
}

async function startBare(backend: TestBackend): Promise<EdgeProcess> {
  const variables = { RUNTIME: "local", ADMIN_TOKEN: adminToken, BACKEND_SERVERS: serversOf([backend]) };
  const bundle = await bundleWithout("kvNamespaces", "d1Databases", "analyticsEngineDatasets");
  const logFile = join(folder, "edge.log");
  return startEdge({ root, bundle, host: "127.0.0.1", port: 0, stateFolder: null, variables, logFile });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "jimeng-edge-bindings-"));
  const backend = await TestBackend.start({ name: "only" });
  system = new EdgeSystem([backend], await startBare(backend));
});
afterAll(async () => {
  await system.stop();
  await rm(folder, { recursive: true });
});

it("without KV, D1 and Analytics Engine the edge serves, and an operator is told what is off", async () => {
  for (const path of ["/ping", "/v1/models", "/usage/stats", "/health"]) {
    expect([path, (await system.get(path)).status]).toEqual([path, 200]);
  }
  expect((await system.post("/v1/images/generations", { prompt: "a cat" })).status).toBe(200);
  const logs = await system.operate("/api/logs");
  expect([logs.status, await logs.json()]).toMatchObject([501, { error: { code: "feature_off" } }]);
});

it("each missing binding is said once in the log, however many requests come", async () => {
  for (let index = 0; index < 5; index += 1) await system.get("/ping");
  const missing = async (): Promise<string[]> =>
    (await readFile(join(folder, "edge.log"), "utf8"))
      .split("\n")
      .filter((line) => line.includes('"event":"feature_off"'))
      .map((line) => (JSON.parse(line) as { missing: string }).missing.split(":")[0] ?? "");
  await expect
    .poll(async () => (await missing()).sort())
    .toEqual(["Analytics Engine binding ANALYTICS", "D1 binding DB", "KV binding CACHE"]);
});
