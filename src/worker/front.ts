/** What is asked: a client's route, one of ours, an operator's, or nothing that exists here. */
import type { Route } from "../shared/route.ts";
import { withoutBase } from "../shared/jimeng/path.ts";
import type { RouteMatch } from "../shared/jimeng/routes.ts";
import { turnedAway } from "./admission.ts";
import { preflightResponse, usualMethods } from "./cors.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import { healthResponse } from "./health.ts";
import { isOperator, operatorMethods, operatorResponse } from "./operator/front.ts";

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

export function preflighted(exchange: Exchange): Response {
  const { request, edge } = exchange;
  const wanted = request.headers.get("access-control-request-method") ?? "";
  return preflightResponse(request, edge.config.CORS, methodsAt(exchange, wanted));
}

function methodsAt(exchange: Exchange, wanted: string): readonly string[] {
  const { path, edge } = exchange;
  const operators = operatorMethods(path);
  if (operators !== null) return operators;
  const listed = edge.routes.match("OPTIONS", path);
  const own = isHealth(exchange) ? healthMethods : usualMethods;
  const methods = listed.kind === "method_not_allowed" ? listed.allow : own;
  // A wildcard may take more here than the entry of this very path names.
  const more = !methods.includes(wanted) && edge.routes.match(wanted, path).kind === "route";
  return more ? [...methods, wanted] : methods;
}

const healthMethods: readonly string[] = ["GET", "HEAD"];

function isHealth({ path, edge }: Exchange): boolean {
  return path === "/health" || withoutBase(path, edge.config.BASE_PATH) === "/health";
}

function ownResponse(exchange: Exchange): Response | Promise<Response> | null {
  if (!isHealth(exchange)) return null;
  if (!healthMethods.includes(exchange.request.method)) return wrongMethod(exchange, healthMethods);
  return isOperator(exchange).then((known) => healthResponse(exchange, known));
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
