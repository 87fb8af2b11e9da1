/** The Worker as an operator meets it, in workerd with its real objects. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import worker from "../../../src/worker/index.ts";
import type { Env } from "../../../src/worker/env.ts";
import migration from "../../../migrations/0001_request_logs.sql?raw";

export const tokens = {
  operator: "an-operator-token-for-tests",
  viewer: "a-viewer-token-for-tests",
} as const;

export const bindings = env as unknown as Env;

/** An environment of its own is an isolate of its own. `without`: bindings that it lacks. */
export function environment(variables: Readonly<Record<string, unknown>> = {}, without: readonly string[] = []): Env {
  const names = [
    "BACKEND_REGISTRY",
    "RATE_LIMITER",
    "OPERATIONS_LEDGER",
    "CACHE",
    "DB",
    "ANALYTICS",
    "RUNTIME",
    "BACKEND_SERVERS",
  ];
  const bound = Object.fromEntries(
    names
      .filter((name) => !without.includes(name))
      .map((name) => [name, (bindings as unknown as Record<string, unknown>)[name]]),
  );
  const operators = {
    alice: { token: tokens.operator, role: "operator" },
    victor: { token: tokens.viewer, role: "viewer" },
  };
  return {
    ...bound,
    ADMIN_TOKENS: JSON.stringify(operators),
    CONFIG: '{"LOG":{"console":false}}',
    ...variables,
  } as unknown as Env;
}

export interface Asking {
  readonly method?: string;
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON, text as it is. */
  readonly body?: unknown;
  /** `CF-Connecting-IP`. */
  readonly address?: string;
}

/** The answer, once everything that it left behind has been done. */
export async function ask(at: Env, path: string, asking: Asking = {}): Promise<Response> {
  const { method = "GET", token = tokens.operator, headers = {}, body, address = "198.51.100.7" } = asking;
  const init: RequestInit = {
    method,
    headers: {
      "cf-connecting-ip": address,
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
  };
  if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
  const ctx = createExecutionContext();
  const request = new Request(`https://edge.example${path}`, init) as Parameters<NonNullable<typeof worker.fetch>>[0];
  const response = await worker.fetch(request, at, ctx);
  const bytes = await response.arrayBuffer();
  await waitOnExecutionContext(ctx);
  const { status } = response;
  return new Response([204, 304].includes(status) ? null : bytes, { status, headers: response.headers });
}

export async function json(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

export async function migrate(): Promise<void> {
  for (const statement of migration.replaceAll(/^--.*$/gm, "").split(";")) {
    if (statement.trim() !== "" && bindings.DB !== undefined) await bindings.DB.prepare(statement).run();
  }
}
