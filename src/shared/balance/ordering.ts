/** Puts members in the order of their scores. */
import type { Member } from "./member.ts";

/**
 * Sorts `members` in place by ascending score, then by ascending `turns`, then by name, so that the order they came in
 * never matters. `scores` and `turns` run parallel and are sorted along.
 * An insertion sort: a tier is small, and it allocates nothing.
 */
export function sortByScore<M extends Member>(members: M[], scores: number[], turns: number[]): void {
  for (let index = 1; index < members.length; index += 1) {
    const member = members[index]!;
    const score = scores[index]!;
    const turn = turns[index]!;
    let slot = index - 1;
    while (slot >= 0 && comesAfter(members[slot]!, scores[slot]!, turns[slot]!, member, score, turn)) {
      members[slot + 1] = members[slot]!;
      scores[slot + 1] = scores[slot]!;
      turns[slot + 1] = turns[slot]!;
      slot -= 1;
    }
    members[slot + 1] = member;
    scores[slot + 1] = score;
    turns[slot + 1] = turn;
  }
}

function comesAfter(a: Member, scoreA: number, turnA: number, b: Member, scoreB: number, turnB: number): boolean {
  if (scoreA !== scoreB) return scoreA > scoreB;
  if (turnA !== turnB) return turnA > turnB;
  return a.name > b.name;
}
