/** Conditional and range requests, answered from what is stored (RFC 9110 §13, §14; RFC 9111 §4.3). */
import type { CachedAnswer, HeaderList } from "./cached-answer.ts";
import { headerOf } from "./cached-answer.ts";
import { parseHttpDate } from "./http-date.ts";
import type { FieldReader } from "./storing.ts";

const entityTag = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g;

/** RFC 9110 §8.8.3.2. */
export function weakMatch(a: string, b: string): boolean {
  return a.replace(/^W\//, "") === b.replace(/^W\//, "");
}

export function strongMatch(a: string, b: string): boolean {
  return a === b && !a.startsWith("W/");
}

/** True: the client already has this answer, and a 304 will do (RFC 9110 §13.2.2). */
export function notModified(answer: CachedAnswer, request: FieldReader): boolean {
  if (answer.status !== 200) return false;
  const tags = request.get("if-none-match");
  if (tags !== null) {
    if (tags.trim() === "*") return true;
    const own = headerOf(answer.headers, "etag");
    return own !== null && (tags.match(entityTag) ?? []).some((tag) => weakMatch(tag, own));
  }
  const since = parseHttpDate(request.get("if-modified-since"), answer.receivedMs);
  if (since === null) return false;
  // RFC 9111 §4.3.2: without Last-Modified the stored Date stands in for it.
  const own = parseHttpDate(answer.lastModified ?? headerOf(answer.headers, "date"), answer.receivedMs);
  return own !== null && own <= since;
}

/** What a 304 carries (RFC 9110 §15.4.5). */
const inNotModified = new Set([
  "cache-control",
  "content-location",
  "date",
  "etag",
  "expires",
  "vary",
  "last-modified",
  "cdn-cache-control",
]);

export function notModifiedHeaders(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => inNotModified.has(name));
}

/** What asks the origin to confirm a stored answer (RFC 9111 §4.3.1). */
export function validators(answer: CachedAnswer): HeaderList {
  const fields: [string, string][] = [];
  if (answer.etag !== null) fields.push(["if-none-match", answer.etag]);
  if (answer.lastModified !== null) fields.push(["if-modified-since", answer.lastModified]);
  return fields;
}

/** Does this 304 speak of this stored answer (RFC 9111 §4.3.4)? */
export function confirms(answer: CachedAnswer, fields: FieldReader): boolean {
  const tag = fields.get("etag");
  if (tag !== null) {
    if (answer.etag === null) return false;
    return tag.startsWith("W/") ? weakMatch(tag, answer.etag) : strongMatch(tag, answer.etag);
  }
  const modified = fields.get("last-modified");
  return modified === null || modified === answer.lastModified;
}

/** A 304 describes the message it came in, not the stored body, in these (RFC 9111 §3.2). */
const ofTheBody = new Set(["content-length", "content-encoding", "content-range", "content-type", "transfer-encoding"]);

/**
 * RFC 9111 §3.2: every field of the update replaces the stored ones of its name; the others stay. A tag that was weakened when it was stored,
 * because the body had been decoded, stays weak.
 */
export function freshenedHeaders(stored: CachedAnswer, update: HeaderList): HeaderList {
  const own = headerOf(stored.headers, "etag");
  const weakened = own !== null && own !== stored.etag;
  const replacing = update.filter(([name]) => !ofTheBody.has(name));
  const names = new Set(replacing.map(([name]) => name));
  const fresh = replacing.map(([name, value]): readonly [string, string] => [
    name,
    name === "etag" && weakened && !value.startsWith("W/") ? `W/${value}` : value,
  ]);
  return [...stored.headers.filter(([name]) => !names.has(name)), ...fresh];
}

/** First and last byte, inclusive; `unsatisfiable`: a 416; null: the whole answer (RFC 9110 §14.1.2, §14.2). */
export type ByteRange = { readonly first: number; readonly last: number } | "unsatisfiable" | null;

/** One range is served; several are answered with the whole, which is allowed and can't be misread. */
export function rangeOf(answer: CachedAnswer, request: FieldReader): ByteRange {
  const match = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(request.get("range")?.trim() ?? "");
  if (match === null || answer.status !== 200 || !rangeStillMeant(answer, request.get("if-range"))) return null;
  const [, from, to] = match;
  const size = answer.body.length;
  if (from === "" || from === undefined) {
    if (to === "" || to === undefined) return null;
    const length = Math.min(Number(to), size);
    return length === 0 ? "unsatisfiable" : { first: size - length, last: size - 1 };
  }
  const first = Number(from);
  const last = to === "" || to === undefined ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== "" && Number(to) < first) return null;
  return first >= size ? "unsatisfiable" : { first, last };
}

/** RFC 9110 §13.1.5: only a strong validator keeps two versions from being spliced. */
function rangeStillMeant(answer: CachedAnswer, ifRange: string | null): boolean {
  if (ifRange === null) return true;
  const own = headerOf(answer.headers, "etag");
  if (ifRange.includes('"')) return own !== null && strongMatch(ifRange.trim(), own);
  const date = parseHttpDate(headerOf(answer.headers, "date"), answer.receivedMs);
  const modified = parseHttpDate(answer.lastModified, answer.receivedMs);
  // A date is strong only when it lies a minute before the answer was made (RFC 9110 §8.8.2.2).
  return modified !== null && ifRange.trim() === answer.lastModified && date !== null && date - modified >= 60_000;
}
