/** What a policy is: a way to order candidates that somebody else found usable. It never reads health. */
import type { PolicyName } from "../config/config.ts";
import type { Rng } from "../rng.ts";
import type { RouteClass } from "../route.ts";
import type { Member } from "./member.ts";
import type { Turns } from "./turns.ts";

export interface RankContext {
  readonly routeClass: RouteClass;
  readonly affinityKey: string | null;
  readonly nowMs: number;
  readonly rng: Rng;
  /** Decides among equals. To rank is to read: only the pick itself takes a turn. */
  readonly turns: Turns;
}

export interface Policy {
  readonly name: PolicyName;
  /**
   * Puts `members` in order, best first, in place.
   * @returns how many of the first were equally good, so that the turn decided; 1 where chance or the key did.
   */
  rank<M extends Member>(members: M[], context: RankContext): number;
}
