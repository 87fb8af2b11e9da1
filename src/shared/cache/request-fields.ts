/**
 * Which fields of a request a stored answer may depend on. Every field is one of these, so that an answer is a function of its key:
 * - *negotiating*: sent on, always part of the key, whether or not the origin remembers to say `Vary`;
 * - *credentials*: sent on; the answer is kept only under RFC 9111 §3.5;
 * - *dropped*: not sent on, so no answer can depend on it: what the cache answers itself, what only describes the client, and what names
 *   another host or address (the forwarding step writes its own);
 * - *other*: sent on; the answer is kept only if `Vary` names it, since it might have changed the answer.
 */
export type FieldRole = "negotiating" | "credentials" | "dropped" | "other";

/** Sorted, as the names of a slot are. */
export const negotiating: readonly string[] = ["accept", "accept-charset", "accept-language", "prefer"];

const credentials = new Set(["authorization", "cookie"]);

const dropped = new Set(
  [
    // Answered here (RFC 9110 §13, §14; RFC 9111 §5.2.1).
    "cache-control pragma if-none-match if-modified-since if-match if-unmodified-since if-range range",
    // One connection's or one hop's business (RFC 9110 §7.6, §10.1).
    "connection keep-alive te trailer transfer-encoding upgrade host expect max-forwards via",
    "proxy-authorization proxy-connection content-length cdn-loop http2-settings priority",
    // The coding is settled between this edge and its client.
    "accept-encoding",
    // CORS is answered by the edge; the rest describes the client or is for its own records.
    "origin referer user-agent from dnt save-data upgrade-insecure-requests early-data x-requested-with",
    "traceparent tracestate baggage b3 x-request-id x-correlation-id x-amzn-trace-id idempotency-key",
    "device-memory downlink dpr ect rtt viewport-width width",
    // Whoever could set these could make the origin speak of another host.
    "forwarded x-real-ip true-client-ip x-client-ip x-cluster-client-ip x-original-url x-rewrite-url",
    "x-original-host x-host x-http-method x-http-method-override x-method-override",
  ].flatMap((names) => names.split(" ")),
);

const droppedPrefixes = ["sec-", "cf-", "x-forwarded-", "x-stainless-", "x-b3-", "access-control-"];

export function roleOf(name: string): FieldRole {
  if (negotiating.includes(name)) return "negotiating";
  if (credentials.has(name)) return "credentials";
  return dropped.has(name) || droppedPrefixes.some((prefix) => name.startsWith(prefix)) ? "dropped" : "other";
}

/** The names that select among an answer's variants: what `Vary` says and what always does. Dropped fields are the same for everybody. */
export function selectingNames(varyNames: readonly string[]): string[] {
  return [...new Set([...negotiating, ...varyNames.filter((name) => roleOf(name) !== "dropped")])].sort();
}

/** Names, in order, of fields that were sent on and that neither the key nor `Vary` accounts for. */
export function unaccounted(requestNames: Iterable<string>, selecting: readonly string[]): string[] {
  return [...requestNames].filter((name) => roleOf(name) === "other" && !selecting.includes(name));
}

/**
 * A field's value as it selects (RFC 9111 §4.1): white space around commas and semicolons doesn't count, nor does case where the field's own
 * definition says so. The order of a list stays, since among equals it can matter. No field and `*` are the same wish.
 */
export function selectingValue(name: string, value: string | null): string | null {
  if (value === null) return null;
  const spaced = value
    .trim()
    .replace(/[ \t]+/g, " ")
    .replace(/ ?([,;]) ?/g, "$1");
  if (!negotiating.includes(name) || name === "prefer") return spaced;
  const folded = spaced.toLowerCase();
  return folded === "" || folded === "*/*" || folded === "*" ? null : folded;
}
