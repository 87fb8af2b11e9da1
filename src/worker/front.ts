/** What is asked: a client's route, one of ours, an operator's, or nothing that exists here. */
import type { Route } from "../shared/route.ts";
import { withoutBase } from "../shared/jimeng/path.ts";
import type { RouteMatch } from "../shared/jimeng/routes.ts";
import { turnedAway } from "./admission.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import { healthResponse } from "./health.ts";
import { isOperator, operatorResponse } from "./operator/front.ts";

export type Front =
  | { readonly kind: "route"; readonly route: Route }
  | { readonly kind: "answered"; readonly response: Response | Promise<Response> };

export function routed(exchange: Exchange): Front {
  const { path, request, edge } = exchange;
  // Before a client's routes: what ROUTES opens must not take an operator's token to a backend.
  const operators = operatorResponse(exchange);
  if (operators !== null) return { kind: "answered", response: operators };
  const match = edge.routes.match(request.method, path);
  if (match.kind === "route") {
    exchange.route = match.route;
    exchange.path = match.path;
    return { kind: "route", route: match.route };
  }
  const response = turnedAway(exchange) ?? ownResponse(exchange) ?? unmatched(exchange, match);
  return { kind: "answered", response };
}

function ownResponse(exchange: Exchange): Response | Promise<Response> | null {
  const { path, request, edge } = exchange;
  const plain = withoutBase(path, edge.config.BASE_PATH) ?? path;
  if (plain === "/health" || path === "/health") {
    if (request.method !== "GET" && request.method !== "HEAD") return wrongMethod(exchange, ["GET", "HEAD"]);
    return isOperator(exchange).then((known) => healthResponse(exchange, known));
  }
  return null;
}

function unmatched(exchange: Exchange, match: Exclude<RouteMatch, { kind: "route" }>): Response {
  return match.kind === "not_found" ? notFound(exchange) : wrongMethod(exchange, match.allow);
}

function notFound(exchange: Exchange): Response {
  exchange.outcome = "rejected";
  exchange.reason = "not_found";
  const message = `There is no route ${exchange.request.method} ${shortened(exchange.path)} here. The routes are those of the Jimeng API, under /v1, /token, /usage and /ping, and /health.`;
  return failureResponse({ code: "not_found", message });
}

function wrongMethod(exchange: Exchange, allow: readonly string[]): Response {
  const allowed = allow.join(", ");
  if (exchange.request.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow: allowed } });
  exchange.outcome = "rejected";
  exchange.reason = "method_not_allowed";
  const message = `${shortened(exchange.path)} takes ${allowed}; this request's method is ${shortened(exchange.request.method)}.`;
  return failureResponse({ code: "method_not_allowed", message, headers: { allow: allowed } });
}

/** Enough to recognise it; a path can be 16 KiB long. */
function shortened(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 100)}…`;
}
