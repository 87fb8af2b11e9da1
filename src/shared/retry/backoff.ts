/** How long to wait before an attempt is repeated. */
import type { RetryConfig } from "../config/config.ts";
import type { Rng } from "../rng.ts";

const msPerS = 1000;

/**
 * Full jitter: anything from nothing to base · 2^index, at most the cap, in milliseconds. Clients that failed together
 * don't come back together (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
 * @param retryIndex 0 before the first repetition.
 */
export function backoffMs(
  retryIndex: number,
  config: Pick<RetryConfig, "backoffBase" | "backoffCap">,
  rng: Rng,
): number {
  return rng() * Math.min(config.backoffCap, config.backoffBase * 2 ** retryIndex) * msPerS;
}
