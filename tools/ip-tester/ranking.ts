/** Which server to prefer, and by how much. */
import type { ServerSummary } from "./summary.ts";

export interface Ranked<Server> {
  readonly server: Server;
  readonly summary: ServerSummary;
  /** From 1, the best. */
  readonly rank: number;
  /** A whole number from 0 to `topWeight`. */
  readonly suggestedWeight: number;
}

/** The best server's. Ten steps are finer than the measurement is steady. */
export const topWeight = 10;

/** Below this availability a server is not worth a share of the traffic. */
const worthwhileAvailability = 0.5;

/**
 * By availability, then by average latency, then by P95. Each tie falls to the next; what is equal in all three keeps the order given.
 *
 * The suggested weight is in proportion to `availability / average latency`, since a server that answers in half the time
 * can carry twice the requests with the same number in flight:
 *
 *     weight = max(1, round(10 · (availability / avg) / best))      best: the largest quotient among the servers
 *
 * and 0 for one that answers fewer than half of its probes.
 */
export function rank<Server>(
  measured: readonly { readonly server: Server; readonly summary: ServerSummary }[],
): Ranked<Server>[] {
  const best = Math.max(0, ...measured.map(({ summary }) => score(summary)));
  return [...measured]
    .sort((a, b) => compare(a.summary, b.summary))
    .map(({ server, summary }, index) => ({
      server,
      summary,
      rank: index + 1,
      suggestedWeight: weightOf(score(summary), best),
    }));
}

function compare(a: ServerSummary, b: ServerSummary): number {
  return (
    b.availability - a.availability || latency(a, "avg") - latency(b, "avg") || latency(a, "p95") - latency(b, "p95")
  );
}

/** Finite, so that two servers without a success compare as equal and not as NaN. */
function latency(summary: ServerSummary, figure: "avg" | "p95"): number {
  return summary.latencyMs?.[figure] ?? Number.MAX_VALUE;
}

/** 0 for a server that takes no traffic. */
function score(summary: ServerSummary): number {
  if (summary.latencyMs === null || summary.availability < worthwhileAvailability) return 0;
  // An average below a microsecond is the clock's grain.
  return summary.availability / Math.max(summary.latencyMs.avg, 0.001);
}

function weightOf(score: number, best: number): number {
  return score === 0 ? 0 : Math.max(1, Math.round((topWeight * score) / best));
}
