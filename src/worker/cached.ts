/** Between the pipeline and the cache: what is asked of it, and what its answer says. */
import type { Route } from "../shared/route.ts";
import { cacheStatus } from "../shared/cache/cache-status.ts";
import { withoutBase } from "../shared/jimeng/path.ts";
import { throughCache } from "./cache.ts";
import type { Resource } from "./cache.ts";
import type { Edge } from "./edge.ts";
import type { Exchange } from "./exchange.ts";
import { composedModels, readingAgeS } from "./fan-out.ts";
import { produce } from "./produce.ts";

/** At once where the answer is at hand. */
export function cached(exchange: Exchange, route: Route): Response | Promise<Response> {
  const known = route.answering === "models" ? models(exchange) : null;
  return known ?? lookedUp(exchange, route);
}

async function lookedUp(exchange: Exchange, route: Route): Promise<Response> {
  const { edge, request } = exchange;
  const question = {
    method: request.method,
    headers: exchange.headers,
    hasBody: request.body !== null,
    host: exchange.host,
    target: exchange.path + exchange.query,
    rule: route.cache,
    generation: generationOf(edge, exchange.path),
    invalidates: true,
    resourceAt: (url: URL) => resourceAt(exchange, url),
  };
  const context = {
    cache: edge.cache,
    settings: edge.config.CACHE,
    counters: edge.findings.counters.cache,
    waitUntil: exchange.waitUntil,
    nowMs: () => Date.now(),
  };
  const { response, status } = await throughCache(question, context, (headers, terms) =>
    produce(exchange, route, { headers, ...terms }),
  );
  exchange.cacheStatus = status;
  return response;
}

/**
 * The prober's reading stands in for the backends, for as long as a stored answer would; it is read anew behind them. null: nothing was
 * read yet, or nobody has let it be read for too long.
 */
function models(exchange: Exchange): Response | null {
  const { edge } = exchange;
  const known = edge.table.table.models;
  if (known === null) return null;
  const { ttl, staleWhileRevalidate, staleIfError } = edge.config.CACHE;
  const ageS = readingAgeS(known, exchange.startedMs);
  const left = ttl.models - ageS;
  const fresh = left > 0;
  if (-left >= Math.max(staleWhileRevalidate, staleIfError)) return null;
  edge.findings.counters.cache[fresh ? "hit" : "stale"] += 1;
  exchange.cacheStatus = cacheStatus({ ttlS: left, ...(fresh ? {} : { detail: "stale" }) });
  return composedModels(known.entries, ageS);
}

/**
 * A purge of everything, or of this path, makes another generation; what was stored under an older one is not found. While nobody has told
 * this isolate of any purge, it knows only what it stores itself.
 */
function generationOf(edge: Edge, path: string): string {
  if (edge.table.source === "configuration") return edge.name;
  const { cacheGenerations } = edge.table.table;
  return `${cacheGenerations["*"] ?? 0}.${cacheGenerations[path] ?? 0}`;
}

/** A client knows a resource by this edge's host and base path, a backend by its own URL or another's: the fleet is one origin. */
function resourceAt({ edge, host }: Exchange, url: URL): Resource | null {
  const path =
    url.host === host ? (withoutBase(url.pathname, edge.config.BASE_PATH) ?? url.pathname) : ofBackend(edge, url);
  return path === null ? null : { target: path + url.search, generation: generationOf(edge, path) };
}

function ofBackend(edge: Edge, url: URL): string | null {
  for (const member of edge.table.members) {
    const own = new URL(member.url);
    if (own.host !== url.host) continue;
    const path = own.pathname === "/" ? url.pathname : withoutBase(url.pathname, own.pathname);
    if (path !== null) return path;
  }
  return null;
}

/** Whether the cache has a say: it may hold an answer, or must forget one that this request makes stale. */
export function concernsCache({ edge, path, request }: Exchange, route: Route): boolean {
  if (route.cache !== "none") return true;
  if (request.method === "GET" || request.method === "HEAD") return false;
  const read = edge.routes.match("GET", path);
  return read.kind === "route" && read.route.cache !== "none";
}

const bypassStatus = cacheStatus({ forward: "bypass" });

/** The short way past it. */
export async function bypassed(exchange: Exchange, route: Route): Promise<Response> {
  exchange.edge.findings.counters.cache.bypass += 1;
  exchange.cacheStatus = bypassStatus;
  const upstream = { headers: exchange.headers, shared: false, standIn: false };
  return (await produce(exchange, route, upstream)).response;
}
