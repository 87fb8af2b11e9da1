/**
 * Ten minutes of mixed traffic on an edge as `npm run serve` runs it, and then the books: what was sent, logged, counted by
 * the limiter, by the registry and by the servers must be equal, and memory must not have grown. `SOAK_MINUTES` and
 * `SOAK_RATE` make it shorter (more than one) or gentler.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { TestBackend } from "../e2e/edge.ts";
import { becomes, residentMiB } from "../e2e/forwarding/observed.ts";
import { countsAtBackends, noRoute, readLogBook, samplesBy, total } from "../e2e/soak/books.ts";
import type { Counts, LogBook } from "../e2e/soak/books.ts";
import { Clients } from "../e2e/soak/clients.ts";
import type { Kind, Tally } from "../e2e/soak/clients.ts";
import { startSelfHosted } from "../e2e/soak/edge.ts";
import type { SelfHostedEdge } from "../e2e/soak/edge.ts";
import type { ReadFamily } from "../shared/metrics/exposition-lint.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const minutes = Number(process.env["SOAK_MINUTES"] ?? 10);
const rate = Number(process.env["SOAK_RATE"] ?? 300);
const clientCount = 500;
/** Each asks three times a second, and is blocked again and again. */
const floodingClients = 10;
const minuteMs = 60_000;
const sampleMs = 1000;
const growthAllowed = 0.05;

const config = {
  // As by default, with a block that ends within the run, so that clients are blocked more than once.
  RATE_LIMIT: { requests: 100, window: 60, blockDuration: 60, durability: "write-behind" },
  LOG: { console: true, sample: 1 },
  // Probes ask another path than clients do, so that the servers' counts of `/ping` are the clients' alone.
  HEALTH_CHECK: { path: "/test/health" },
};

/**
 * Five hundred limiters write three hundred times a second, each time to the disk; what a machine's disk does with that is
 * not what is looked at here.
 */
const parentFolder = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

async function soak(report: VerificationReport): Promise<void> {
  const folder = mkdtempSync(join(parentFolder, "jimeng-edge-soak-"));
  const started: TestBackend[] = [];
  let edge: SelfHostedEdge | null = null;
  try {
    for (const [index, dialect] of (["mapped", "flat-1", "mapped"] as const).entries())
      started.push(await TestBackend.start({ name: `soak-${index}`, dialect }));
    edge = await startSelfHosted(folder, started, config);
    const clients = new Clients(edge.port, clientCount, floodingClients);
    // The clients are a process of their own: where they stand still for seconds, the machine did, and the edge with it.
    const standstill = monitorEventLoopDelay();
    standstill.enable();
    clients.start(rate);
    memory(report, await watched(edge.pid));
    report.note(`the clients' own clock stood still for ${(standstill.max / 1e9).toFixed(1)} s at the most`);
    await clients.stop();
    await everythingTold(edge);
    await books(report, clients.tally, edge, started);
  } finally {
    await edge?.stop();
    await Promise.all(started.map((backend) => backend.kill()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** MiB in each second of the run. */
async function watched(pid: number): Promise<readonly number[]> {
  const startedMs = performance.now();
  const seen: number[] = [];
  for (let atMs = sampleMs; atMs <= minutes * minuteMs; atMs += sampleMs) {
    await sleep(startedMs + atMs - performance.now());
    seen.push(residentMiB(pid));
  }
  return seen;
}

/** No lease is open, and the isolate has reported twice since: what it saw last is told by then. */
async function everythingTold(edge: SelfHostedEdge): Promise<void> {
  const open = async (): Promise<number> => total(samplesBy(await edge.metrics(), "jimeng_edge_leases", "state"));
  await becomes(open, (leases) => leases === 0, "leases in flight");
  await sleep(3000);
}

/** From the end of the first minute to whichever second was highest after it. */
function memory(report: VerificationReport, seenMiB: readonly number[]): void {
  const perMinute = minuteMs / sampleMs;
  const atMinute = seenMiB[perMinute - 1] as number;
  const highest = Math.max(...seenMiB.slice(perMinute));
  const growth = highest / atMinute - 1;
  report.check(
    "memory grows by less than 5 % after the first minute",
    growth < growthAllowed,
    `${atMinute.toFixed(0)} MiB after a minute, ${highest.toFixed(0)} MiB at the most after it (${(growth * 100).toFixed(1)} %)`,
  );
  const ends = seenMiB.filter((_, second) => (second + 1) % perMinute === 0);
  report.note(`MiB at the end of each minute: ${ends.map((mib) => mib.toFixed(0)).join(" ")}`);
}

/** What a client may be answered with; `left`: it went away itself. */
const expected: Readonly<Record<Kind, readonly string[]>> = {
  ping: ["200"],
  token: ["200"],
  models: ["200"],
  stats: ["200"],
  day_stats: ["200"],
  picture: ["200"],
  stream: ["200"],
  task: ["200"],
  task_status: ["200"],
  left_picture: ["left"],
  left_stream: ["left"],
  flood: ["200", "429"],
  unknown: ["404"],
};

function unexpected(tally: Tally): Counts {
  const found = Object.entries(tally).flatMap(([kind, counts]) =>
    Object.entries(counts)
      .filter(([what]) => !expected[kind as Kind].includes(what))
      .map(([what, count]) => [`${kind} ${what}`, count] as const),
  );
  return Object.fromEntries(found);
}

const routes: Readonly<Record<Kind, string>> = {
  ping: "GET /ping",
  flood: "GET /ping",
  token: "POST /token/check",
  models: "GET /v1/models",
  stats: "GET /usage/stats",
  day_stats: "GET /usage/stats",
  picture: "POST /v1/images/generations",
  left_picture: "POST /v1/images/generations",
  stream: "POST /v1/chat/completions",
  left_stream: "POST /v1/chat/completions",
  task: "POST /v1/async/images/generations",
  task_status: "GET /v1/async/tasks/:id/status",
  unknown: noRoute,
};

/** Probes ask for it too, so the servers' count is not that of the clients' requests. */
const probedRoute = "GET /v1/models";

/** The registry counts by class; the classes of the routes that are asked for here. */
const classRoutes = {
  query: ["GET /ping", probedRoute],
  usage: ["GET /usage/stats"],
  token: ["POST /token/check"],
  generate: ["POST /v1/images/generations"],
  stream: ["POST /v1/chat/completions"],
  task: ["POST /v1/async/images/generations", "GET /v1/async/tasks/:id/status"],
} as const;

async function books(
  report: VerificationReport,
  tally: Tally,
  edge: SelfHostedEdge,
  backends: readonly TestBackend[],
): Promise<void> {
  const logged = await readLogBook(edge.logFile);
  const families = await edge.metrics();
  const sent = Object.values(tally).reduce((sum, counts) => sum + total(counts), 0);
  report.note(`${sent} requests of ${clientCount} clients, ${rate} a second for ${minutes} min: ${summary(tally)}`);
  const failed = unexpected(tally);
  report.check(
    "no request failed",
    total(failed) === 0,
    [JSON.stringify(failed), ...logged.failures].slice(0, 4).join(" "),
  );
  report.check("the log tells of no error", logged.complaints.length === 0, logged.complaints.slice(0, 3).join(" "));
  const equal = equalityIn(report);
  equal("sent = logged", sent, logged.lines);
  for (const [route, count] of Object.entries(sentByRoute(tally))) {
    equal(`${route === noRoute ? "no route" : route}: sent = logged`, count, logged.requests[route] ?? 0);
  }
  atLimiter(equal, tally, families, logged);
  atRegistry(equal, families, logged);
  atServers(equal, families, await countsAtBackends(backends), logged);
}

type Equal = (claim: string, ...counts: readonly number[]) => void;

function equalityIn(report: VerificationReport): Equal {
  return (claim, ...counts) => report.check(claim, new Set(counts).size === 1, counts.join(" = "));
}

function sentByRoute(tally: Tally): Counts {
  const sums: Record<string, number> = {};
  for (const [kind, route] of Object.entries(routes)) sums[route] = (sums[route] ?? 0) + total(tally[kind as Kind]);
  return sums;
}

function atLimiter(equal: Equal, tally: Tally, families: readonly ReadFamily[], logged: LogBook): void {
  const decisions = samplesBy(families, "jimeng_edge_limiter_decisions_total", "decision");
  const { admitted = 0, refused = 0, remembered = 0 } = decisions;
  const turnedAway = tally.flood["429"] ?? 0;
  const onRoutes = total(sentByRoute(tally)) - total(tally.unknown);
  equal("sent on a route = counted by the limiter", onRoutes, total(decisions));
  equal("let pass = admitted by the limiter", onRoutes - turnedAway, admitted);
  equal("refused = logged as refused = refused by the limiter", turnedAway, logged.refused, refused + remembered);
}

function atRegistry(equal: Equal, families: readonly ReadFamily[], logged: LogBook): void {
  for (const [name, ofClassRoutes] of Object.entries(classRoutes)) {
    const attempts = ofClassRoutes.reduce((sum, route) => sum + (logged.attempts[route] ?? 0), 0);
    const counted = samplesBy(ofClass(families, name), "jimeng_edge_backend_attempts_total", "outcome");
    equal(`${name}: attempts in the log = counted by the registry`, attempts, total(counted));
  }
}

/**
 * A connection that a server closes, idle, at the moment of a request breaks under it: an attempt that no server has seen, and
 * that is repeated where it costs nothing. The registry counts it as that server's fault, and there is no other here.
 */
function atServers(equal: Equal, families: readonly ReadFamily[], counted: Counts, logged: LogBook): void {
  for (const [name, ofClassRoutes] of Object.entries(classRoutes)) {
    const seen = ofClassRoutes.filter((route) => route !== probedRoute);
    const sumOver = (counts: Counts): number => seen.reduce((sum, route) => sum + (counts[route] ?? 0), 0);
    const outcomes = samplesBy(ofClass(families, name), "jimeng_edge_backend_attempts_total", "outcome");
    const broken = outcomes["backend_fault"] ?? 0;
    const claim = `${name}: attempts in the log = at the servers, and ${broken} that broke on the way`;
    equal(claim, sumOver(logged.attempts), sumOver(counted) + broken);
  }
}

function ofClass(families: readonly ReadFamily[], name: string): readonly ReadFamily[] {
  return families.map((family) => ({
    ...family,
    samples: family.samples.filter(({ labels }) => labels.get("class") === name),
  }));
}

function summary(tally: Tally): string {
  return Object.entries(tally)
    .map(([kind, counts]) => `${total(counts)} ${kind.replace("_", " ")}`)
    .join(", ");
}

export default { name: "Ten minutes of mixed traffic, and the books", run: soak } satisfies Verification;
