/**
 * What an isolate remembers of blocks, so that a flood costs its limiter one call a second. Plain values only: a request
 * that needs another's answer looks here for it, and never waits for the other's promise.
 */
import { BoundedMap } from "../shared/bounded-map.ts";
import type { LimitPolicy } from "../shared/contract.ts";
import { routeClasses } from "../shared/route.ts";
import { limiterPatienceMs } from "./limiter.ts";
import { OpenCalls } from "./open-calls.ts";

/** An operator's reset must work everywhere within a second. */
export const rememberMs = 1000;
/** Clients with a block in force that one isolate keeps in mind. */
const blocksKept = 10_000;

export interface KnownBlock {
  /** By the isolate's clock. */
  readonly untilMs: number;
  readonly learnedMs: number;
  /** Since when a request of this isolate asks the limiter about it; null: none does. */
  askedMs: number | null;
  /** Refused from memory and not yet told to the limiter. */
  refused: number;
}

export class BlockMemory {
  readonly calls = new OpenCalls(limiterPatienceMs);
  readonly #known = new BoundedMap<string, KnownBlock>(blocksKept);

  /** A block that is not over as far as is known; it may be too old to act on. */
  find(clientKey: string, policy: LimitPolicy, nowMs: number): KnownBlock | null {
    const known = this.#known.get(`${policy} ${clientKey}`);
    return known !== undefined && nowMs < known.untilMs ? known : null;
  }

  learn(clientKey: string, policy: LimitPolicy, retryAfterMs: number, nowMs: number): void {
    const refused = this.find(clientKey, policy, nowMs)?.refused ?? 0;
    this.#known.set(`${policy} ${clientKey}`, {
      untilMs: nowMs + retryAfterMs,
      learnedMs: nowMs,
      askedMs: null,
      refused,
    });
  }

  /** Forgets one block, unless another was learnt meanwhile. */
  drop(clientKey: string, policy: LimitPolicy, known: KnownBlock): void {
    const name = `${policy} ${clientKey}`;
    if (this.#known.get(name) === known) this.#known.delete(name);
  }

  /** Forgets all that is known of a client: an operator has lifted its block. */
  forget(clientKey: string): void {
    for (const policy of ["default", ...routeClasses]) this.#known.delete(`${policy} ${clientKey}`);
  }
}

/** Young enough to refuse by. A clock that was set back makes nothing young. */
export function isFresh(known: KnownBlock, nowMs: number): boolean {
  return nowMs >= known.learnedMs && nowMs - known.learnedMs < rememberMs;
}
