/**
 * Hot–cold lexicographic (Prequal, NSDI'24): a backend is hot if it has more in flight than the quantile of its pool. Among
 * the cold the lowest latency wins; if all are hot, the fewest in flight.
 *
 * Prequal's latency is that seen at the present number in flight. We keep one figure a backend, so it is scaled by the queue;
 * as it stands it would shun an idle backend for what it took when it was crowded.
 */
import { levelEquals } from "./least-loaded.ts";
import { expectedLatencyMs, requestLoad } from "./load-score.ts";
import { effectiveWeight, type Member } from "./member.ts";
import { sortByScore } from "./ordering.ts";
import type { Policy, RankContext } from "./policy.ts";

/** Prequal's Q_RIF. */
const hotQuantile = 0.84;

/** As in `lowest-latency`: a tenth is noise. */
const latencyTolerance = 1.1;

/** Above every latency, so that each hot one comes after all the cold ones, in milliseconds. */
const hotBase = 1e12;

export const hotCold: Policy = {
  name: "hot-cold",

  rank<M extends Member>(members: M[], context: RankContext): number {
    const busyness = members.map((member) => member.inFlight / effectiveWeight(member));
    const threshold = quantile(busyness, hotQuantile);
    const latencies = members.map((member) => expectedLatencyMs(member, context));
    const scores = members.map((member, index) =>
      busyness[index]! > threshold ? hotBase * (1 + busyness[index]!) : latencies[index]! * requestLoad(member),
    );
    const best = scores.indexOf(Math.min(...scores));
    levelEquals(members, latencies, scores, best, latencyTolerance);
    return sortByScore(members, scores, context.turns);
  },
};

/** The value below or at which the given share of the others lies; the lower neighbour, so that small pools can be hot. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}
