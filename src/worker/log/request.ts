/** The log line of a request, once its answer's headers are known. */
import { regionOf, targetOf } from "../exchange.ts";
import type { Exchange } from "../exchange.ts";
import { consoleSink } from "./console.ts";
import type { LogEntry } from "./entry.ts";
import { isWanted } from "./sinks.ts";
import { loggedUrl } from "./url.ts";

/** A user agent longer than this is cut: it is the client's to choose. */
const userAgentLength = 200;

/** A stream's line is written at its end: only then is it known whether it failed. */
export function logged(exchange: Exchange, response: Response): void {
  const entry = entryOf(exchange, response);
  if (exchange.ending === null) return written(exchange, entry);
  const ended = exchange.ending.then(({ kind, reason }) => written(exchange, { ...entry, outcome: kind, reason }));
  exchange.waitUntil(ended.catch((error: unknown) => exchange.edge.warnOncePerMinute("log_line_lost", error)));
}

function written({ edge, waitUntil }: Exchange, entry: LogEntry): void {
  const { sample } = edge.config.LOG;
  if (!isError(entry) && sample < 1 && Math.random() >= sample) return;
  for (const sink of edge.sinks) if (isWanted(sink, edge.config)) sink.write(entry, waitUntil);
}

/** By outcome, too: an error may come under status 200, in a dialect's own form or after a stream has begun. */
function isError({ status, outcome }: LogEntry): boolean {
  return status >= 400 || !["success", "own", "aborted"].includes(outcome);
}

function entryOf(exchange: Exchange, response: Response): LogEntry {
  const { request, edge } = exchange;
  const client = exchange.client ?? edge.clients.seen(request);
  return {
    id: exchange.id,
    timestamp: new Date(exchange.startedMs).toISOString(),
    method: request.method,
    url: loggedUrl(exchange.path, exchange.query),
    route: exchange.route?.id ?? null,
    status: response.status,
    latency: Date.now() - exchange.startedMs,
    client_ip: client.address,
    client_key: client.key,
    api_key: exchange.apiKey,
    limit_reported: exchange.limitReported,
    backend: exchange.backend,
    attempts: exchange.attempts,
    user_agent: userAgentOf(request),
    cache: exchange.cacheStatus,
    outcome: exchange.outcome,
    reason: exchange.reason,
    region: exchange.region,
  };
}

function userAgentOf(request: Request): string | null {
  return request.headers.get("user-agent")?.slice(0, userAgentLength) ?? null;
}

/** Of a request that a broken configuration left unserved: nobody knows which sinks are wanted, nor whose word on the client counts. */
export function loggedUnserved(
  request: Request,
  { id, startedMs, status }: { readonly id: string; readonly startedMs: number; readonly status: number },
): void {
  const { path, query } = targetOf(request.url);
  const entry: LogEntry = {
    id,
    timestamp: new Date(startedMs).toISOString(),
    method: request.method,
    url: loggedUrl(path, query),
    route: null,
    status,
    latency: Date.now() - startedMs,
    client_ip: null,
    client_key: null,
    api_key: null,
    limit_reported: false,
    backend: null,
    attempts: 0,
    user_agent: userAgentOf(request),
    cache: null,
    outcome: "rejected",
    reason: "configuration_invalid",
    region: regionOf(request),
  };
  consoleSink.write(entry, () => undefined);
}
