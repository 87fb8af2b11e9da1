/** Which of the three servers is speaking, as far as one answer tells. */
import type { Dialect } from "../config/config.ts";

export interface DialectEvidence {
  readonly status: number;
  readonly code: number | null;
  readonly message: string | null;
  /** `POST /v1/chat/completions`; what a dialect lacks is how it is told from the other flat one. */
  readonly routeId: string;
  /** `live` of a token check's answer, where that was read. */
  readonly live?: boolean | null;
}

/**
 * A server's word that it has no such route. It opens the message: further on it may be the client's own, since a server that
 * can't read a body quotes it.
 */
export const routeRefusal = /^\s*\[?请求有误/;

/** What flat-1 has no handler for, and what flat-2 has none for. */
const missing: Readonly<Record<string, Dialect>> = {
  "POST /v1/chat/completions": "flat-1",
  "POST /v1/images/compositions": "flat-2",
  "POST /v1/videos/generations": "flat-2",
};

/**
 * `mapped` gives an error its HTTP status; the flat ones answer 200. Among those, -2002 is flat-1's word for a dead
 * token (flat-2 says -2001), `live: false` is flat-1's, and a route that one of them lacks tells them apart. Null:
 * this answer doesn't say.
 */
export function detectDialect({ status, code, message, routeId, live }: DialectEvidence): Dialect | null {
  if (code !== null && code <= -1000) {
    if (status >= 400 && status <= 599) return "mapped";
    if (status !== 200) return null;
    if (code === -2002) return "flat-1";
    if (code === -2001 && message !== null && /登录失效/.test(message)) return "flat-2";
    if (code === -1000 && message !== null && routeRefusal.test(message)) return missing[routeId] ?? null;
    return null;
  }
  return status === 200 && routeId === "POST /token/check" && live === false ? "flat-1" : null;
}
