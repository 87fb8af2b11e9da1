/**
 * The one way through, on one screen: route → admit → cache → pick → forward → respond → report. Each step is a value
 * handed to the next; the rules are in the files of the steps.
 */
import { admitted } from "./admission.ts";
import { bypassed, cached, concernsCache } from "./cached.ts";
import { isPreflight } from "./cors.ts";
import { edgeOf } from "./edge.ts";
import type { Env } from "./env.ts";
import type { Exchange } from "./exchange.ts";
import { begin } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import { preflighted, routed } from "./front.ts";
import { misconfigured } from "./misconfigured.ts";
import { logged } from "./log/request.ts";
import { finished } from "./respond.ts";
import type { Route } from "../shared/route.ts";

/** At once where nothing must be waited for: a client that is known to be blocked costs no promise. */
export function handle(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response> {
  const reading = edgeOf(env);
  if (!reading.ok) return misconfigured(request, env, reading.faults);
  const exchange = begin(request, reading.edge, ctx);
  const answer = answered(exchange);
  if (answer instanceof Promise) return answer.then((response) => concluded(exchange, response));
  return concluded(exchange, answer);
}

function concluded(exchange: Exchange, answer: Response): Response {
  const response = dressed(exchange, answer);
  try {
    logged(exchange, response);
  } catch (error) {
    // An answer is not lost for its log line.
    exchange.edge.warnOncePerMinute("log_line_lost", error);
  }
  return response;
}

function dressed(exchange: Exchange, answer: Response): Response {
  try {
    return finished(exchange, answer);
  } catch (error) {
    const own = failed(exchange, error);
    own.headers.set("x-request-id", exchange.id);
    // Nobody will read what it takes the place of, nor wait for the end of that.
    exchange.ending = null;
    if (answer.body !== null) exchange.waitUntil(answer.body.cancel().catch(() => undefined));
    return own;
  }
}

function answered(exchange: Exchange): Response | Promise<Response> {
  try {
    const answer = taken(exchange);
    return answer instanceof Promise ? answer.catch((error: unknown) => failed(exchange, error)) : answer;
  } catch (error) {
    return failed(exchange, error);
  }
}

function taken(exchange: Exchange): Response | Promise<Response> {
  const { edge, region, waitUntil, startedMs } = exchange;
  // What operators have changed counts for all that follows: who may be here, what is a route, what may come from the cache.
  const late = edge.freshen(region, waitUntil, startedMs);
  return late === null ? onItsWay(exchange) : late.then(() => onItsWay(exchange));
}

function onItsWay(exchange: Exchange): Response | Promise<Response> {
  if (isPreflight(exchange.request)) return preflighted(exchange);
  const front = routed(exchange);
  if (front.kind === "answered") return toItsEnd(exchange, front.response);
  const refusal = admitted(exchange, front.route);
  if (refusal instanceof Promise) return refusal.then((late) => late ?? through(exchange, front.route));
  return refusal ?? through(exchange, front.route);
}

function failed(exchange: Exchange, error: unknown): Response {
  exchange.reason = "internal_error";
  // With its trace, and with the id that the client was given.
  const trace = error instanceof Error ? error.stack : String(error);
  exchange.edge.warnOncePerMinute("internal_error", `${exchange.id} ${trace}`);
  return failureResponse({
    code: "internal_error",
    message: "The edge failed on this request; its operator's log says why.",
  });
}

function through(exchange: Exchange, route: Route): Response | Promise<Response> {
  return toItsEnd(exchange, concernsCache(exchange, route) ? cached(exchange, route) : bypassed(exchange, route));
}

/**
 * A reset connection ends the handler; what runs in waitUntil is not ended with it. Up to here nothing has been begun that
 * must end: a limiter counts by itself, and an answer at hand needs nobody to wait for it.
 */
function toItsEnd(exchange: Exchange, answer: Response | Promise<Response>): Response | Promise<Response> {
  if (answer instanceof Promise) exchange.waitUntil(answer);
  return answer;
}
