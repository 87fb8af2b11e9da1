/**
 * Which priority takes the next request: Envoy's priority levels. A tier's health is its healthy share times the spill-over
 * factor, at most 1; the load goes to the tiers in order, up to their health, normalized by the sum.
 */
import type { Rng } from "../rng.ts";

export interface TierHealth {
  readonly total: number;
  readonly up: number;
}

export interface TierShare {
  /** Part of the load, 0–1. */
  readonly load: number;
  /** Health is ignored in it: too little is left, here and in all tiers together. */
  readonly panic: boolean;
}

/**
 * @param tiers by ascending priority number; none empty.
 * @param spillover Envoy's overprovisioning factor, 1.4 by default.
 * @param panicBelow healthy share, 0–1.
 */
export function shareLoad(tiers: readonly TierHealth[], spillover: number, panicBelow: number): TierShare[] {
  const health = tiers.map((tier) => Math.min(1, (spillover * tier.up) / tier.total));
  const sum = health.reduce((total, one) => total + one, 0);
  const enough = sum >= 1;
  const panic = tiers.map((tier) => !enough && (tier.up === 0 || tier.up / tier.total < panicBelow));
  if (panic.every(Boolean)) return sharesBySize(tiers);
  let left = 1;
  return health.map((one, index) => {
    const load = Math.min(left, enough ? one : one / sum);
    left -= load;
    return { load, panic: panic[index]! };
  });
}

/** Every tier in panic: health tells nothing any more, so each backend gets as much as any other. */
function sharesBySize(tiers: readonly TierHealth[]): TierShare[] {
  const backends = tiers.reduce((sum, tier) => sum + tier.total, 0);
  return tiers.map((tier) => ({ load: tier.total / backends, panic: true }));
}

/** Draws a tier in proportion to the shares. Chance is asked only if there is a choice. */
export function drawTier(shares: readonly TierShare[], rng: Rng): number {
  const certain = shares.findIndex((share) => share.load >= 1);
  if (certain >= 0) return certain;
  let left = rng();
  let last = 0;
  for (const [index, share] of shares.entries()) {
    if (share.load <= 0) continue;
    last = index;
    left -= share.load;
    if (left < 0) return index;
  }
  return last;
}
