/**
 * The chooser of `least-requests` and `lowest-latency`: the least `cost × (in flight + 1) / weight`.
 *
 * Where the best is idle, every backend that is idle too and costs as little is as good, whatever its weight: nobody
 * waits there. Taking the heaviest each time would starve the light ones at low concurrency, which is the usual state of
 * a fleet of generators; so the equals take turns in proportion to their weights.
 */
import type { PolicyName } from "../config/config.ts";
import { requestLoad } from "./load-score.ts";
import type { Member } from "./member.ts";
import { sortByScore } from "./ordering.ts";
import type { Policy, RankContext } from "./policy.ts";

/**
 * @param cost of one request at a member, any unit, ≥ 0.
 * @param tolerance factor ≥ 1 within which two loads count as equal.
 */
export function leastLoaded(
  name: PolicyName,
  cost: (member: Member, context: RankContext) => number,
  tolerance: number,
): Policy {
  return {
    name,
    rank<M extends Member>(members: M[], context: RankContext): number {
      const costs: number[] = [];
      const loads: number[] = [];
      let best = 0;
      for (let index = 0; index < members.length; index += 1) {
        const member = members[index]!;
        const memberCost = cost(member, context);
        costs.push(memberCost);
        loads.push(memberCost * requestLoad(member));
        if (loads[index]! < loads[best]!) best = index;
      }
      levelEquals(members, costs, loads, best, tolerance);
      return sortByScore(members, loads, context.turns);
    },
  };
}

/** Gives every equal of the best the best's load, so that turns decide among them. */
export function levelEquals(
  members: readonly Member[],
  costs: readonly number[],
  loads: number[],
  best: number,
  tolerance: number,
): void {
  const bestLoad = loads[best] ?? 0;
  const bestCost = costs[best] ?? 0;
  const bestIsIdle = members[best]?.inFlight === 0;
  for (let index = 0; index < members.length; index += 1) {
    const equallyIdle = bestIsIdle && members[index]!.inFlight === 0 && costs[index]! <= bestCost * tolerance;
    if (equallyIdle || loads[index]! <= bestLoad * tolerance) loads[index] = bestLoad;
  }
}
