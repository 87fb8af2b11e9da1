/** What the balance promises, measured on runs. Each figure is one number a run; the report shows its median and range. */
import { policyNames } from "../src/shared/config/config.ts";
import type { Run, RunOptions } from "./run.ts";
import { faultStartMs } from "./scenarios.ts";
import { shares, summarize } from "./summary.ts";

const second = 1000;

/** The server that every fault befalls. */
const victim = "s1";

function shareBetween(run: Run, fromMs: number, toMs: number): number {
  const within = run.finished.filter((one) => one.startMs >= fromMs && one.startMs < toMs);
  return shares(within, run.servers)[victim] ?? 0;
}

/** What a server ten times slower still gets, from 10 s after it became slow until it recovers, of its former share. */
export function slowShare(run: Run): number {
  const former = shareBetween(run, faultStartMs - 30 * second, faultStartMs);
  return shareBetween(run, faultStartMs + 10 * second, faultStartMs + 30 * second) / former;
}

/** What it gets again, of its former share, in the 30 s that begin 60 s after it recovered. */
export function recoveredShare(run: Run): number {
  const former = shareBetween(run, faultStartMs - 30 * second, faultStartMs);
  const endMs = faultStartMs + 30 * second;
  return shareBetween(run, endMs + 60 * second, endMs + 90 * second) / former;
}

/** Seconds from the beginning of the fault until the victim is ejected; Infinity: never. */
export function secondsToEjection(run: Run): number {
  const ejected = run.changes.find(
    (change) => change.to === "ejected" && change.server === victim && change.atMs >= faultStartMs,
  );
  return ejected === undefined ? Infinity : (ejected.atMs - faultStartMs) / second;
}

/** Ejections of anybody but the victim: health must not blame the innocent. */
export function wrongEjections(run: Run): number {
  return run.changes.filter((change) => change.to === "ejected" && change.server !== victim).length;
}

export function ejections(run: Run): number {
  return run.changes.filter((change) => change.to === "ejected").length;
}

/** The most ejections in any minute that begins after the first five minutes of the fault. */
export function ejectionsAMinute(run: Run): number {
  const times = run.changes
    .filter((change) => change.to === "ejected" && change.atMs >= faultStartMs + 300 * second)
    .map((change) => change.atMs);
  return Math.max(0, ...times.map((start) => times.filter((at) => at >= start && at < start + 60 * second).length));
}

export function p99(run: Run): number {
  return summarize(run).p99_ms ?? Infinity;
}

/** A promise: a figure of one run, or of a run compared with another one of the same seed. */
export interface Claim {
  readonly id: string;
  readonly text: string;
  readonly run: Omit<RunOptions, "seed">;
  readonly figure: keyof typeof figures;
  /** The run that the figure is divided by. */
  readonly over: Omit<RunOptions, "seed"> | null;
  readonly holds: "below" | "above" | "at most";
  readonly bound: number;
  readonly unit: string;
}

export const figures = {
  p99,
  slowShare,
  recoveredShare,
  secondsToEjection,
  wrongEjections,
  ejections,
  ejectionsAMinute,
} as const;

/** Every policy where it is exact, and the default of cheap requests from the table. */
const everyPolicy = [...policyNames, "weighted-round-robin-table"];

function prequalClaims(load: number): Claim[] {
  const at = (policy: string) => ({ scenario: "prequal", policy, load });
  const order = (slower: string, faster: string): Claim => ({
    id: `prequal-${load}-${slower}-over-${faster}`,
    text: `Prequal's experiment at ${load * 100} %: p99 of ${slower} over that of ${faster}`,
    run: at(slower),
    figure: "p99",
    over: at(faster),
    holds: "above",
    bound: 1,
    unit: "×",
  });
  const noWorse = (policy: string): Claim => ({
    ...order(policy, "prequal"),
    text: `Prequal's experiment at ${load * 100} %: p99 of ${policy} in the registry over that of HCL with probing`,
    holds: "at most",
  });
  return [
    order("round-robin", "least-requests-local"),
    order("random", "least-requests-local"),
    order("least-requests-local", "prequal"),
    noWorse("lowest-latency"),
    noWorse("hot-cold"),
  ];
}

function smallFleetClaim(policy: string, bound: number): Claim {
  return {
    id: `small-fleet-${policy}`,
    text: `Small fleet: p99 of ${policy} in the registry over that of least-requests with counters local to each edge`,
    run: { scenario: "small-fleet", policy },
    figure: "p99",
    over: { scenario: "small-fleet", policy: "least-requests-local" },
    holds: "at most",
    bound,
    unit: "×",
  };
}

function single(
  scenario: string,
  policy: string,
  figure: keyof typeof figures,
  text: string,
  holds: Claim["holds"],
  bound: number,
  unit: string,
): Claim {
  return {
    id: `${scenario}-${figure}-${policy}`,
    text: `${text} (${policy})`,
    run: { scenario, policy },
    figure,
    over: null,
    holds,
    bound,
    unit,
  };
}

export const claims: readonly Claim[] = [
  ...prequalClaims(0.7),
  ...prequalClaims(0.9),
  smallFleetClaim("least-requests", 0.7),
  smallFleetClaim("lowest-latency", 0.7),
  ...["lowest-latency", "hot-cold"].flatMap((policy) => [
    single(
      "slow-backend",
      policy,
      "slowShare",
      "Share of a ten times slower server after 10 s, of its former share",
      "below",
      0.2,
      "",
    ),
    single(
      "slow-backend",
      policy,
      "recoveredShare",
      "Its share 60 s after it recovered, of its former share",
      "above",
      0.8,
      "",
    ),
  ]),
  ...everyPolicy.flatMap((policy) => [
    single(
      "failing",
      policy,
      "secondsToEjection",
      "One of four fails 30 % of its requests: ejected after",
      "at most",
      20,
      "s",
    ),
    single("failing", policy, "wrongEjections", "… and nobody else is", "at most", 0, "ejections"),
    single(
      "invalid-requests",
      policy,
      "ejections",
      "1,000 invalid requests of one client eject",
      "at most",
      0,
      "servers",
    ),
    single(
      "flapping",
      policy,
      "ejectionsAMinute",
      "Flapping every 20 s: ejections in a minute after the first five",
      "at most",
      1,
      "",
    ),
  ]),
];

export function holds(claim: Claim, value: number): boolean {
  if (claim.holds === "below") return value < claim.bound;
  return claim.holds === "above" ? value > claim.bound : value <= claim.bound;
}
