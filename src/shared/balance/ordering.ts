/** Puts members in the order of their scores. */
import type { Member } from "./member.ts";
import { turnOf, type Turns } from "./turns.ts";

/** So many places are put in order. Nobody tries more candidates than this, and the rest of a large pool needs no sorting. */
export const orderedPlaces = 16;

/**
 * Sorts `members` in place by ascending score, then by turn, then by name, so that the order they came in never matters: the first
 * `orderedPlaces` exactly, the others behind them in any order but with the equals of the first in front. `scores` runs
 * parallel and is sorted along.
 * @returns how many share the lowest score.
 */
export function sortByScore<M extends Member>(members: M[], scores: number[], turns: Turns): number {
  const claims: number[] = [];
  for (const member of members) claims.push(turnOf(turns, member));
  const columns: Columns<M> = { members, scores, claims };
  for (let index = 1; index < members.length; index += 1) {
    const last = Math.min(index, orderedPlaces) - 1;
    if (!comesAfter(columns, last, index)) continue;
    insert(columns, index, last);
  }
  return gatherEquals(columns);
}

interface Columns<M> {
  readonly members: M[];
  readonly scores: number[];
  readonly claims: number[];
}

function comesAfter<M extends Member>({ members, scores, claims }: Columns<M>, one: number, other: number): boolean {
  if (scores[one] !== scores[other]) return scores[one]! > scores[other]!;
  if (claims[one] !== claims[other]) return claims[one]! < claims[other]!;
  return members[one]!.name > members[other]!.name;
}

/** Moves `index` to its place at or before `last`; the one that stood at `last` takes the place that became free. */
function insert<M extends Member>(columns: Columns<M>, index: number, last: number): void {
  swap(columns, index, last);
  for (let slot = last; slot > 0 && comesAfter(columns, slot - 1, slot); slot -= 1) swap(columns, slot - 1, slot);
}

function swap<M>({ members, scores, claims }: Columns<M>, one: number, other: number): void {
  const member = members[one]!;
  members[one] = members[other]!;
  members[other] = member;
  const score = scores[one]!;
  scores[one] = scores[other]!;
  scores[other] = score;
  const claim = claims[one]!;
  claims[one] = claims[other]!;
  claims[other] = claim;
}

function gatherEquals<M extends Member>(columns: Columns<M>): number {
  const { scores } = columns;
  let equals = 0;
  for (let index = 0; index < scores.length; index += 1) {
    if (scores[index] !== scores[0]) continue;
    if (index !== equals) swap(columns, index, equals);
    equals += 1;
  }
  return equals;
}
