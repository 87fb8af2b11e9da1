/** A pause after a failure, for a caller that would otherwise ask again with its next request. */
import type { Rng } from "../rng.ts";

export class Cooldown {
  readonly #meanMs: number;
  #untilMs = -Infinity;

  constructor(meanMs: number) {
    this.#meanMs = meanMs;
  }

  /**
   * It failed: from half of the mean to one and a half times it, so that those who failed together don't come back
   * together, and none of them at once.
   */
  begin(nowMs: number, rng: Rng): void {
    this.#untilMs = nowMs + this.#meanMs * (0.5 + rng());
  }

  /** Milliseconds; 0: it may be asked. */
  leftMs(nowMs: number): number {
    return Math.max(0, this.#untilMs - nowMs);
  }
}
