/**
 * Whose turn it is among equals: smooth weighted round robin, as in nginx (`ngx_http_upstream_round_robin.c`).
 * What one pick gives and takes sums to zero over the equals of that pick, so that every changing subset of the fleet is
 * shared out by weight, and a backend that comes back claims nothing for its absence.
 * nginx's falling effective weight is left out: ejection and slow start do that for every policy alike.
 */
import type { Rng } from "../rng.ts";
import { effectiveWeight, type Member } from "./member.ts";

/** nginx's `current_weight` by backend name. */
export type Turns = Map<string, number>;

/** Steps by which the phase of fresh turns may be moved on: enough for any sensible sum of weights, cheap to do once. */
const phaseSteps = 256;

/** Starts somewhere in the cycle: ten thousand young isolates must not all begin with the heaviest backend. */
export function createTurns(members: readonly Member[], rng: Rng): Turns {
  const turns: Turns = new Map();
  const total = members.reduce((sum, member) => sum + effectiveWeight(member), 0);
  const skipped = Math.floor(rng() * Math.min(phaseSteps, Math.max(total, members.length)));
  const ranked = [...members];
  for (let step = 0; step < skipped; step += 1) {
    ranked.sort((a, b) => turnOf(turns, b) - turnOf(turns, a) || (a.name < b.name ? -1 : 1));
    takeTurn(turns, ranked, ranked.length);
  }
  return turns;
}

/** The claim to the next turn: the highest goes first. */
export function turnOf(turns: Turns, member: Member): number {
  return (turns.get(member.name) ?? 0) + effectiveWeight(member);
}

/** `ranked[0]` takes its turn; it was the choice among the first `equals` of `ranked`. */
export function takeTurn(turns: Turns, ranked: readonly Member[], equals: number): void {
  const first = ranked[0];
  if (first === undefined || equals < 2) return;
  let total = 0;
  for (let index = 0; index < equals; index += 1) {
    const member = ranked[index]!;
    total += effectiveWeight(member);
    turns.set(member.name, turnOf(turns, member));
  }
  turns.set(first.name, turns.get(first.name)! - total);
}

/** Drops what is remembered of backends that are gone. */
export function forgetTurns(turns: Turns, known: (name: string) => boolean): void {
  for (const name of turns.keys()) if (!known(name)) turns.delete(name);
}
