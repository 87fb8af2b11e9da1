/**
 * The one way through, on one screen: route → admit → cache → pick → forward → respond → report. Each step is a value
 * handed to the next; the rules are in the files of the steps.
 */
import { admitted } from "./admission.ts";
import { bypassed, cached, concernsCache } from "./cached.ts";
import { isPreflight, preflightResponse } from "./cors.ts";
import { edgeOf } from "./edge.ts";
import type { Env } from "./env.ts";
import type { Exchange } from "./exchange.ts";
import { begin } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import { routed } from "./front.ts";
import { misconfigured } from "./misconfigured.ts";
import { logged } from "./log/request.ts";
import { finished } from "./respond.ts";
import type { Route } from "../shared/route.ts";

export async function handle(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const reading = edgeOf(env);
  if (!reading.ok) return misconfigured(request, env, reading.faults);
  const exchange = begin(request, reading.edge, ctx);
  const response = finished(exchange, await answered(exchange));
  logged(exchange, response);
  return response;
}

async function answered(exchange: Exchange): Promise<Response> {
  try {
    if (isPreflight(exchange.request)) return preflightResponse(exchange.request, exchange.edge.config.CORS);
    const front = routed(exchange);
    if (front.kind === "answered") return await front.response;
    const refusal = await admitted(exchange, front.route);
    if (refusal !== null) return refusal;
    return await through(exchange, front.route);
  } catch (error) {
    exchange.reason = "internal_error";
    exchange.edge.warnOncePerMinute("internal_error", error);
    return failureResponse({
      code: "internal_error",
      message: "The edge failed on this request; its operator's log says why.",
    });
  }
}

function through(exchange: Exchange, route: Route): Promise<Response> {
  return concernsCache(exchange, route) ? cached(exchange, route) : bypassed(exchange, route);
}
