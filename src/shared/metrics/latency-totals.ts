/**
 * Latencies since the registry was made, in the few buckets that Prometheus keeps. Unlike the rotating histogram these
 * only grow, which is what `rate()` and `histogram_quantile()` need. Plain JSON.
 */

export interface LatencyTotals {
  /** In each bucket alone; one more than there are bounds. */
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/** Upper bounds in seconds: pings in milliseconds, pictures in minutes, videos within the hour. */
export const latencyBoundsS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 3600,
] as const; // prettier-ignore

export const noLatencies: LatencyTotals = { counts: latencyBoundsS.map(() => 0).concat(0), sumMs: 0 };

/** Adds values, each with how often it occurred. A value on a bound belongs to its bucket (`le`). */
export function addLatencies(
  totals: LatencyTotals,
  values: Iterable<readonly [valueMs: number, count: number]>,
): LatencyTotals {
  const counts = [...totals.counts];
  let { sumMs } = totals;
  for (const [valueMs, count] of values) {
    const place = bucketOf(valueMs);
    counts[place] = (counts[place] ?? 0) + count;
    sumMs += valueMs * count;
  }
  return { counts, sumMs };
}

function bucketOf(valueMs: number): number {
  const place = latencyBoundsS.findIndex((bound) => valueMs <= bound * 1000);
  return place === -1 ? latencyBoundsS.length : place;
}
