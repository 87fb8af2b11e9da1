/** Whose page may read an answer. https://fetch.spec.whatwg.org/#http-cors-protocol */
import type { Config } from "../shared/config/config.ts";

type CorsConfig = Config["CORS"];

const exposed = [
  "x-request-id",
  "x-jimeng-edge-backend",
  "x-should-retry",
  "retry-after",
  "ratelimit",
  "ratelimit-policy",
  "cache-status",
  "server-timing",
].join(", ");

/** Of the specification's routes, all together: for a path of which nothing is known, so that a page can read why not. */
export const usualMethods: readonly string[] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"];

/** What a client of these APIs sends; used where a preflight names nothing. */
const usualHeaders = "authorization, content-type, x-api-key";

export function isPreflight(request: Request): boolean {
  return (
    request.method === "OPTIONS" &&
    request.headers.has("origin") &&
    request.headers.has("access-control-request-method")
  );
}

/** The origin to allow: `*`, the request's own, or null for one that may not. */
function allowedOrigin(origin: string | null, cors: CorsConfig): string | null {
  const anyone = cors.origins.includes("*");
  if (anyone && !cors.credentials) return "*";
  if (origin === null) return null;
  return anyone || cors.origins.includes(origin) ? origin : null;
}

function allow(headers: Headers, origin: string, cors: CorsConfig): void {
  headers.set("access-control-allow-origin", origin);
  if (cors.credentials && origin !== "*") headers.set("access-control-allow-credentials", "true");
}

/**
 * Adds to an answer what a browser asks for. `Vary: Origin` always stands, so that no cache hands an answer made for
 * one origin, or for none, to another: https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches
 */
export function addCors(headers: Headers, origin: string | null, cors: CorsConfig): void {
  addVary(headers, "Origin");
  const allowed = allowedOrigin(origin, cors);
  if (allowed === null) return;
  allow(headers, allowed, cors);
  headers.set("access-control-expose-headers", exposed);
}

/** `methods`: what the path takes. */
export function preflightResponse(request: Request, cors: CorsConfig, methods: readonly string[]): Response {
  const headers = new Headers({ vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" });
  const allowed = allowedOrigin(request.headers.get("origin"), cors);
  if (allowed !== null) {
    allow(headers, allowed, cors);
    headers.set("access-control-allow-methods", methods.join(", "));
    headers.set("access-control-allow-headers", request.headers.get("access-control-request-headers") ?? usualHeaders);
    headers.set("access-control-max-age", String(cors.maxAge));
  }
  return new Response(null, { status: 204, headers });
}

export function addVary(headers: Headers, name: string): void {
  const vary = headers.get("vary");
  if (vary === null) headers.set("vary", name);
  else if (vary !== "*" && !vary.split(",").some((member) => member.trim().toLowerCase() === name.toLowerCase())) {
    headers.set("vary", `${vary}, ${name}`);
  }
}
