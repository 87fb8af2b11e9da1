/** From what the cache found to what the client gets, with our member of `Cache-Status` (RFC 9211). */
import type { CachedAnswer } from "../../shared/cache/cached-answer.ts";
import { freshForMs } from "../../shared/cache/cached-answer.ts";
import type { ForwardReason } from "../../shared/cache/cache-status.ts";
import { cacheStatus } from "../../shared/cache/cache-status.ts";
import type { CacheRequest, CacheResult } from "../cache.ts";
import { failureResponse } from "../failure.ts";
import type { Arrival, Landing } from "./flight.ts";
import { asHeaders, present } from "./message.ts";

export type StaleReason = "max-stale" | "stale-while-revalidate" | "stale-if-error";

export function ttlOf(answer: CachedAnswer, nowMs: number): number {
  return Math.floor(freshForMs(answer, nowMs) / 1000);
}

export function hit(request: CacheRequest, answer: CachedAnswer, nowMs: number): CacheResult {
  const response = present(answer, request.method, request.headers, nowMs);
  return { response, status: cacheStatus({ ttlS: ttlOf(answer, nowMs) }), source: "hit" };
}

export function stale(request: CacheRequest, answer: CachedAnswer, nowMs: number, detail: StaleReason): CacheResult {
  const response = present(answer, request.method, request.headers, nowMs);
  return { response, status: cacheStatus({ ttlS: ttlOf(answer, nowMs), detail }), source: "stale" };
}

/** RFC 9111 §5.2.1.7. */
export function onlyIfCached(): CacheResult {
  const message =
    "The request allows only a stored answer (Cache-Control: only-if-cached), and there is none that may be used.";
  const response = failureResponse({ code: "cache_miss_only_if_cached", message });
  return { response, status: cacheStatus({ forward: "none", detail: "only-if-cached" }), source: "bypass" };
}

/** For one who waited for somebody else's request. */
export function joined(
  request: CacheRequest,
  landing: Exclude<Landing, { kind: "apart" }>,
  nowMs: number,
): CacheResult {
  if (landing.kind === "failed") {
    const status = cacheStatus({ forward: "uri-miss", forwardStatus: landing.status, collapsed: true });
    return { response: failureOf(landing), status, source: "collapsed" };
  }
  if (landing.how === "stand-in") return stale(request, landing.answer, nowMs, "stale-if-error");
  const response = present(landing.answer, request.method, request.headers, nowMs);
  const status = cacheStatus({ forward: "uri-miss", collapsed: true, ttlS: ttlOf(landing.answer, nowMs) });
  return { response, status, source: "collapsed" };
}

/** For the one who asked. Throws what the origin threw. */
export function arrived(request: CacheRequest, arrival: Arrival, forward: ForwardReason, nowMs: number): CacheResult {
  const { landing, forwardStatus } = arrival;
  if (landing.kind === "answer") {
    if (landing.how === "known") return hit(request, landing.answer, nowMs);
    if (landing.how === "stand-in") {
      const response = present(landing.answer, request.method, request.headers, nowMs);
      const facts = {
        forward: "stale",
        forwardStatus,
        ttlS: ttlOf(landing.answer, nowMs),
        detail: "stale-if-error",
      } as const;
      return { response, status: cacheStatus(facts), source: "stale" };
    }
    const response = present(landing.answer, request.method, request.headers, nowMs);
    const ttlS = arrival.stored ? ttlOf(landing.answer, nowMs) : null;
    return { response, status: cacheStatus({ forward, forwardStatus, stored: arrival.stored, ttlS }), source: "miss" };
  }
  const response = landing.kind === "failed" ? failureOf(landing) : arrival.response;
  if (response === null) throw arrival.error;
  return { response, status: cacheStatus({ forward, forwardStatus }), source: "miss" };
}

function failureOf(landing: Extract<Landing, { kind: "failed" }>): Response {
  return new Response(landing.body, { status: landing.status, headers: asHeaders(landing.headers) });
}
