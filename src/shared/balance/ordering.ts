/** Puts members in the order of their scores. */
import type { Member } from "./member.ts";
import { turnOf, type Turns } from "./turns.ts";

/**
 * Sorts `members` in place by ascending score, then by turn, then by name, so that the order they came in never matters.
 * `scores` runs parallel and is sorted along. An insertion sort: a tier is small.
 * @returns how many share the lowest score.
 */
export function sortByScore<M extends Member>(members: M[], scores: number[], turns: Turns): number {
  const claims = members.map((member) => turnOf(turns, member));
  for (let index = 1; index < members.length; index += 1) {
    const member = members[index]!;
    const score = scores[index]!;
    const claim = claims[index]!;
    let slot = index - 1;
    while (slot >= 0 && comesAfter(members[slot]!, scores[slot]!, claims[slot]!, member, score, claim)) {
      members[slot + 1] = members[slot]!;
      scores[slot + 1] = scores[slot]!;
      claims[slot + 1] = claims[slot]!;
      slot -= 1;
    }
    members[slot + 1] = member;
    scores[slot + 1] = score;
    claims[slot + 1] = claim;
  }
  let equals = 1;
  while (equals < members.length && scores[equals] === scores[0]) equals += 1;
  return equals;
}

function comesAfter(a: Member, scoreA: number, claimA: number, b: Member, scoreB: number, claimB: number): boolean {
  if (scoreA !== scoreB) return scoreA > scoreB;
  if (claimA !== claimB) return claimA < claimB;
  return a.name > b.name;
}
