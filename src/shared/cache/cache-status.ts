/** Our member of `Cache-Status` (RFC 9211). */

export const cacheName = "jimeng-edge";

/** Why a request went on to the origin (RFC 9211 §2.2). */
export type ForwardReason = "bypass" | "method" | "uri-miss" | "vary-miss" | "request" | "stale";

/** `none`: neither answered from the cache nor sent on. */
export type Handling = ForwardReason | "none";

export interface CacheStatusFacts {
  /** null: answered from the cache. */
  readonly forward: Handling | null;
  readonly forwardStatus: number | null;
  readonly stored: boolean;
  readonly collapsed: boolean;
  /** Seconds it stays fresh; negative: stale for so long. null: unknown. */
  readonly ttlS: number | null;
  /** A token. */
  readonly detail: string | null;
}

/** One member, as `jimeng-edge; fwd=uri-miss; fwd-status=200; stored; ttl=300`. */
export function cacheStatus(facts: Partial<CacheStatusFacts>): string {
  let member = cacheName;
  if (facts.forward === null || facts.forward === undefined) member += "; hit";
  else if (facts.forward !== "none") {
    member += `; fwd=${facts.forward}`;
    if (typeof facts.forwardStatus === "number") member += `; fwd-status=${facts.forwardStatus}`;
    if (facts.stored === true) member += "; stored";
    if (facts.collapsed === true) member += "; collapsed";
  }
  if (typeof facts.ttlS === "number") member += `; ttl=${facts.ttlS}`;
  if (typeof facts.detail === "string") member += `; detail=${facts.detail}`;
  return member;
}
