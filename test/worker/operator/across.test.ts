import { describe, expect, test, vi } from "vitest";
import type { Env } from "../../../src/worker/env.ts";
import { ask, environment, startAnew } from "./fixture.ts";

/** Each environment is an isolate of its own; what an operator changes in one must work in the others within so long. */
const worksWithinMs = 3000;
const blocked = "203.0.113.66";

startAnew();

const get = (at: Env, path: string): Promise<Response> => ask(at, path, { token: null, address: blocked });

async function override(values: Readonly<Record<string, unknown>>): Promise<void> {
  const answer = await ask(environment(), "/api/config/overrides", { method: "PUT", body: { values } });
  expect(answer.status).toBe(200);
}

async function takeBack(): Promise<void> {
  expect((await ask(environment(), "/api/config/overrides", { method: "DELETE" })).status).toBe(200);
}

function later(): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + worksWithinMs });
}

describe("an override holds for the first request that comes", () => {
  test("3 s after it, in an isolate that has been idle since", async () => {
    const at = environment();
    expect((await get(at, "/ping")).status).toBe(200);
    await override({ "RATE_LIMIT.deny": [blocked] });
    later();
    expect((await get(at, "/ping")).status).toBe(403);
  });

  test("in an isolate that has just started", async () => {
    await override({ "RATE_LIMIT.deny": [blocked] });
    expect((await get(environment(), "/ping")).status).toBe(403);
    expect((await get(environment(), "/health")).status).toBe(403);
  });

  test("also where it is a page that asks whether it may ask", async () => {
    await override({ "CORS.origins": ["https://ours.example"] });
    const headers = { origin: "https://theirs.example", "access-control-request-method": "POST" };
    const answer = await ask(environment(), "/v1/images/generations", { method: "OPTIONS", token: null, headers });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([204, null]);
  });
});

test.each(["/ping", "/health", "/nowhere"])(
  "a denial that is taken back ends in an isolate that has refused everything since: %s",
  async (path) => {
    await override({ "RATE_LIMIT.deny": [blocked] });
    const at = environment();
    await get(at, "/ping");
    expect((await get(at, path)).status).toBe(403);
    await takeBack();
    later();
    expect((await get(at, path)).status).not.toBe(403);
  },
);

test("a purge reaches an isolate that answers everything from its cache", async () => {
  let served = 0;
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
    served += 1;
    return Response.json({ served }, { headers: { "cache-control": "max-age=600" } });
  });
  const ROUTES = [{ path: "/test/counted", methods: ["GET"], class: "query", cache: "origin" }];
  const variables = { CONFIG: JSON.stringify({ LOG: { console: false }, ROUTES }) };
  const at = environment(variables);
  const told = async (): Promise<unknown> => (await get(at, "/test/counted")).json();
  const first = await told();
  expect(await told()).toEqual(first);
  const purged = await ask(environment(variables), "/api/cache/purge", { method: "POST", body: { all: true } });
  expect(purged.status).toBe(200);
  later();
  expect(await told()).not.toEqual(first);
});

test.each([
  ["enforce", 429],
  ["report", 200],
  ["off", 200],
])("whoever blocks a client is told whether that keeps it out: mode %s", async (mode, status) => {
  const at = environment({ CONFIG: JSON.stringify({ LOG: { console: false }, RATE_LIMIT: { mode } }) });
  const told = await ask(at, "/api/blocks", { method: "POST", body: { client: blocked, seconds: 60 } });
  expect([told.status, await told.json()]).toEqual([201, expect.objectContaining({ mode })]);
  expect((await get(at, "/ping")).status).toBe(status);
});
