/** What a policy is: a way to order candidates that somebody else found usable. It never reads health. */
import type { PolicyName } from "../config/config.ts";
import type { Rng } from "../rng.ts";
import type { RouteClass } from "../route.ts";
import type { Member } from "./member.ts";

export interface RankContext {
  readonly routeClass: RouteClass;
  readonly affinityKey: string | null;
  readonly nowMs: number;
  readonly rng: Rng;
}

/**
 * `Memory` is what must be remembered between picks, by backend name, so that it survives changes of the list.
 * To rank is to read; only `commit` writes, so the order of a failover costs nobody a turn.
 */
export interface Policy<Memory> {
  readonly name: PolicyName;
  /** A fresh memory; chance spreads the first picks of many isolates over the fleet. */
  memory(members: readonly Member[], rng: Rng): Memory;
  /** Puts `members` in order, best first, in place. */
  rank<M extends Member>(members: M[], context: RankContext, memory: Memory): void;
  /** `ranked[0]` was picked out of `ranked`. */
  commit(ranked: readonly Member[], memory: Memory): void;
  /** Drops what is remembered of backends that `known` denies. */
  forget(memory: Memory, known: (name: string) => boolean): void;
}
