/** What a cache keeps of an answer: plain values only, so that any request of the isolate, or another isolate, may use them. */

/** For how long, and for whom, an answer may be used. Durations in milliseconds. */
export interface Retention {
  readonly lifetimeMs: number;
  /** `corrected_initial_age` of RFC 9111 §4.2.3: how old it was when it arrived. */
  readonly initialAgeMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  /** Not once without asking the origin (`no-cache`). */
  readonly alwaysValidate: boolean;
  /** Never after its lifetime, not even when the origin is dead (`must-revalidate`, `proxy-revalidate`, `s-maxage`). */
  readonly neverStale: boolean;
  /** Also for requests that carry credentials (RFC 9111 §3.5, or a route that is declared shared). */
  readonly forCredentials: boolean;
}

export type HeaderList = readonly (readonly [name: string, value: string])[];

/** Field values, in order of the names; null: the request has no such field. */
export type Selection = readonly (string | null)[];

export interface CachedAnswer extends Retention {
  readonly status: number;
  /** As they go to a client: end-to-end fields only, no cookie, no `Age`. */
  readonly headers: HeaderList;
  /** As the origin sent them, for validation; the client's `ETag` may have been weakened. */
  readonly etag: string | null;
  readonly lastModified: string | null;
  readonly body: Uint8Array;
  /** When its head arrived, by this edge's clock. */
  readonly receivedMs: number;
}

/** What one target's key holds: which request fields select among its answers, and the latest one itself. */
export interface Slot {
  /** Part of every variant's key: a new slot after an invalidation leaves the old variants behind. */
  readonly epoch: string;
  /** Lower case, sorted. */
  readonly names: readonly string[];
  readonly selection: Selection;
  readonly answer: CachedAnswer;
}

export function headerOf(headers: HeaderList, name: string): string | null {
  for (const [key, value] of headers) if (key === name) return value;
  return null;
}

/** RFC 9111 §4.2.3. */
export function currentAgeMs(answer: CachedAnswer, nowMs: number): number {
  return answer.initialAgeMs + Math.max(0, nowMs - answer.receivedMs);
}

/** Left of its lifetime; negative: stale for so long. */
export function freshForMs(answer: CachedAnswer, nowMs: number): number {
  return answer.lifetimeMs - currentAgeMs(answer, nowMs);
}

/** How long a store should keep it: to serve it, to serve it stale, or to have it confirmed. */
export function keepMs(answer: CachedAnswer): number {
  const stale = Math.max(answer.staleWhileRevalidateMs, answer.staleIfErrorMs);
  const validatable = answer.etag !== null || answer.lastModified !== null ? confirmableMs : 0;
  return Math.max(0, answer.lifetimeMs - answer.initialAgeMs) + Math.max(stale, validatable);
}

/** A validator is worth a day: after that the body has likely changed and only takes room. */
const confirmableMs = 86_400_000;
