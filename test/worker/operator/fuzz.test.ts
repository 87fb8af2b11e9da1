import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { operatorRoutes } from "../../../src/worker/operator/routes.ts";
import { documentOf } from "../../../src/worker/operator/openapi.ts";
import { readBackend } from "../../../src/shared/config/backends.ts";
import { fleetState } from "./fleet-state.ts";
import { ask, environment } from "./fixture.ts";
import { operationsOf, requestsTo, targetOf } from "./generated.ts";
import type { Operation } from "./generated.ts";
import { violations } from "./json-schema.ts";
import type { Schema } from "./json-schema.ts";

/** `npm run verify` asks each route a thousand times. */
const numRuns = 30;

const document = documentOf(operatorRoutes);
const operations = operationsOf(document);

beforeEach(() => {
  for (const method of ["log", "warn", "error"] as const) vi.spyOn(console, method).mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("pong"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

describe("whatever is sent, a route answers as its document says, and what it refuses changes nothing", () => {
  test.each(operations.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
    "%s",
    async (_, operation: Operation) => {
      const at = environment();
      /** Of the last look; null: what was asked since may have changed it. */
      let known: string | null = null;
      await fc.assert(
        fc.asyncProperty(requestsTo(operation), async (request) => {
          const before = known ?? (await fleetState());
          known = null;
          const init = { method: operation.method, ...(request.body === null ? {} : { body: request.body }) };
          const answer = await ask(at, targetOf(operation, request), init);
          const text = await answer.text();
          const described = operation.responses[String(answer.status)];
          expect(described, `${answer.status} ${text.slice(0, 300)}`).toBeDefined();
          const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
          const schema = (described?.content[type] as { schema: Schema } | undefined)?.schema;
          expect(schema).toBeDefined();
          expect(violations(schema ?? {}, type === "text/plain" ? text : JSON.parse(text), document)).toEqual([]);
          const isRight =
            operation.body === null || violations(operation.body, parsed(request.body ?? ""), document).length === 0;
          if (!isRight) expect(answer.status).toBe(400);
          if (answer.status < 400 && operation.role !== "viewer") return;
          known = await fleetState();
          expect(known).toBe(before);
        }),
        { numRuns },
      );
    },
    60_000,
  );
});

test("the document's bounds of a backend are those of the configuration", () => {
  const operation = operations.find(({ method, path }) => method === "POST" && path === "/api/backends") as Operation;
  fc.assert(
    fc.property(requestsTo(operation), ({ body }) => {
      const value = parsed(body ?? "");
      const reading = readBackend(value, "local", []);
      if (!reading.ok) return;
      const { headers: _, ...rest } = value as Record<string, unknown>;
      expect(violations(operation.body ?? {}, rest, document)).toEqual([]);
    }),
    { numRuns: 2000 },
  );
});
