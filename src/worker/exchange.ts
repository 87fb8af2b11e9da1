/** One request on its way through: what was asked, by whom, and what is known of its answer so far. */
import type { Client } from "./client.ts";
import type { Edge, WaitUntil } from "./edge.ts";
import type { Outcome, OutcomeKind } from "../shared/outcome.ts";
import type { Route } from "../shared/route.ts";

export interface Exchange {
  readonly id: string;
  readonly request: Request;
  /** The client's, as they may go on: without the edge's own key. */
  headers: Headers;
  readonly edge: Edge;
  readonly waitUntil: WaitUntil;
  readonly startedMs: number;
  /** Of the target: `https`, `host:port`, `/path` (still encoded), `?query` or "". */
  readonly protocol: string;
  readonly host: string;
  /** As it came, until the route is known; then without the base path, as a backend is asked for it. */
  path: string;
  readonly query: string;
  /** Region of the edge: a data centre's code, `local` elsewhere. */
  readonly region: string;
  client: Client | null;
  /** Name of the API key that was shown. */
  apiKey: string | null;
  route: Route | null;
  /** Headers that every answer to this client carries (its limit). */
  limitHeaders: Readonly<Record<string, string>> | null;
  /** In the limiter's report mode: enforcing would have refused it. */
  limitReported: boolean;
  backend: string | null;
  attempts: number;
  backendMs: number | null;
  cacheStatus: string | null;
  outcome: OutcomeKind | "rejected" | "own";
  reason: string | null;
  /** How a stream ended, once it has; null where the answer's headers say all there is to know. */
  ending: Promise<Outcome> | null;
}

export interface Target {
  readonly protocol: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
}

/** Takes an absolute URL apart without decoding anything; the runtime has already made it one and removed a fragment. */
export function targetOf(url: string): Target {
  const scheme = url.indexOf("://");
  const slash = url.indexOf("/", scheme + 3);
  const hash = url.indexOf("#", slash);
  const end = hash < 0 ? url.length : hash;
  const question = url.indexOf("?", slash);
  const pathEnd = question < 0 || question > end ? end : question;
  return {
    protocol: url.slice(0, scheme),
    host: url.slice(scheme + 3, slash),
    path: url.slice(slash, pathEnd),
    query: url.slice(pathEnd, end),
  };
}

/** Region of the edge where nothing says where it is: another runtime than Cloudflare's. */
const nowhere = "local";

export function regionOf(request: Request): string {
  const colo = (request.cf as { colo?: unknown } | undefined)?.colo;
  return typeof colo === "string" && colo !== "" ? colo : nowhere;
}

export function begin(request: Request, edge: Edge, ctx: ExecutionContext): Exchange {
  const { protocol, host, path, query } = targetOf(request.url);
  edge.findings.counters.requests += 1;
  return {
    id: crypto.randomUUID(),
    request,
    headers: request.headers,
    edge,
    waitUntil: (work) => ctx.waitUntil(work),
    startedMs: Date.now(),
    protocol,
    host,
    path,
    query,
    region: regionOf(request),
    client: null,
    apiKey: null,
    route: null,
    limitHeaders: null,
    limitReported: false,
    backend: null,
    attempts: 0,
    backendMs: null,
    cacheStatus: null,
    outcome: "own",
    reason: null,
    ending: null,
  };
}
