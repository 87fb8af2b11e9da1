/**
 * Power of two choices: two draws in proportion to the weights, with replacement; the one with fewer requests in flight for
 * its weight. Where knowledge is old, it can't send everybody to the same backend.
 * Mitzenmacher: The Power of Two Choices in Randomized Load Balancing (2001).
 */
import { effectiveWeight, type Member } from "./member.ts";
import { sortByScore } from "./ordering.ts";
import type { Policy, RankContext } from "./policy.ts";

export const powerOfTwo: Policy = {
  name: "power-of-two",

  rank<M extends Member>(members: M[], context: RankContext): number {
    const one = draw(members, context.rng());
    const other = draw(members, context.rng());
    const pick = busyness(other) < busyness(one) ? other : one;
    const scores = members.map((member) => (member === pick ? -1 : busyness(member)));
    return sortByScore(members, scores, context.turns);
  },
};

/** In flight for its weight, without the one to come: idle backends tie and the draw, which is weighted, decides. */
function busyness(member: Member): number {
  return member.inFlight / effectiveWeight(member);
}

function draw<M extends Member>(members: readonly M[], chance: number): M {
  let total = 0;
  for (const member of members) total += effectiveWeight(member);
  let left = chance * total;
  for (const member of members) {
    left -= effectiveWeight(member);
    if (left < 0) return member;
  }
  return members.at(-1)!;
}
