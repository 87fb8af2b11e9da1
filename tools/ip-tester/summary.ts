/** What a server's results amount to. Percentiles are exact: they come from the sorted results, by nearest rank. */
import type { CauseKind, Phase } from "./cause.ts";
import type { ProbeResult, Timings } from "./probe.ts";

export const serverStatuses = ["good", "degraded", "unavailable"] as const;
/** `degraded`: answers, but less often than `goodAvailability`. `unavailable`: never answered as it should. */
export type ServerStatus = (typeof serverStatuses)[number];

/** Two nines: one lost probe in a hundred is the noise of a mobile or an international line, more is the server's or the path's. */
export const goodAvailability = 0.99;

/** Milliseconds, of the successful requests alone. */
export interface LatencyFigures {
  readonly min: number;
  readonly avg: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Medians in milliseconds; null where the part did not occur. */
export interface PartFigures {
  readonly dns: number | null;
  readonly tcp: number | null;
  readonly tls: number | null;
  readonly firstByte: number | null;
}

export interface ErrorFigures {
  readonly cause: CauseKind;
  readonly phase: Phase;
  readonly count: number;
  /** Of the first of them. */
  readonly detail: string;
}

export interface ServerSummary {
  readonly requests: number;
  readonly successes: number;
  /** 0–1. */
  readonly availability: number;
  readonly status: ServerStatus;
  /** null without a success. */
  readonly latencyMs: LatencyFigures | null;
  readonly partsMs: PartFigures;
  /** Most frequent first. */
  readonly errors: readonly ErrorFigures[];
}

export function summarize(results: readonly ProbeResult[]): ServerSummary {
  const timings = results.flatMap((result) => (result.ok ? [result.timings] : []));
  const availability = results.length === 0 ? 0 : timings.length / results.length;
  return {
    requests: results.length,
    successes: timings.length,
    availability,
    status: timings.length === 0 ? "unavailable" : availability < goodAvailability ? "degraded" : "good",
    latencyMs: latencyFigures(timings.map((timing) => timing.totalMs)),
    partsMs: partFigures(timings),
    errors: errorFigures(results),
  };
}

/** Nearest rank: the smallest of the values that at least `share` of them don't exceed. `sorted` ascends; null when empty. */
export function percentile(sorted: readonly number[], share: number): number | null {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[rank - 1] ?? null;
}

function latencyFigures(values: number[]): LatencyFigures | null {
  const sorted = values.sort((a, b) => a - b);
  const min = sorted[0];
  const max = sorted.at(-1);
  if (min === undefined || max === undefined) return null;
  return {
    min,
    avg: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p50: percentile(sorted, 0.5) ?? max,
    p95: percentile(sorted, 0.95) ?? max,
    p99: percentile(sorted, 0.99) ?? max,
    max,
  };
}

function partFigures(timings: readonly Timings[]): PartFigures {
  const medianOf = (part: (timing: Timings) => number | null) => {
    const values = timings.map(part).filter((value) => value !== null);
    return percentile(
      values.sort((a, b) => a - b),
      0.5,
    );
  };
  return {
    dns: medianOf((timing) => timing.dnsMs),
    tcp: medianOf((timing) => timing.tcpMs),
    tls: medianOf((timing) => timing.tlsMs),
    firstByte: medianOf((timing) => timing.firstByteMs),
  };
}

/** Counted by cause and by where the request stood; HTTP statuses apart from each other. */
function errorFigures(results: readonly ProbeResult[]): ErrorFigures[] {
  const byKey = new Map<string, ErrorFigures>();
  for (const result of results) {
    if (result.ok) continue;
    const { cause, phase, detail } = result.failure;
    const key = cause === "http_status" ? `${cause} ${detail}` : `${cause} ${phase}`;
    byKey.set(key, { cause, phase, detail, ...byKey.get(key), count: (byKey.get(key)?.count ?? 0) + 1 });
  }
  return [...byKey.values()].sort((a, b) => b.count - a.count);
}
