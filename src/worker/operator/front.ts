/** The operators' routes: exact paths, never taken with the base path. Each asks who is there before it looks at anything. */
import { Router } from "itty-router/Router";
import type { Exchange } from "../exchange.ts";
import { failureResponse } from "../failure.ts";
import type { Failure } from "../failure.ts";
import { jsonResponse } from "../json-response.ts";
import { Unreachable } from "./asking.ts";
import { authenticate } from "./authentication.ts";
import { readInput } from "./input.ts";
import type { OperatorRoute, Told } from "./route.ts";
import { operatorRoutes } from "./routes.ts";

export { isOperator } from "./authentication.ts";

interface Question {
  readonly method: string;
  readonly url: string;
  params: Record<string, string>;
}

const router = Router<Question, [Exchange], Response>();
for (const route of operatorRoutes) {
  router[verbOf(route)](route.path, ({ params }, exchange) => served(route, exchange, params));
}
const methodsByPattern = new Map<string, { readonly pattern: RegExp; readonly methods: string[] }>();
for (const [method, pattern] of router.routes) {
  const known = methodsByPattern.get(pattern.source) ?? { pattern, methods: [] };
  known.methods.push(...(method === "GET" ? ["GET", "HEAD"] : [method]));
  methodsByPattern.set(pattern.source, known);
}

function verbOf({ method }: OperatorRoute): "get" | "post" | "put" | "patch" | "delete" {
  return method.toLowerCase() as "get" | "post" | "put" | "patch" | "delete";
}

/** The first two segments, `/api/backends`: they spare every client's request the comparison with all patterns. */
function headOf(path: string): string {
  const second = path.indexOf("/", 1);
  const third = second < 0 ? -1 : path.indexOf("/", second + 1);
  return third < 0 ? path : path.slice(0, third);
}

const heads = new Set(operatorRoutes.map((route) => headOf(route.path)));

/** What an operators' path takes; null: it is none. */
export function operatorMethods(path: string): readonly string[] | null {
  // itty-router takes a slash at the end for nothing; here it makes another path.
  if (!heads.has(headOf(path)) || path.endsWith("/")) return null;
  for (const { pattern, methods } of methodsByPattern.values()) if (pattern.test(path)) return methods;
  return null;
}

/** null: no route of the operators'. */
export function operatorResponse(exchange: Exchange): Promise<Response> | null {
  const { path, request } = exchange;
  const methods = operatorMethods(path);
  if (methods === null) return null;
  if (!methods.includes(request.method)) return wrongMethod(exchange, methods);
  const method = request.method === "HEAD" ? "GET" : request.method;
  return router.fetch({ method, url: `https://edge${path}`, params: {} }, exchange);
}

async function served(
  route: OperatorRoute,
  exchange: Exchange,
  params: Readonly<Record<string, string>>,
): Promise<Response> {
  const verdict = await authenticate(exchange, route.role);
  if (verdict.kind === "refused") return refused(exchange, verdict.failure);
  const input = await readInput(route, exchange, params);
  if (!input.ok) return refused(exchange, input.failure);
  const { path, query, body } = input;
  const asked = { exchange, by: verdict.identity, path, query, body };
  try {
    return responseOf(route, exchange, await route.run(asked as Parameters<typeof route.run>[0]));
  } catch (error) {
    if (error instanceof Unreachable) return refused(exchange, error.failure);
    throw error;
  }
}

function responseOf(route: OperatorRoute, exchange: Exchange, answer: Told): Response {
  switch (answer.kind) {
    case "json":
      return jsonResponse(answer.value, route.status, { "cache-control": notStored });
    case "text":
      return new Response(answer.text, {
        status: route.status,
        headers: { "content-type": answer.contentType, "cache-control": notStored },
      });
    case "failure":
      return refused(exchange, answer.failure);
  }
}

const notStored = "private, no-store";

function refused(exchange: Exchange, failure: Failure): Response {
  exchange.outcome = "rejected";
  exchange.reason = failure.code;
  return failureResponse(failure);
}

/** Also what may be asked is told to operators only. */
async function wrongMethod(exchange: Exchange, methods: readonly string[]): Promise<Response> {
  const verdict = await authenticate(exchange, "viewer");
  if (verdict.kind === "refused") return refused(exchange, verdict.failure);
  const allow = methods.join(", ");
  const message = `This path takes ${allow}.`;
  return refused(exchange, { code: "method_not_allowed", message, headers: { allow } });
}
