/** Which header goes where. https://www.rfc-editor.org/rfc/rfc9110#section-7.6 */

/** For one connection only: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
] as const;

/**
 * Never sent on: `expect` makes the runtime's fetch resolve with 100; the others are the edge's own account of the
 * client, which a backend must not be able to mistake for the client's word.
 */
const notForwarded = [
  "expect",
  "host",
  "cf-connecting-ip",
  "cf-connecting-ipv6",
  "cf-ipcountry",
  "cf-ray",
  "cf-visitor",
  "cf-worker",
  "cf-ew-via",
  "cdn-loop",
  "x-real-ip",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "cf-access-jwt-assertion",
] as const;

/** Ours to say, so a backend's are dropped. */
const oursOnly = ["x-jimeng-edge-backend", "x-jimeng-edge-cache", "ratelimit", "ratelimit-policy"] as const;

function withoutConnectionNamed(headers: Headers): void {
  const connection = headers.get("connection");
  if (connection === null) return;
  for (const name of connection.split(",")) {
    const trimmed = name.trim();
    if (isToken(trimmed)) headers.delete(trimmed);
  }
}

/** https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** Who asked for whom: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For */
export interface ForwardedBy {
  readonly clientAddress: string | null;
  readonly host: string;
  readonly protocol: string;
}

const via = "1.1 jimeng-edge";

/**
 * The headers that a backend gets. `forwarded` is null where the answer will serve several clients. `secrets` are its own
 * (an origin secret); they win over the client's.
 */
export function requestHeaders(
  client: Headers,
  forwarded: ForwardedBy | null,
  secrets: Readonly<Record<string, string>>,
): Headers {
  const headers = new Headers(client);
  withoutConnectionNamed(headers);
  for (const name of hopByHop) headers.delete(name);
  for (const name of notForwarded) headers.delete(name);
  if (forwarded !== null) {
    if (forwarded.clientAddress !== null) headers.set("x-forwarded-for", forwarded.clientAddress);
    headers.set("x-forwarded-host", forwarded.host);
    headers.set("x-forwarded-proto", forwarded.protocol);
  }
  // https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3
  headers.append("via", via);
  for (const name in secrets) headers.set(name, secrets[name] as string);
  return headers;
}

/** What a request for a whole must not carry: a part of an answer, or the word that nothing has changed, can't be merged. */
const partial = ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] as const;

/** As `requestHeaders`, where the answer is one of many that become one. */
export function wholeRequestHeaders(client: Headers, secrets: Readonly<Record<string, string>>): Headers {
  const headers = requestHeaders(client, null, secrets);
  for (const name of partial) headers.delete(name);
  return headers;
}

/** The headers that a client gets of a backend's answer. `Set-Cookie` stays apart, as `Headers` keeps it. */
export function responseHeaders(backend: Headers): Headers {
  const headers = new Headers(backend);
  toResponseHeaders(headers);
  return headers;
}

/** Makes a copy of a backend's headers what a client may get. */
export function toResponseHeaders(headers: Headers): void {
  withoutConnectionNamed(headers);
  for (const name of hopByHop) headers.delete(name);
  for (const name of oursOnly) headers.delete(name);
  // The servers allow every origin by themselves; whose page may read an answer is the edge's to say.
  for (const name of corsHeaders) headers.delete(name);
  headers.append("via", via);
}

const corsHeaders = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-expose-headers",
  "access-control-max-age",
] as const;
