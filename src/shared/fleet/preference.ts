/** The admin's view: which server is preferred, and why. */
import type { LatencySummary, PreferenceReply, PreferenceServer } from "../contract.ts";
import type { LiveBackend } from "./backend.ts";
import type { Fleet } from "./fleet.ts";

/** Ordered by health, then by measured latency of the last hour, of `region` where it measured anything. */
export function rankServers(fleet: Fleet, region: string | null, nowMs: number): PreferenceReply {
  const servers = fleet.backends.map((backend) => serverOf(fleet, backend, region, nowMs));
  servers.sort(
    (left, right) =>
      Number(right.healthy) - Number(left.healthy) || order(left.lastHour, right.lastHour) || byName(left, right),
  );
  return { region, regions: fleet.records.regions(), servers };
}

/** Those without measurements come last: nothing speaks for them. */
function order(left: LatencySummary, right: LatencySummary): number {
  return (left.p50Ms ?? Infinity) - (right.p50Ms ?? Infinity) || 0;
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
