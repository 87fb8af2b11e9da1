/**
 * Ten minutes of mixed traffic, and then the books: what was sent, logged, counted by the limiter, by the registry and by the
 * backends must be equal, and memory must not have grown. `SOAK_MINUTES` and `SOAK_RATE` make it shorter or gentler.
 */
import { createReadStream, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { startSystem } from "../e2e/edge.ts";
import type { EdgeSystem } from "../e2e/edge.ts";
import { Load } from "../e2e/forwarding/load.ts";
import { residentMiB, workerdPid } from "../e2e/forwarding/observed.ts";
import { readExposition } from "../shared/metrics/exposition-lint.ts";
import type { ReadFamily } from "../shared/metrics/exposition-lint.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const minutes = Number(process.env["SOAK_MINUTES"] ?? 10);
const rate = Number(process.env["SOAK_RATE"] ?? 300);
/** One in twenty is a generation. */
const generationShare = 0.05;
/** After the first minute the caches, pools and compiled code stand. */
const warmUpMs = 60_000;
/** Five hundred new clients are five hundred new objects, which cost this machine some tens of milliseconds each: they come slowly. */
const rampMs = 30_000;
const growthAllowed = 0.05;

const config = {
  // Far above what an address of the load sends, so that everything is counted and nothing refused.
  RATE_LIMIT: { requests: 10_000, window: 60, blockDuration: 60 },
  // Probes ask another path than clients do, so that the backends' counts of `/ping` are the clients' alone.
  HEALTH_CHECK: { path: "/test/health" },
};

/**
 * Five hundred limiters write three hundred times a second, each time to the disk; what a machine's disk does with that is
 * not what is looked at here. The processes that are started take their folders from it too.
 */
if (existsSync("/dev/shm")) process.env["TMPDIR"] ??= "/dev/shm";

interface Logged {
  lines: number;
  attemptsAtPing: number;
  failures: number;
}

async function readLog(file: string): Promise<Logged> {
  const logged: Logged = { lines: 0, attemptsAtPing: 0, failures: 0 };
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const start = line.indexOf('{"id"');
    if (start < 0) continue;
    const entry = JSON.parse(line.slice(start)) as {
      url: string;
      route: string | null;
      attempts: number;
      status: number;
    };
    // The operators' own questions, asked by this check.
    if (entry.route === null) continue;
    logged.lines += 1;
    if (entry.route === "GET /ping") logged.attemptsAtPing += entry.attempts;
    if (entry.status >= 400) logged.failures += 1;
  }
  return logged;
}

async function metricsOf(system: EdgeSystem): Promise<readonly ReadFamily[]> {
  return readExposition(await (await system.operate("/metrics")).text());
}

/** Sum of a family's samples whose labels hold all of `labels`. */
function sumOf(families: readonly ReadFamily[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  const samples = families.flatMap((family) => family.samples).filter((sample) => sample.name === name);
  const wanted = samples.filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels.get(label) === value),
  );
  return wanted.reduce((sum, sample) => sum + sample.value, 0);
}

async function countAtBackends(system: EdgeSystem, route: string): Promise<number> {
  const counts = await Promise.all(system.backends.map((backend) => backend.counts()));
  return counts.reduce((sum, count) => sum + (count[route] ?? 0), 0);
}

async function soak(report: VerificationReport): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "jimeng-edge-soak-"));
  const logFile = join(folder, "edge.log");
  const backends = (["mapped", "flat-1", "mapped"] as const).map((dialect, index) => ({
    name: `soak-${index}`,
    dialect,
  }));
  const system = await startSystem({ backends, config, logFile });
  try {
    const pid = workerdPid(system);
    const ramp = loadOf(system, rate / 6);
    ramp.start();
    await sleep(rampMs);
    await ramp.stop(60_000);
    const load = loadOf(system, rate);
    load.start();
    await sleep(warmUpMs);
    const warmMiB = residentMiB(pid);
    await sleep(minutes * 60_000 - warmUpMs);
    const endMiB = residentMiB(pid);
    await load.stop(60_000);
    // Two reports' time: what isolates saw last is told by then.
    await sleep(3_000);
    memory(report, warmMiB, endMiB);
    await books(report, system, [ramp, load], await readLog(logFile));
  } finally {
    await system.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function loadOf(system: EdgeSystem, perSecond: number): Load {
  return new Load(system, { generations: perSecond * generationShare, cheap: perSecond * (1 - generationShare) });
}

function memory(report: VerificationReport, warmMiB: number, endMiB: number): void {
  const growth = endMiB / warmMiB - 1;
  const measured = `${warmMiB.toFixed(0)} MiB after a minute, ${endMiB.toFixed(0)} MiB at the end (${(growth * 100).toFixed(1)} %)`;
  report.check("memory grows by less than 5 % after the first minute", growth < growthAllowed, measured);
}

async function books(
  report: VerificationReport,
  system: EdgeSystem,
  loads: readonly Load[],
  logged: Logged,
): Promise<void> {
  const cheap = loads.flatMap((load) => load.cheap);
  const generations = loads.flatMap((load) => load.generations);
  const all = [...cheap, ...generations];
  const failed = all.filter((sent) => sent.status !== 200);
  report.note(
    `${all.length} requests, ${generations.length} of them generations, at ${rate} a second for ${minutes} min`,
  );
  report.check("no request failed", failed.length === 0, JSON.stringify(failed.slice(0, 3)));
  const families = await metricsOf(system);
  const equal = (claim: string, left: number, right: number): void =>
    report.check(claim, left === right, `${left} = ${right}`);
  equal("sent = logged", all.length, logged.lines);
  equal(
    "sent = counted by the limiter",
    all.length,
    sumOf(families, "jimeng_edge_limiter_decisions_total", { decision: "admitted" }),
  );
  const pings = cheap.filter((sent) => sent.what === "/ping").length;
  equal(
    "attempts at /ping in the log = at the backends",
    logged.attemptsAtPing,
    await countAtBackends(system, "GET /ping"),
  );
  report.note(`${pings} pings asked for`);
  const submits = (await Promise.all(system.backends.map((backend) => backend.submitCount()))).reduce(
    (sum, count) => sum + count,
    0,
  );
  equal(
    "generations answered = submits counted by the backends",
    generations.filter((sent) => sent.status === 200).length,
    submits,
  );
  equal(
    "generations answered = successes counted by the registry",
    submits,
    sumOf(families, "jimeng_edge_backend_attempts_total", { class: "generate", outcome: "success" }),
  );
}

const verification: Verification = { name: "Ten minutes of mixed traffic, and the books", run: soak };
export default verification;
