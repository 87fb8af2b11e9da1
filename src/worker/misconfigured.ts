/** A deployed Worker whose configuration is broken: every request is told so, an operator is told what. */
import type { ConfigFault } from "../shared/config/config.ts";
import { defaults } from "../shared/config/defaults.ts";
import { addCors, isPreflight, preflightResponse, usualMethods } from "./cors.ts";
import type { Env } from "./env.ts";
import { failureResponse } from "./failure.ts";
import { loggedUnserved } from "./log/request.ts";
import { gateOf } from "./operator/gate.ts";
import { uncachedStatus } from "./respond.ts";

const message =
  "The edge is misconfigured and serves nothing until that is mended; the operator's log says what is wrong.";

export async function misconfigured(request: Request, env: Env, faults: readonly ConfigFault[]): Promise<Response> {
  const startedMs = Date.now();
  const id = crypto.randomUUID();
  const response = isPreflight(request)
    ? preflightResponse(request, defaults.CORS, usualMethods)
    : await refusal(request, env, faults);
  response.headers.set("x-request-id", id);
  response.headers.append("cache-status", uncachedStatus);
  // A page must be able to read why it is refused, whatever CORS would say if it could be read.
  addCors(response.headers, request.headers.get("origin"), defaults.CORS);
  loggedUnserved(request, { id, startedMs, status: response.status });
  return response;
}

async function refusal(request: Request, env: Env, faults: readonly ConfigFault[]): Promise<Response> {
  // Without a configuration nobody knows the runtime, so the strictest is assumed, and no address to count guesses by.
  const identity = await gateOf(env, "cloudflare").identify(request.headers);
  const known = identity.kind === "known" && identity.role !== null;
  return failureResponse({ code: "configuration_invalid", message, details: known ? faults : undefined });
}
