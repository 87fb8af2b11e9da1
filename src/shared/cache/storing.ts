/**
 * May this answer be stored, and for how long (RFC 9111 §3, §4.2; RFC 9213; RFC 5861). Which status codes, which directive
 * outranks which, and the heuristic come from `http-cache-semantics`; it is given fields that this file has read strictly and
 * written again in canonical form, since the library takes `No-Store` for an unknown word, a bare day for a date and `max-age=1d` for one second.
 */
import CachePolicy from "http-cache-semantics";
import type { Retention } from "./cached-answer.ts";
import type { Argument, Directives, RequestTerms } from "./directives.ts";
import { parseCacheControl, parseTargeted, permits, qualified, seconds } from "./directives.ts";
import { formatHttpDate, parseHttpDate } from "./http-date.ts";

/** What is needed of a `Headers`. */
export interface FieldReader {
  get(name: string): string | null;
}

export interface AnswerFacts {
  readonly method: string;
  readonly terms: RequestTerms;
  /** The request carried `Authorization` or `Cookie`. */
  readonly credentials: boolean;
  readonly status: number;
  readonly fields: FieldReader;
  /** When the request was sent and when the answer's head arrived. */
  readonly requestMs: number;
  readonly responseMs: number;
}

export type Verdict =
  | {
      readonly store: true;
      readonly retention: Retention;
      /** Response fields that may not be kept, lower case. */ readonly omit: readonly string[];
    }
  | { readonly store: false; readonly reason: string };

/** Share of the time since the last change that an answer without a stated lifetime is taken to last (RFC 9111 §4.2.2). */
const heuristicShare = 0.1;
/** A guess is not trusted for longer than a day, however old the answer is. */
const heuristicCapMs = 86_400_000;

/** For a route that obeys its origin. */
export function storingByOrigin(facts: AnswerFacts): Verdict {
  const { fields, terms, responseMs } = facts;
  const targeted = parseTargeted(fields.get("cdn-cache-control"));
  const directives = targeted ?? parseCacheControl(fields.get("cache-control"));
  const omit = qualified(directives, "private") ?? [];
  const refusal = refusalOf(facts, directives, omit);
  if (refusal !== null) return { store: false, reason: refusal };
  if (facts.credentials && !allowsCredentials(directives)) return { store: false, reason: "credentials" };

  const dateMs = parseHttpDate(fields.get("date"), responseMs) ?? responseMs;
  const headers = canonicalFields(facts, directives, targeted !== null, dateMs);
  const policy = new OriginPolicy(
    { method: facts.method, headers: facts.credentials ? { authorization: "present" } : {} },
    { status: facts.status, headers },
    { shared: true, cacheHeuristic: heuristicShare, immutableMinTimeToLive: 0 },
  );
  if (!policy.storable() || terms.noStore) return { store: false, reason: "not-cacheable" };
  const stated = "expires" in headers || directives.has("max-age") || directives.has("s-maxage");
  const retention: Retention = {
    lifetimeMs: Math.min(policy.maxAge() * 1000, stated ? Infinity : heuristicCapMs),
    initialAgeMs: initialAgeMs(facts, dateMs),
    staleWhileRevalidateMs: (seconds(directives, "stale-while-revalidate", 0) ?? 0) * 1000,
    staleIfErrorMs: (seconds(directives, "stale-if-error", 0) ?? 0) * 1000,
    alwaysValidate: directives.has("no-cache") || pragmaForbids(fields, targeted),
    // RFC 9111 §5.2.2.10: s-maxage carries the meaning of proxy-revalidate.
    neverStale: ["must-revalidate", "proxy-revalidate", "s-maxage"].some((name) => directives.has(name)),
    forCredentials: allowsCredentials(directives),
  };
  const validator = fields.get("etag") ?? fields.get("last-modified");
  if (validator === null && keptNoTime(retention)) return { store: false, reason: "expired" };
  return { store: true, retention, omit };
}

/** For a route that is declared shared, with a lifetime of its own: what the origin says about caching doesn't matter. */
export function storingFixed(
  facts: Pick<AnswerFacts, "status" | "fields" | "requestMs" | "responseMs">,
  lifetimeS: number,
  stale: { readonly staleWhileRevalidate: number; readonly staleIfError: number },
): Verdict {
  if (facts.status !== 200) return { store: false, reason: "status" };
  const unsound = unsoundBody(facts.fields);
  if (unsound !== null) return { store: false, reason: unsound };
  const dateMs = parseHttpDate(facts.fields.get("date"), facts.responseMs) ?? facts.responseMs;
  const initial = initialAgeMs(facts, dateMs);
  return {
    store: true,
    omit: [],
    retention: {
      // The lifetime counts from the arrival; Age still tells a client how old the answer is in all.
      lifetimeMs: initial + lifetimeS * 1000,
      initialAgeMs: initial,
      staleWhileRevalidateMs: stale.staleWhileRevalidate * 1000,
      staleIfErrorMs: stale.staleIfError * 1000,
      alwaysValidate: false,
      neverStale: false,
      forCredentials: true,
    },
  };
}

/** The library's own clock is read only where an answer has no `Date`; it always gets one here. */
class OriginPolicy extends CachePolicy {
  now(): number {
    return 0;
  }
}

/** RFC 9111 §3.5. Where it can't be read what is permitted, nothing is. */
function allowsCredentials(directives: Directives): boolean {
  const sharedS = seconds(directives, "s-maxage", -1) ?? -1;
  return sharedS >= 0 || permits(directives, "public") || permits(directives, "must-revalidate");
}

/** What the library doesn't know of, or reads too kindly. */
function refusalOf(facts: AnswerFacts, directives: Directives, omit: readonly string[]): string | null {
  // Errors are never stored, although RFC 9111 would let some: a backend's bad minute must not outlive it.
  if (facts.status >= 400) return "status";
  // RFC 9111 §3.3: without range support a part is never kept.
  if (facts.status === 206 || facts.fields.get("content-range") !== null) return "partial";
  if (directives.has("no-store") && !(permits(directives, "must-understand") && understood(facts.status)))
    return "no-store";
  if (directives.has("must-understand") && !understood(facts.status)) return "must-understand";
  if (directives.has("private") && omit.length === 0) return "private";
  // RFC 9111 §7.3 allows it; a session handed to a stranger is not worth the hit.
  if (facts.fields.get("set-cookie") !== null && !omit.includes("set-cookie")) return "set-cookie";
  if (varyNames(facts.fields.get("vary")) === null) return "vary";
  return unsoundBody(facts.fields);
}

function unsoundBody(fields: FieldReader): string | null {
  if (/^text\/event-stream/i.test(fields.get("content-type") ?? "")) return "stream";
  const coding = fields.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  // The runtime decodes these; anything else would be stored in a coding that the next client may not know.
  return ["identity", "gzip", "br"].includes(coding) ? null : "content-encoding";
}

function understood(status: number): boolean {
  return [200, 203, 204, 300, 301, 302, 303, 307, 308].includes(status);
}

/** `Pragma` in answers was never specified, yet sent to say this (RFC 9111 §5.4); only where nothing newer speaks. */
function pragmaForbids(fields: FieldReader, targeted: Directives | null): boolean {
  return targeted === null && fields.get("cache-control") === null && /no-cache/i.test(fields.get("pragma") ?? "");
}

function keptNoTime(retention: Retention): boolean {
  const useful = retention.lifetimeMs + Math.max(retention.staleWhileRevalidateMs, retention.staleIfErrorMs);
  return retention.alwaysValidate || useful <= retention.initialAgeMs;
}

/** The fields the library decides by, in the only spelling it reads right. */
function canonicalFields(
  facts: AnswerFacts,
  directives: Directives,
  targeted: boolean,
  dateMs: number,
): Record<string, string> {
  const fields: Record<string, string> = { date: formatHttpDate(dateMs) };
  const control: string[] = [];
  for (const name of ["max-age", "s-maxage"]) {
    const value = lifetimeArgument(directives.get(name), seconds(directives, name, 0));
    if (value !== null) control.push(`${name}=${value}`);
  }
  for (const name of ["public", "must-revalidate"]) if (permits(directives, name)) control.push(name);
  if (control.length > 0) fields["cache-control"] = control.join(", ");

  const expires = facts.fields.get("expires");
  // RFC 9213 §2.2: beside a valid targeted field, Cache-Control and Expires are not read. An unreadable Expires is in the past (§5.3).
  if (expires !== null && !targeted) {
    fields["expires"] = formatHttpDate(parseHttpDate(expires, facts.responseMs) ?? 0);
  }
  const modifiedMs = parseHttpDate(facts.fields.get("last-modified"), facts.responseMs);
  if (modifiedMs !== null) fields["last-modified"] = formatHttpDate(modifiedMs);
  return fields;
}

function lifetimeArgument(argument: Argument | undefined, value: number | undefined): string | null {
  return argument === undefined ? null : String(value ?? 0);
}

/** RFC 9111 §4.2.3. */
function initialAgeMs(facts: Pick<AnswerFacts, "fields" | "requestMs" | "responseMs">, dateMs: number): number {
  const apparent = Math.max(0, facts.responseMs - dateMs);
  // A list is a field sent twice: the first counts (RFC 9111 §5.1); what is no number is ignored.
  const text = facts.fields.get("age")?.split(",")[0]?.trim() ?? "";
  const stated = /^\d+$/.test(text) ? Math.min(Number(text), 2 ** 31) * 1000 : 0;
  return Math.max(apparent, stated + Math.max(0, facts.responseMs - facts.requestMs));
}

/** The request fields that select an answer: lower case, sorted, each once; null for `*` and for what is no list of names. */
export function varyNames(vary: string | null): string[] | null {
  if (vary === null) return [];
  const names = vary
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (!names.every((name) => name !== "*" && /^[!#$%&'*+\-.^_`|~\w]+$/.test(name))) return null;
  return [...new Set(names)].sort();
}
