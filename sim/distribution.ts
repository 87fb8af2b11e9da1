/** Distributions of work and of pauses, in milliseconds. */
import type { Rng } from "../src/shared/rng.ts";

export interface Distribution {
  readonly draw: (rng: Rng) => number;
  readonly mean: number;
}

export function constant(value: number): Distribution {
  return { draw: () => value, mean: value };
}

/** Box and Muller; one of the pair is thrown away so that a draw keeps no state. */
export function standardNormal(rng: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
}

export function exponential(mean: number, rng: Rng): number {
  return -mean * Math.log(1 - rng());
}

/** Prequal's queries: N(μ, μ) without its negative part, whose mean is μ·(1 + φ(1)/Φ(1)) = 1.2876 μ. */
export function truncatedNormal(mu: number): Distribution {
  const draw = (rng: Rng): number => {
    for (;;) {
      const value = mu * (1 + standardNormal(rng));
      if (value > 0) return value;
    }
  };
  return { draw, mean: 1.287_599_97 * mu };
}

/** A log-normal clamped to an interval: generations, whose tail is long but ends at the server's own deadline. */
export function clampedLogNormal(median: number, sigma: number, low: number, high: number): Distribution {
  const at = (normal: number) => Math.min(high, Math.max(low, median * Math.exp(sigma * normal)));
  return { draw: (rng) => at(standardNormal(rng)), mean: meanOverNormal(at) };
}

/** The expectation of `at(Z)` for a standard normal Z, by the midpoint rule over ±8σ. */
function meanOverNormal(at: (normal: number) => number): number {
  const steps = 20_000;
  const width = 16 / steps;
  let sum = 0;
  for (let step = 0; step < steps; step += 1) {
    const z = -8 + (step + 0.5) * width;
    sum += at(z) * Math.exp((-z * z) / 2);
  }
  return (sum * width) / Math.sqrt(2 * Math.PI);
}
