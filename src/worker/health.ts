/** `GET /health`: every backend's state, from the table; URLs only for an operator. */
import type { Edge } from "./edge.ts";
import type { Exchange } from "./exchange.ts";
import { jsonResponse } from "./json-response.ts";
import type { EdgeMember } from "./table.ts";

export async function healthResponse(exchange: Exchange, isOperator: boolean): Promise<Response> {
  const { edge } = exchange;
  // A load balancer in front of us asks this: it must not be told yesterday's news, nor wait for today's.
  const maxAgeMs = Math.min(edge.config.CACHE.ttl.health * 1000, 2000);
  await edge.freshen(exchange.region, exchange.waitUntil, exchange.startedMs, maxAgeMs);
  const { members } = edge.table;
  const usable = members.some((member) => member.healthy);
  const body = {
    status: usable ? "ok" : "down",
    table: tableFacts(edge),
    backends: members.map((member) => backendFacts(member, isOperator)),
  };
  const caching = isOperator ? "private, no-store" : "no-store";
  return jsonResponse(body, usable ? 200 : 503, { "cache-control": caching });
}

function tableFacts({ table }: Edge): Record<string, unknown> {
  const age = table.source === "registry" ? Math.max(0, Date.now() - table.confirmedMs) / 1000 : null;
  return { source: table.source, version: table.table.version, age };
}

function backendFacts(member: EdgeMember, isOperator: boolean): Record<string, unknown> {
  const facts = {
    name: member.name,
    region: member.region,
    healthy: member.healthy,
    state: member.operatorState === "active" ? member.state : member.operatorState,
    last_check: member.lastCheckMs === null ? null : new Date(member.lastCheckMs).toISOString(),
    consecutive_failures: member.consecutiveFailures,
  };
  return isOperator ? { ...facts, url: member.url } : facts;
}
