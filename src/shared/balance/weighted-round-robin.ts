/**
 * Smooth weighted round robin, as in nginx (`ngx_http_upstream_round_robin.c`): 5,1,1 gives a a b a c a a.
 * nginx's falling effective weight is left out: ejection and slow start do that for every policy alike.
 */
import { sortByScore } from "./ordering.ts";
import { effectiveWeight, type Member } from "./member.ts";
import type { Policy, RankContext } from "./policy.ts";

interface Currents {
  /** nginx's `current_weight` by backend name. */
  readonly current: Map<string, number>;
}

/** Steps by which the phase of a fresh memory may be moved on: enough for any sensible sum of weights, cheap to do once. */
const phaseSteps = 256;

export const weightedRoundRobin: Policy<Currents> = {
  name: "weighted-round-robin",

  /** Starts somewhere in the cycle: ten thousand young isolates must not all begin with the heaviest backend. */
  memory(members, rng) {
    const memory: Currents = { current: new Map() };
    const ranked = [...members];
    const total = ranked.reduce((sum, member) => sum + effectiveWeight(member), 0);
    const skipped = Math.floor(rng() * Math.min(phaseSteps, Math.max(total, ranked.length)));
    for (let step = 0; step < skipped; step += 1) {
      rankByCurrent(ranked, memory);
      weightedRoundRobin.commit(ranked, memory);
    }
    return memory;
  },

  rank<M extends Member>(members: M[], _context: RankContext, memory: Currents): void {
    rankByCurrent(members, memory);
  },

  commit(ranked, memory) {
    let total = 0;
    for (const member of ranked) {
      const weight = effectiveWeight(member);
      total += weight;
      memory.current.set(member.name, (memory.current.get(member.name) ?? 0) + weight);
    }
    const first = ranked[0];
    if (first !== undefined) memory.current.set(first.name, memory.current.get(first.name)! - total);
  },

  forget(memory, known) {
    for (const name of memory.current.keys()) if (!known(name)) memory.current.delete(name);
  },
};

function rankByCurrent<M extends Member>(members: M[], memory: Currents): void {
  const scores: number[] = [];
  const turns: number[] = [];
  for (const member of members) {
    scores.push(-(memory.current.get(member.name) ?? 0) - effectiveWeight(member));
    turns.push(0);
  }
  sortByScore(members, scores, turns);
}
