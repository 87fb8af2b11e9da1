/** Smooth weighted round robin: nobody is better than anybody else, turns decide. 5,1,1 gives a a b a c a a. */
import type { Member } from "./member.ts";
import { sortByScore } from "./ordering.ts";
import type { Policy, RankContext } from "./policy.ts";

export const weightedRoundRobin: Policy = {
  name: "weighted-round-robin",

  rank<M extends Member>(members: M[], context: RankContext): number {
    const scores = members.map(() => 0);
    return sortByScore(members, scores, context.turns);
  },
};
