/** The admin's view: which server is preferred, and why. */
import type { LatencySummary, PreferenceReply, PreferenceServer } from "../contract.ts";
import { routeClasses } from "../route.ts";
import type { LiveBackend } from "./backend.ts";
import type { Fleet } from "./fleet.ts";

/** Ordered by health, then by measured latency of the last hour, of `region` where it measured anything. */
export function rankServers(fleet: Fleet, region: string | null, nowMs: number): PreferenceReply {
  const servers = fleet.backends.map((backend) => serverOf(fleet, backend, region, nowMs));
  const comparable = comparableMedians(fleet, region, nowMs);
  servers.sort(
    (left, right) =>
      Number(right.healthy) - Number(left.healthy) ||
      sooner(comparable.get(left.name), comparable.get(right.name)) ||
      sooner(left.lastHour.p50Ms, right.lastHour.p50Ms) ||
      byName(left, right),
  );
  return { region, regions: fleet.records.regions(), servers };
}

/** Those without measurements come last: nothing speaks for them. */
function sooner(left: number | null | undefined, right: number | null | undefined): number {
  return (left ?? Infinity) - (right ?? Infinity) || 0;
}

/**
 * Medians of one class of requests, so that like is compared with like: a server that is given the pictures would look
 * slower than one that is only pinged. The class that most servers have measured; of several, the one whose time is the
 * way's rather than the work's.
 */
function comparableMedians(fleet: Fleet, region: string | null, nowMs: number): ReadonlyMap<string, number> {
  let most: ReadonlyMap<string, number> = new Map();
  for (const routeClass of routeClasses) {
    const medians = new Map<string, number>();
    for (const { name } of fleet.backends) {
      const median = fleet.records.tallyOf(name, routeClass, region, "hour", nowMs).histogram.quantile(0.5);
      if (median !== null) medians.set(name, median);
    }
    if (medians.size > most.size) most = medians;
  }
  return most;
}

function byName(left: PreferenceServer, right: PreferenceServer): number {
  return left.name < right.name ? -1 : 1;
}

function serverOf(fleet: Fleet, backend: LiveBackend, region: string | null, nowMs: number): PreferenceServer {
  const { learned } = backend;
  const summary = (window: "minute" | "hour" | "day"): LatencySummary =>
    fleet.records.summary(backend.name, region, window, nowMs);
  return {
    name: backend.name,
    url: backend.url,
    region: backend.region,
    priority: backend.priority,
    weight: backend.weight,
    healthy: fleet.isHealthy(backend),
    state: backend.state,
    operatorState: backend.operatorState,
    inFlight: backend.inFlight,
    maxInFlight: backend.maxInFlight,
    consecutiveFailures: learned.consecutiveFailures,
    lastCheckMs: learned.lastCheckMs,
    dialect: backend.dialect,
    lastMinute: summary("minute"),
    lastHour: summary("hour"),
    lastDay: summary("day"),
  };
}
