/**
 * Is a backend worse than the rest of its pool, or is it the weather? Envoy's answer, mean − 1.9 σ of the success rates, can't fire in
 * a pool of four or fewer, where one outlier drags σ along; and our pools are small. So the question is put the other way:
 * if all were alike, how improbable would it be that so many of the pool's failures fell on this one?
 */
import type { OutcomeTotals } from "./outcome-counts.ts";

/**
 * Improbability that convicts, in nats: e^−12 is six in a million, and Chernoff's bound overstates it about tenfold. While all fail
 * alike the question is asked some ten thousand independent times an hour, so one of them is wronged once in weeks. In a pool
 * of two it takes 18 failures at one and none at the other, in a pool of four 9.
 */
export const convictingNats = 12;

/** A difference of rates below this harms less than an ejection, however certain it is. */
export const tolerableDifference = 0.1;

/**
 * Lower bound, in nats, of how improbable the failures of one are if it fails as often as the rest: −ln of Chernoff's bound of the
 * hypergeometric tail (Hoeffding 1963), from both sides: so many failures among its outcomes, and so many of the pool's
 * failures at this one. The second is the sharp one where failures are rare.
 */
export function improbability(one: OutcomeTotals, rest: OutcomeTotals): number {
  const outcomes = one.outcomes + rest.outcomes;
  const failures = one.failures + rest.failures;
  if (one.failures * rest.outcomes <= rest.failures * one.outcomes) return 0;
  return Math.max(
    one.outcomes * divergence(one.failures / one.outcomes, failures / outcomes),
    failures * divergence(one.failures / failures, one.outcomes / outcomes),
  );
}

/** Kullback and Leibler's, between two coins. */
function divergence(observed: number, expected: number): number {
  return weighed(observed, expected) + weighed(1 - observed, 1 - expected);
}

function weighed(observed: number, expected: number): number {
  return observed === 0 ? 0 : observed * Math.log(observed / expected);
}

/** Whether the success rate of one is far and certainly below that of the rest. */
export function isOutlier(one: OutcomeTotals, rest: OutcomeTotals, minOutcomes: number): boolean {
  if (one.outcomes < minOutcomes || rest.outcomes < minOutcomes) return false;
  const difference = one.failures / one.outcomes - rest.failures / rest.outcomes;
  return difference >= tolerableDifference && improbability(one, rest) >= convictingNats;
}

/** Whether so many failures in a row would be a surprise at this rate of failure. */
export function isSurprisingStreak(length: number, rate: number): boolean {
  return rate === 0 || -length * Math.log(rate) >= convictingNats;
}

/** Of silence anything may be thought: it counts as no failures. */
export function failureRate(total: OutcomeTotals): number {
  return total.outcomes === 0 ? 0 : total.failures / total.outcomes;
}
