/**
 * Weighted rendezvous hashing: the same key goes to the same backend, and when that one leaves only its keys move.
 * Thaler, Ravishankar (1998); the weighted score −w / ln(h) is Schindelhauer and Schomaker's (2005).
 */
import { hash32, hashToUnit } from "./hash.ts";
import { effectiveWeight, type Member } from "./member.ts";
import { sortByScore } from "./ordering.ts";
import type { Policy, RankContext } from "./policy.ts";

export const rendezvous: Policy = {
  name: "rendezvous",

  /** A request without a key is its own key: a weighted draw. */
  rank<M extends Member>(members: M[], context: RankContext): number {
    const seed = context.affinityKey === null ? Math.floor(context.rng() * 2 ** 32) : hash32(context.affinityKey, 0);
    const scores = members.map((member) => effectiveWeight(member) / Math.log(hashToUnit(member.name, seed)));
    return sortByScore(members, scores, context.turns);
  },
};
