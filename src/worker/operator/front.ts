/** The operators' routes: exact paths, never taken with the base path. */
import type { Exchange } from "../exchange.ts";
import { jsonResponse } from "../json-response.ts";
import { failureResponse } from "../failure.ts";
import { hasAdminToken } from "./token.ts";

export function isOperator(exchange: Exchange): Promise<boolean> {
  return hasAdminToken(exchange.request, exchange.edge.env);
}

/** null: no route of the operators'. */
export function operatorResponse(exchange: Exchange): Promise<Response> | null {
  if (exchange.path !== "/api/ip-preference") return null;
  return preference(exchange);
}

async function preference(exchange: Exchange): Promise<Response> {
  const { edge } = exchange;
  if (edge.env.ADMIN_TOKEN === undefined) {
    return failureResponse({
      code: "operators_api_disabled",
      message: "The operators' API is closed: set the secret ADMIN_TOKEN to open it.",
    });
  }
  if (!(await isOperator(exchange))) {
    return failureResponse({
      code: "operator_unauthorized",
      message: "This route takes an operator's bearer token.",
      headers: { "www-authenticate": "Bearer" },
    });
  }
  const region = new URLSearchParams(exchange.query).get("region");
  return jsonResponse(await edge.registry.preference(region), 200, { "cache-control": "private, no-store" });
}
