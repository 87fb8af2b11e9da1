/**
 * Elapsed time from a wall clock that may be set back. A step back counts as no time at all: nothing that is remembered
 * gets younger or lives longer by it. A step forward can't be told from silence and counts in full.
 */
export class SteadyClock {
  #skewMs: number;
  #latestMs: number;

  /** Both numbers as `state` gave them; a new clock has seen nothing. */
  constructor(skewMs = 0, latestMs = Number.NEGATIVE_INFINITY) {
    this.#skewMs = skewMs;
    this.#latestMs = latestMs;
  }

  /** Steady milliseconds at this reading of the wall clock, which from now on counts as seen. */
  advance(wallMs: number): number {
    const steadyMs = this.read(wallMs);
    this.#skewMs = steadyMs - Math.floor(wallMs);
    this.#latestMs = steadyMs;
    return steadyMs;
  }

  /** The same, without remembering the reading. */
  read(wallMs: number): number {
    return Math.max(Math.floor(wallMs) + this.#skewMs, this.#latestMs);
  }

  /** A steady time as the wall clock shows it, if it is not set again; `wallMs` is what that clock shows now. */
  toWall(steadyMs: number, wallMs: number): number {
    return Math.floor(wallMs) + (steadyMs - this.read(wallMs));
  }

  get state(): { readonly skewMs: number; readonly latestMs: number } {
    return { skewMs: this.#skewMs, latestMs: this.#latestMs };
  }
}
