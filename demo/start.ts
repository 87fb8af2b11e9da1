/**
 * `npm start`: three stand-in Jimeng servers and the edge in front of them, on this machine. With `BACKEND_SERVERS` in the
 * environment or in `.dev.vars` the edge stands in front of those instead.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareBundle, stateFolder } from "./bundle.ts";
import type { DialectName } from "./dialect.ts";
import { freeOrAny, isFree, preferredPorts } from "./ports.ts";
import { isOrphanedByNpm, parentOf } from "./ancestors.ts";
import { startBackend, startEdge, type BackendProcess, type EdgeProcess } from "./process-start.ts";
import { demoAdminToken, readVariables } from "./variables.ts";

const root = join(import.meta.dirname, "..");
const host = "127.0.0.1";
const defaultPort = 8787;

const fleet: readonly { readonly dialect: DialectName; readonly weight: number }[] = [
  { dialect: "mapped", weight: 3 },
  { dialect: "flat-1", weight: 2 },
  { dialect: "flat-2", weight: 1 },
];

const { values: flags } = parseArgs({
  options: { fresh: { type: "boolean", default: false }, vars: { type: "string", default: ".dev.vars" } },
});
const backends: BackendProcess[] = [];
let edge: EdgeProcess | null = null;
let stopping = false;

function readPort(): number {
  const given = process.env["PORT"] ?? String(defaultPort);
  const port = Number(given);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new Error(`PORT: a whole number from 1 to 65535; received ${JSON.stringify(given)}`);
}

async function startFleet(edgePort: number): Promise<void> {
  const ports = preferredPorts(edgePort, fleet.length);
  const started = await Promise.all(
    fleet.map(async ({ dialect }, index) =>
      startBackend({ dialect, name: `demo-${dialect}`, port: await freeOrAny(ports[index] ?? 0) }),
    ),
  );
  backends.push(...started);
  for (const backend of backends) backend.child.once("exit", () => sayThatItEnded(backend));
}

function serversVariable(): string {
  return JSON.stringify(backends.map(({ url, name }, index) => ({ url, name, weight: fleet[index]?.weight ?? 1 })));
}

function sayThatItEnded({ name, dialect, port }: BackendProcess): void {
  if (stopping) return;
  console.log(
    `${name} has ended. To bring it back: node demo/backend.ts --dialect ${dialect} --port ${port} --name ${name}`,
  );
}

function greet(url: string, token: string | undefined, logFile: string): void {
  // Somebody's own token is a secret, also on their own screen.
  const isDemoToken = token === demoAdminToken;
  const rows = backends.map(({ name, url: at, child, control }, index) => {
    const weight = fleet[index]?.weight ?? 1;
    return `  ${name.padEnd(12)} ${at}   weight ${weight}, process ${child.pid}, faults on demand at ${control}`;
  });
  const ours = rows.length > 0 ? rows : ["  (your own backends, from BACKEND_SERVERS)"];
  const json = "-H 'content-type: application/json'";
  console.log(
    [
      "",
      `  jimeng-edge  ${url}   log: ${logFile}`,
      ...ours,
      "",
      `  Admin token: ${isDemoToken ? token : "yours, as given in ADMIN_TOKEN"}`,
      "",
      "  Try:",
      `  curl ${url}/v1/models`,
      `  curl ${url}/v1/images/generations -H 'authorization: Bearer any' ${json} -d '{"prompt":"a cat on the moon"}'`,
      `  curl -N ${url}/v1/chat/completions -H 'authorization: Bearer any' ${json} -d '{"model":"jimeng-4.5","stream":true,"messages":[{"role":"user","content":"a cat"}]}'`,
      `  curl ${url}/health`,
      `  curl ${url}/api/ip-preference -H 'authorization: Bearer ${isDemoToken ? token : "<your token>"}'`,
      "",
      "  Ctrl-C stops everything.",
      "",
    ].join("\n"),
  );
}

async function start(): Promise<void> {
  const port = readPort();
  if (!(await isFree(port))) throw new Error(`port ${port} is taken; choose another: PORT=8788 npm start`);
  const folder = join(root, stateFolder, String(port));
  if (flags.fresh) await rm(folder, { recursive: true, force: true });
  const variables = readVariables(resolve(root, flags.vars), process.env);
  // As the Worker reads it: an empty text is nothing.
  const isDemo = (variables["BACKEND_SERVERS"] ?? "").trim() === "";
  const [bundle] = await Promise.all([prepareBundle(root), isDemo ? startFleet(port) : null]);
  if (isDemo) variables["BACKEND_SERVERS"] = serversVariable();
  const logFile = join(folder, "edge.log");
  const options = { root, bundle, host, port, stateFolder: join(folder, "state"), variables, logFile };
  if (stopping) return;
  edge = await startEdge(options);
  edge.child.once("exit", () => void stop(1, "The edge has ended by itself; its log may say why."));
  greet(edge.url, variables["ADMIN_TOKEN"], logFile);
}

async function stop(code: number, reason?: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  if (reason !== undefined) console.error(reason);
  await edge?.stop();
  await Promise.all(backends.map((backend) => backend.kill()));
  process.exit(code);
}

/** npm passes signals on to the shell that stands between us, not to us: that they have gone is how we notice. */
function stopWithNpm(): void {
  if (process.env["npm_lifecycle_event"] !== "start") return;
  if (isOrphanedByNpm()) return void stop(0);
  const ancestors = (): string => `${process.ppid} ${parentOf(process.ppid)}`;
  const atStart = ancestors();
  setInterval(() => ancestors() !== atStart && void stop(0), 1000).unref();
}

if (!existsSync(join(root, "node_modules", "wrangler"))) {
  console.error("The dependencies are missing: npm ci");
  process.exit(1);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop(0));
stopWithNpm();
start().catch((error: unknown) => stop(1, error instanceof Error ? error.message : String(error)));
