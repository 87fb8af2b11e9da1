/** The log line of a request, once its answer's headers are known. */
import type { Exchange } from "../exchange.ts";
import type { LogEntry } from "./entry.ts";
import { isWanted } from "./sinks.ts";
import { loggedUrl } from "./url.ts";

/** A user agent longer than this is cut: it is the client's to choose. */
const userAgentLength = 200;

export function logged(exchange: Exchange, response: Response): void {
  const { edge } = exchange;
  const failed = response.status >= 400;
  const { sample } = edge.config.LOG;
  if (!failed && sample < 1 && Math.random() >= sample) return;
  const entry = entryOf(exchange, response);
  for (const sink of edge.sinks) if (isWanted(sink, edge.config)) sink.write(entry, exchange.waitUntil);
}

function entryOf(exchange: Exchange, response: Response): LogEntry {
  const { request, client } = exchange;
  return {
    id: exchange.id,
    timestamp: new Date(exchange.startedMs).toISOString(),
    method: request.method,
    url: loggedUrl(exchange.path, exchange.query),
    route: exchange.route?.id ?? null,
    status: response.status,
    latency: Date.now() - exchange.startedMs,
    client_ip: client?.address ?? null,
    client_key: client?.key ?? null,
    api_key: exchange.apiKey,
    limit_reported: exchange.limitReported,
    backend: exchange.backend,
    attempts: exchange.attempts,
    user_agent: request.headers.get("user-agent")?.slice(0, userAgentLength) ?? null,
    cache: exchange.cacheStatus,
    outcome: exchange.outcome,
    reason: exchange.reason,
    region: exchange.region,
  };
}
