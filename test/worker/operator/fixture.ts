/** The Worker as an operator meets it, in workerd with its real objects. */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, vi } from "vitest";
import worker from "../../../src/worker/index.ts";
import type { Env } from "../../../src/worker/env.ts";
import { collectNothing } from "../at-once.ts";
import migration from "../../../migrations/0001_request_logs.sql?raw";

export const tokens = {
  operator: "an-operator-token-for-tests",
  viewer: "a-viewer-token-for-tests",
} as const;

export const bindings = env as unknown as Env;

const objects = ["BACKEND_REGISTRY", "RATE_LIMITER", "OPERATIONS_LEDGER"] as const;
export type ObjectName = (typeof objects)[number];

/**
 * An environment of its own is an isolate of its own. Without a database, so that nothing waits for the writing of logs;
 * `variables` may bring one, or take something away as undefined.
 */
export function environment(variables: Readonly<Record<string, unknown>> = {}): Env {
  const { RUNTIME, BACKEND_SERVERS } = bindings as unknown as Record<string, unknown>;
  const operators = {
    alice: { token: tokens.operator, role: "operator" },
    victor: { token: tokens.viewer, role: "viewer" },
  };
  const given = {
    ...Object.fromEntries(objects.map((name) => [name, bindings[name]])),
    RUNTIME,
    BACKEND_SERVERS,
    ADMIN_TOKENS: JSON.stringify(operators),
    CONFIG: '{"LOG":{"console":false}}',
    ...variables,
  };
  return given as unknown as Env;
}

/** A namespace whose objects fail every call. */
export function broken(): DurableObjectNamespace {
  const call = (): Promise<never> => Promise.reject(new Error("broken for the test"));
  const stub = new Proxy({}, { get: () => call });
  const namespace = { idFromName: (name: string) => bindings.RATE_LIMITER.idFromName(name), get: () => stub };
  return namespace as unknown as DurableObjectNamespace;
}

/** Before each test of a file: every backend answers pings, and nothing is printed. After it: nothing of it is left. */
export function startAnew(): void {
  beforeEach(() => {
    for (const method of ["log", "warn", "error"] as const) vi.spyOn(console, method).mockReturnValue();
    vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("pong"));
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    vi.useRealTimers();
    await reset();
  });
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
  collectNothing(at);
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
