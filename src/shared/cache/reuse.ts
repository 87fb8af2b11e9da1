/** May this stored answer be used for this request, now (RFC 9111 §4). */
import type { CachedAnswer } from "./cached-answer.ts";
import { currentAgeMs, freshForMs } from "./cached-answer.ts";
import type { RequestTerms } from "./directives.ts";

/**
 * - `fresh`: as it is.
 * - `stale`: the client said that it may be stale (`max-stale`).
 * - `refresh`: as it is, while a newer one is fetched behind it (RFC 5861 §3).
 * - `validate`: only after the origin has confirmed it.
 * - `unusable`: not for this client.
 */
export type Reuse = "fresh" | "stale" | "refresh" | "validate" | "unusable";

export function reuse(answer: CachedAnswer, terms: RequestTerms, credentials: boolean, nowMs: number): Reuse {
  if (credentials && !answer.forCredentials) return "unusable";
  if (answer.alwaysValidate || terms.noCache) return "validate";
  const leftMs = freshForMs(answer, nowMs);
  if (terms.minFreshS !== null && leftMs < terms.minFreshS * 1000) return "validate";
  if (terms.maxAgeS !== null && currentAgeMs(answer, nowMs) > terms.maxAgeS * 1000) return "validate";
  if (leftMs > 0) return "fresh";
  if (answer.neverStale) return "validate";
  if (terms.maxStaleS !== null) return -leftMs <= terms.maxStaleS * 1000 ? "stale" : "validate";
  // RFC 9111 §5.2.1.1: who states a max-age wants nothing stale.
  if (terms.maxAgeS !== null) return "validate";
  return -leftMs < answer.staleWhileRevalidateMs ? "refresh" : "validate";
}

/** May it stand in for an origin that failed (RFC 5861 §4)? Not where the client asked for something newer. */
export function mayStandIn(answer: CachedAnswer, terms: RequestTerms, credentials: boolean, nowMs: number): boolean {
  if ((credentials && !answer.forCredentials) || answer.neverStale || answer.alwaysValidate) return false;
  if (terms.noCache || terms.maxAgeS !== null || terms.minFreshS !== null) return false;
  const windowMs = Math.max(answer.staleIfErrorMs, (terms.staleIfErrorS ?? 0) * 1000);
  return -freshForMs(answer, nowMs) < windowMs;
}
