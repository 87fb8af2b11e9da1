import { describe, expect, test, vi } from "vitest";
import type { Env } from "../../../src/worker/env.ts";
import { failures } from "../../../src/worker/failure.ts";
import { documentedPath } from "../../../src/worker/operator/route.ts";
import { operatorRoutes } from "../../../src/worker/operator/routes.ts";
import { columns } from "../../../src/worker/log/d1.ts";
import { ask, bindings, broken, environment, json, migrate, tokens, startAnew } from "./fixture.ts";
import type { Asking } from "./fixture.ts";
import { acts } from "./fleet-state.ts";
import { operationsOf } from "./generated.ts";
import type { Operation } from "./generated.ts";
import { violations } from "./json-schema.ts";
import type { Schema } from "./json-schema.ts";

startAnew();

const added = { url: "http://127.0.0.1:9109", name: "added" };
const overridden = { values: { "RATE_LIMIT.requests": 7 } };
const logged = (): Env => environment({ DB: bindings.DB, CACHE: bindings.CACHE });

/** A right request to each route, and what must be there before it. */
const right: Readonly<
  Record<string, { path?: string; body?: unknown; before?: (at: Env) => Promise<unknown>; at?: () => Env }>
> = {
  "GET /api/ip-preference": {},
  "GET /metrics": {},
  "GET /api/events": {},
  "GET /api/logs": { before: migrate, at: logged },
  "GET /api/backends": {},
  "POST /api/backends": { body: added },
  "PATCH /api/backends/{name}": {
    path: "/api/backends/a",
    body: { weight: 7, maxInFlight: 3, region: "asia", priority: 2 },
  },
  "DELETE /api/backends/{name}": {
    path: "/api/backends/added",
    before: (at) => ask(at, "/api/backends", { method: "POST", body: added }),
  },
  "POST /api/backends/{name}/drain": { path: "/api/backends/a/drain" },
  "POST /api/backends/{name}/resume": { path: "/api/backends/a/resume" },
  "POST /api/backends/{name}/disable": { path: "/api/backends/a/disable" },
  "POST /api/backends/{name}/probe": { path: "/api/backends/a/probe" },
  "GET /api/blocks": {
    before: (at) => ask(at, "/api/blocks", { method: "POST", body: { client: "203.0.113.9", seconds: 60 } }),
  },
  "POST /api/blocks": { body: { client: "203.0.113.9", seconds: 60, reason: "for the test" } },
  "DELETE /api/blocks/{key}": {
    path: "/api/blocks/203.0.113.9",
    before: (at) => ask(at, "/api/blocks", { method: "POST", body: { client: "203.0.113.9", seconds: 60 } }),
  },
  "GET /api/clients/{key}": { path: "/api/clients/203.0.113.9?class=generate" },
  "GET /api/config": { before: (at) => ask(at, "/api/config/overrides", { method: "PUT", body: overridden }) },
  "PUT /api/config/overrides": { body: overridden },
  "DELETE /api/config/overrides": {},
  "DELETE /api/config/overrides/{path}": {
    path: "/api/config/overrides/RATE_LIMIT.requests",
    before: (at) => ask(at, "/api/config/overrides", { method: "PUT", body: overridden }),
  },
  "POST /api/cache/purge": { body: { paths: ["/v1/models"] } },
  "GET /openapi.json": {},
};

/** How each refusal comes about, where it isn't the same for all routes. */
const conflicts: Readonly<Record<string, Asking & { path: string }>> = {
  "POST /api/backends": { path: "/api/backends", body: { url: "http://127.0.0.1:9101" } },
  "DELETE /api/backends/{name}": { path: "/api/backends/a" },
  "PUT /api/config/overrides": { path: "/api/config/overrides", body: { ...overridden, version: 99 } },
  "DELETE /api/config/overrides": { path: "/api/config/overrides?version=99" },
  "DELETE /api/config/overrides/{path}": { path: "/api/config/overrides/RATE_LIMIT.requests?version=99" },
};

const keyOf = ({ method, path }: Operation): string => `${method} ${path}`;

function rightRequest(operation: Operation): { path: string; asking: Asking } {
  const given = right[keyOf(operation)];
  if (given === undefined) throw new Error(`${keyOf(operation)} has no right request in this test`);
  return { path: given.path ?? operation.path, asking: { method: operation.method, body: given.body } };
}

async function succeed(operation: Operation): Promise<Response> {
  const { before, at = environment } = right[keyOf(operation)] ?? {};
  const edge = at();
  await before?.(edge);
  const { path, asking } = rightRequest(operation);
  return ask(edge, path, asking);
}

const unreachable = { BACKEND_REGISTRY: broken(), OPERATIONS_LEDGER: broken(), RATE_LIMITER: broken() };
const brokenDatabase = { prepare: () => { throw new Error("D1 is down for the test"); } }; // prettier-ignore

/** A path that is well written and names nothing there is. */
function nobodys(path: string): string {
  return path.replace("{name}", "nobody").replace("{path}", "CACHE.enabled").replace("{key}", "198.51.100.250");
}

const unavailable = { ...unreachable, DB: brokenDatabase };
const misread = { BACKEND_SERVERS: "[" };
/** Answered by the Worker alone. */
const needsNothing = new Set(["GET /openapi.json"]);

async function provoke(operation: Operation, status: number): Promise<Response> {
  const { path, asking } = rightRequest(operation);
  const at = environment();
  switch (status) {
    case 200:
    case 201:
      return succeed(operation);
    case 400:
      return ask(at, `${path}${path.includes("?") ? "&" : "?"}surplus=1`, asking);
    case 401:
      return ask(at, path, { ...asking, token: null });
    case 403:
      return operation.role === "operator"
        ? ask(at, path, { ...asking, token: tokens.viewer })
        : ask(environment({ ADMIN_TOKENS: undefined }), path, asking);
    case 404:
      return ask(at, nobodys(operation.path), asking);
    case 409:
      return ask(at, (conflicts[keyOf(operation)] as { path: string }).path, {
        ...asking,
        ...conflicts[keyOf(operation)],
      });
    case 413:
      return ask(at, path, { ...asking, body: `"${"x".repeat(70_000)}"` });
    case 429:
      await ask(at, "/api/blocks", { method: "POST", body: { client: "operator:198.51.100.99", seconds: 60 } });
      return ask(at, path, { ...asking, address: "198.51.100.99" });
    case 501:
      return ask(environment(), path, asking);
    case 503:
      return ask(environment(needsNothing.has(keyOf(operation)) ? misread : unavailable), path, asking);
    default:
      throw new Error(`this test doesn't know how ${status} comes about`);
  }
}

async function documentOf(): Promise<Schema> {
  return json(await ask(environment(), "/openapi.json"));
}

describe("/openapi.json", () => {
  test("describes every route there is, each once, with a name of its own", async () => {
    const operations = operationsOf(await documentOf());
    const written = operatorRoutes.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)\+?/g, "{$1}")}`);
    expect(operations.map(keyOf).sort()).toEqual(written.sort());
    expect(new Set(operatorRoutes.map(({ name }) => name)).size).toBe(operatorRoutes.length);
    for (const { role, method, path } of operations) expect(role, path).toBe(method === "GET" ? "viewer" : "operator");
  });

  test("shows the columns of the request log as they are stored", async () => {
    const document = (await documentOf()) as {
      components: { schemas: { Logs: { properties: { logs: { items: Schema } } } } };
    };
    expect(document.components.schemas.Logs.properties.logs.items["required"]).toEqual([...columns]);
  });

  test.each(Object.keys(right))("%s answers with every status that is written there, as it is written", async (key) => {
    const document = await documentOf();
    const operation = operationsOf(document).find((known) => keyOf(known) === key) as Operation;
    const told: string[] = [];
    for (const [status, described] of Object.entries(operation.responses)) {
      const answer = await provoke(operation, Number(status));
      const text = await answer.text();
      expect(`${answer.status} ${text.slice(0, 300)}`, key).toMatch(new RegExp(`^${status} `));
      const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
      const schema = (described.content[type] as { schema: Schema } | undefined)?.schema;
      expect(schema, `${key} ${status} ${type}`).toBeDefined();
      const value: unknown = type === "application/json" ? JSON.parse(text) : text;
      expect(violations(schema ?? {}, value, document), `${key} ${status} ${text.slice(0, 500)}`).toEqual([]);
      if (answer.status >= 400) {
        const { code } = (value as { error: { code: keyof typeof failures } }).error;
        expect(described.description.split(", ")).toContain(code);
        expect(failures[code].status).toBe(answer.status);
      }
      expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      expect(answer.headers.get("cache-control")).toContain("no-store");
      told.push(status);
    }
    expect(told.length).toBeGreaterThan(4);
  });
});

test.each(Object.keys(right))(
  "%s says in its document what it answers while the configuration is broken",
  async (key) => {
    const document = await documentOf();
    const operation = operationsOf(document).find((known) => keyOf(known) === key) as Operation;
    const { path, asking } = rightRequest(operation);
    const answer = await ask(environment(misread), path, asking);
    const described = operation.responses[String(answer.status)];
    const value = await json(answer);
    const { code } = value["error"] as { code: string };
    expect(described?.description.split(", "), `${answer.status} ${code}`).toContain(code);
    const schema = (described?.content["application/json"] as { schema: Schema } | undefined)?.schema ?? {};
    expect(violations(schema, value, document)).toEqual([]);
  },
);

describe("the ledger", () => {
  /** A first try at the ledger may meet the objects that the test before has taken down; then there are others after 2, 4 and 8 s. */
  const patience = { timeout: 30_000 };
  const setOverride = (at: Env): Promise<unknown> =>
    ask(at, "/api/config/overrides", { method: "PUT", body: overridden });
  /** What must stand for the right request to change it. */
  const standing: Readonly<Record<string, (at: Env) => Promise<unknown>>> = {
    "POST /api/backends/{name}/resume": (at) => ask(at, "/api/backends/a/drain", { method: "POST" }),
    "DELETE /api/blocks/{key}": (at) =>
      ask(at, "/api/blocks", { method: "POST", body: { client: "203.0.113.9", seconds: 60 } }),
    "DELETE /api/config/overrides": setOverride,
    "DELETE /api/config/overrides/{path}": setOverride,
  };
  /** They change nothing that has a value before and after. */
  const asked = new Set(["POST /api/backends/{name}/probe", "POST /api/cache/purge"]);
  const changes = operatorRoutes
    .filter(({ role }) => role === "operator")
    .map((route) => `${route.method} ${documentedPath(route)}`);

  test.each(changes)(
    "%s is in it: who, from where, what, before and after",
    async (key) => {
      const at = environment();
      const operation = operationsOf(await documentOf()).find((known) => keyOf(known) === key) as Operation;
      await (standing[key] ?? right[key]?.before)?.(at);
      const { path, asking } = rightRequest(operation);
      // The ledger hears of it after the answer.
      const earlier = await vi.waitFor(async () => {
        const told = (await acts()).length;
        expect(told).toBe((standing[key] ?? right[key]?.before) === undefined ? 0 : 1);
        return told;
      }, patience);
      expect((await ask(at, path, { ...asking, address: "198.51.100.42" })).status).toBeLessThan(300);
      const act = await vi.waitFor(async () => {
        const all = await acts();
        expect(all.length).toBe(earlier + 1);
        return all[0];
      }, patience);
      expect(act).toMatchObject({ actor: "alice", detail: { from: "198.51.100.42" } });
      expect(act?.subject).not.toBe("");
      if (asked.has(key)) return;
      expect(act?.detail).toHaveProperty("before");
      expect(act?.detail).toHaveProperty("after");
      expect(act?.detail["before"]).not.toEqual(act?.detail["after"]);
    },
    70_000,
  );
});
