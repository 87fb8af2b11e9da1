/** A source of chance: uniform in [0, 1). */
export type Rng = () => number;

/**
 * A reproducible source of chance: the same seed gives the same sequence.
 * Mulberry32: period 2³², good enough to simulate with, never for secrets.
 */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
