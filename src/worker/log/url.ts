/** What of a URL may be logged. */

/**
 * Query parameters of these names hold credentials, whoever reads them; also where a value is a URL, or has a `;` where
 * others write `&`, and so holds parameters of its own.
 */
const secretName = /(?:token|key|secret|auth|pass|pwd|session|sig|sid|cred|jwt|ticket)[^=]*=/i;

/** `/usage/session/:id`: the id may be a pasted credential, also where a slip makes the path one that is not served. */
const sessionId = /(\/usage\/+session\/+)([^/?]+)/gi;

/** A URL is the client's to choose, and a batch of rows must fit into what a database takes at once. */
const longestUrl = 2048;

/**
 * A hash short enough to read and long enough to find a session again; FNV-1a, 64 bits. It hides the id from a reader
 * of the log, not from one who guesses ids.
 */
function shortHash(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** Path and query, with session ids hashed, secret parameters' values replaced, and cut where they are long. */
export function loggedUrl(path: string, query: string): string {
  const shown =
    withoutSession(path) + (query === "" ? "" : `?${query.slice(1).split("&").map(withoutSecret).join("&")}`);
  return shown.length <= longestUrl ? shown : `${shown.slice(0, longestUrl)}…`;
}

function withoutSession(path: string): string {
  const plain = path.includes("%") ? decoded(path) : path;
  const shown = plain.replace(sessionId, (_, before: string, id: string) => `${before}~${shortHash(id)}`);
  return shown === plain ? path : shown;
}

function withoutSecret(parameter: string): string {
  const equals = parameter.indexOf("=");
  if (equals < 0) return parameter;
  const plain = parameter.includes("%") ? decoded(parameter) : parameter;
  return secretName.test(plain) ? `${parameter.slice(0, equals)}=***` : parameter;
}

/** What a server will read; a text that is not properly encoded stands as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
