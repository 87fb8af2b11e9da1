/** The load metrics that choosers compare. Lower is better. */
import { costAt } from "../load/peak-ewma.ts";
import { effectiveWeight, type Member } from "./member.ts";
import type { RankContext } from "./policy.ts";

/** Stands for the latency of a backend that has work but no history yet, in milliseconds: Envoy's penalty. */
const unknownLatencyMs = 1_000_000;

/** Envoy's weighted least request with bias 1, as a load: weight 2 with one in flight ties weight 1 with none. */
export function requestLoad(member: Member): number {
  return (member.inFlight + 1) / effectiveWeight(member);
}

/**
 * The latency to expect, in milliseconds: what was seen, or the mean age of what is still open if that is more, since a
 * generation that hangs is a fact long before it ends (nginx: `least_time … inflight`). No history and no work: 0, a try.
 */
export function expectedLatencyMs(member: Member, context: RankContext): number {
  const openAgeMs = member.inFlight > 0 ? member.openAgeMs : 0;
  const costMs = costAt(member.load[context.routeClass] ?? null, context.nowMs);
  if (costMs === null) return member.inFlight > 0 ? Math.max(unknownLatencyMs, openAgeMs) : 0;
  return Math.max(costMs, openAgeMs);
}
