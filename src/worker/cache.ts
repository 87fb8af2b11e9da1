/**
 * The cache step: is the answer known? Two ways. A route with a lifetime of its own (`fixed.ts`) keeps a 200 for so long, whatever the
 * backend says and whoever asks; a route that obeys its origin (`by-origin.ts`) follows RFC 9111. Everything else passes.
 */
import type { CacheConfig } from "../shared/config/config.ts";
import type { CacheRule } from "../shared/route.ts";
import { ByteLru } from "../shared/cache/byte-lru.ts";
import type { CachedAnswer } from "../shared/cache/cached-answer.ts";
import { Changes } from "../shared/cache/changes.ts";
import { cacheStatus } from "../shared/cache/cache-status.ts";
import { invalidateTargets, throughOriginRules } from "./cache/by-origin.ts";
import { openStore } from "./cache/cache-api.ts";
import type { CacheCounters, Source } from "./cache/counting.ts";
import type { Origin } from "./cache/fetching.ts";
import { throughFixedLifetime } from "./cache/fixed.ts";
import { Flights } from "./cache/flight.ts";
import type { CacheStore } from "./cache/store.ts";

export type { CacheCounters, Source } from "./cache/counting.ts";
export { zeroCounters } from "./cache/counting.ts";
export type { Origin, OriginAnswer, OriginTerms } from "./cache/fetching.ts";

export interface CacheRequest {
  readonly method: string;
  /** The client's. */
  readonly headers: Headers;
  /** The request has a body, or may have one. */
  readonly hasBody: boolean;
  /** The host the client used; part of the key where the origin's own rules hold. */
  readonly host: string;
  /** Path and query exactly as they go to a backend: nothing that the key doesn't hold may change what is asked. */
  readonly target: string;
  readonly rule: CacheRule;
  /** From the routing table; another generation's entries are as good as gone. */
  readonly generation: string;
  /** An unsafe method's success makes what is stored of its target stale: true where a GET of this path may be stored. */
  readonly invalidates: boolean;
  /** What is stored of this URL, as a client or a backend writes it; null: nothing, it is somewhere else. */
  resourceAt(url: URL): Resource | null;
}

/** What a key is made of, beside the host. */
export type Resource = Pick<CacheRequest, "target" | "generation">;

export interface CacheContext {
  readonly cache: EdgeCache;
  readonly settings: CacheConfig;
  readonly counters: CacheCounters;
  waitUntil(work: Promise<unknown>): void;
  nowMs(): number;
}

export interface CacheResult {
  /** Without `Cache-Status`. */
  readonly response: Response;
  /** Our member of `Cache-Status`, to be appended to what the response has. */
  readonly status: string;
  readonly source: Source;
}

/** What an isolate remembers for its cache: plain values. One for each isolate. */
export interface EdgeCache {
  readonly store: CacheStore;
  /** In front of the store, for routes with a lifetime of their own: a hit there does no I/O at all. */
  readonly memory: ByteLru<CachedAnswer>;
  readonly flights: Flights;
  /** In milliseconds. */
  readonly bodyPatienceMs: number;
  /** What has been written to lately: what was asked for before is not stored after. */
  readonly changes: Changes;
  /** When the origin last failed to refresh a key. */
  readonly failures: ByteLru<number>;
  /** Until when a key's answers are taken to be nobody else's, so that requests for it don't wait for each other. */
  readonly apart: ByteLru<number>;
}

export interface EdgeCacheOptions {
  readonly store: CacheStore;
  readonly memoryBytes: number;
  /** How long a request waits for another one's answer, in milliseconds. */
  readonly patienceMs: number;
  /** How long a body may take to be kept, in milliseconds; then its client gets it as it comes. */
  readonly bodyPatienceMs: number;
}

export function openCache(options: Partial<EdgeCacheOptions> = {}): EdgeCache {
  return {
    store: options.store ?? openStore(),
    memory: new ByteLru(options.memoryBytes ?? 16 * 1024 * 1024),
    flights: new Flights(options.patienceMs ?? 3000),
    changes: new Changes(),
    // As long as a cheap request's deadline for its first byte.
    bodyPatienceMs: options.bodyPatienceMs ?? 10_000,
    failures: new ByteLru(256 * 1024),
    apart: new ByteLru(256 * 1024),
  };
}

/** Answers from the cache, or asks `origin` and keeps what may be kept. Throws only what `origin` throws. */
export async function throughCache(request: CacheRequest, context: CacheContext, origin: Origin): Promise<CacheResult> {
  const result = await answer(request, context, origin);
  context.counters[result.source] += 1;
  return result;
}

function answer(request: CacheRequest, context: CacheContext, origin: Origin): Promise<CacheResult> {
  const safe = request.method === "GET" || request.method === "HEAD";
  if (!safe) return unsafe(request, context, origin);
  // A body of a GET would be a part of the question that the key doesn't hold.
  if (request.rule === "none" || request.hasBody || isBypassed(request.target, context.settings)) {
    return bypass(request, origin);
  }
  if (typeof request.rule === "number") {
    return request.rule > 0 ? throughFixedLifetime(request, request.rule, context, origin) : bypass(request, origin);
  }
  return throughOriginRules(request, context, origin);
}

function isBypassed(target: string, settings: CacheConfig): boolean {
  return !settings.enabled || settings.bypass.some((prefix) => target.startsWith(prefix));
}

async function bypass(request: CacheRequest, origin: Origin): Promise<CacheResult> {
  const { response } = await origin(request.headers, { shared: false, standIn: false });
  return { response, status: cacheStatus({ forward: "bypass" }), source: "bypass" };
}

const harmless = new Set(["OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"]);

/** RFC 9111 §4.4. */
async function unsafe(request: CacheRequest, context: CacheContext, origin: Origin): Promise<CacheResult> {
  const { response, verdict } = await origin(request.headers, { shared: false, standIn: false });
  const succeeded = verdict === "ok" && response.status >= 200 && response.status < 400;
  if (request.invalidates && succeeded && !harmless.has(request.method)) {
    await invalidateTargets(request, response, context);
  }
  return { response, status: cacheStatus({ forward: "method" }), source: "bypass" };
}
