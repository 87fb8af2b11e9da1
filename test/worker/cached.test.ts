/** What the pipeline tells the cache and what it makes of its answers: several isolates before one registry, in the runtime. */
import { createExecutionContext, reset, runDurableObjectAlarm, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { registryName } from "../../src/shared/contract.ts";
import type { Env } from "../../src/worker/env.ts";
import { handle } from "../../src/worker/pipeline.ts";
import { collectNothing } from "./at-once.ts";
import { registry } from "./operator/fleet-state.ts";
import { bindings, broken, environment, tokens } from "./operator/fixture.ts";

const by = { name: "alice", from: null };
const startMs = Date.UTC(2026, 10, 23, 12);

/** What reached the backends, without the probes; `answer` is how they answer. */
let reached: { readonly url: string; readonly method: string }[] = [];
let answer: (url: URL, method: string) => Response;
/** Whether the prober is answered. */
let probed = true;

beforeEach(() => {
  reached = [];
  probed = true;
  answer = () => new Response(`answer ${reached.length}`, { headers: { "cache-control": "max-age=3600" } });
  for (const method of ["log", "warn", "error"] as const) vi.spyOn(console, method).mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    if (request.headers.get("user-agent") === "jimeng-edge-probe") {
      if (!probed) throw new Error("Network connection lost.");
      return request.url.endsWith("/v1/models") ? Response.json({ data: [{ id: "read" }] }) : new Response("pong");
    }
    reached.push({ url: request.url, method: request.method });
    return answer(new URL(request.url), request.method);
  });
  at(0);
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await reset();
});

/** Seconds after the start of the test. */
function at(seconds: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: startMs + seconds * 1000 });
}

const routes = [
  { path: "/test/named/*", methods: ["GET"], cache: 3600 },
  { path: "/test/kept", methods: ["GET"], cache: 3600 },
  { path: "/test/obeyed", methods: ["GET", "POST"], cache: "origin" },
  { path: "/test/other", methods: ["GET", "POST"], cache: "origin" },
];

/** An isolate of its own. */
function isolate(config: Record<string, unknown> = {}, variables: Record<string, unknown> = {}): Env {
  const CONFIG = { LOG: { console: false }, RATE_LIMIT: { enabled: false }, ROUTES: routes, ...config };
  return environment({ CONFIG: JSON.stringify(CONFIG), ...variables });
}

async function ask(env: Env, path: string, init: RequestInit = {}): Promise<{ text: string; headers: Headers }> {
  collectNothing(env);
  const ctx = createExecutionContext();
  const response = await handle(new Request(`https://edge.example${path}`, init), env, ctx);
  const text = await response.text();
  await waitOnExecutionContext(ctx);
  return { text, headers: response.headers };
}

/** Without time going on; but a busy machine may take longer for a call to the registry than a request waits for it. */
async function shows(env: Env, path: string, text: string): Promise<void> {
  await vi.waitFor(async () => expect(await textOf(env, path)).toBe(text), { timeout: 5000, interval: 20 });
}

const textOf = async (env: Env, path: string): Promise<string> => (await ask(env, path)).text;

describe("a purge", () => {
  test.each(["/test/kept", "/test/obeyed"])(
    "is in force 3 s later at an isolate that does nothing but answer %s from its store",
    async (path) => {
      const other = isolate();
      expect([await textOf(other, path), await textOf(other, path)]).toEqual(["answer 1", "answer 1"]);
      await registry().purgeCache([path], by);
      at(1);
      await textOf(other, path);
      at(3);
      await shows(other, path, "answer 2");
    },
  );

  test.each(["/test/kept", "/test/obeyed"])(
    "is in force at an isolate's very first request after a pause: %s",
    async (path) => {
      const idle = isolate();
      await textOf(idle, path);
      at(600);
      await registry().purgeCache(null, by);
      at(603);
      await shows(idle, path, "answer 2");
    },
  );

  test.each(["/test/kept", "/test/obeyed"])(
    "is not undone at an isolate that starts while nobody can tell it of the purge: %s",
    async (path) => {
      await textOf(isolate(), path);
      await registry().purgeCache(null, by);
      at(3);
      const cold = isolate({}, { BACKEND_REGISTRY: broken() });
      expect(await textOf(cold, path)).toBe("answer 2");
    },
  );
});

test.each([
  ["/test/named/即梦", "/test/named/即梦"],
  ["/test/named/即梦", "/test/named/%E5%8D%B3%E6%A2%A6"],
  ['/api/test/named/a"b', "/test/named/a%22b"],
  ["/test/named/x", "/api/test/named/./x"],
])("a purge of %s is a purge of what a client asks for as %s", async (purged, asked) => {
  const env = isolate();
  expect([await textOf(env, asked), await textOf(env, asked)]).toEqual(["answer 1", "answer 1"]);
  const headers = { authorization: `Bearer ${tokens.operator}`, "content-type": "application/json" };
  await ask(env, "/api/cache/purge", { method: "POST", headers, body: JSON.stringify({ paths: [purged] }) });
  at(3);
  await shows(env, asked, "answer 2");
});

describe("what a write's Location or Content-Location names is no longer used", () => {
  const written = async (env: Env, name: string, value: string): Promise<void> => {
    answer = () => new Response("made", { status: 201, headers: { [name]: value } });
    await ask(env, "/test/other", { method: "POST" });
    answer = () => new Response("after", { headers: { "cache-control": "max-age=3600" } });
  };

  test.each([
    ["location", "http://127.0.0.1:9102/test/obeyed"],
    ["content-location", "http://127.0.0.1:9101/test/obeyed"],
    ["location", "https://edge.example/test/obeyed"],
    ["location", "https://edge.example/api/test/obeyed"],
    ["location", "/test/obeyed"],
    ["location", "obeyed"],
  ])("%s: %s, whichever server says it of itself or of another", async (name, value) => {
    const env = isolate();
    await textOf(env, "/test/obeyed");
    await written(env, name, value);
    expect(await textOf(env, "/test/obeyed")).toBe("after");
  });

  test("also where one of the two paths has been purged before", async () => {
    const env = isolate();
    await textOf(env, "/test/obeyed");
    await registry().purgeCache(["/test/obeyed"], by);
    at(3);
    await textOf(env, "/test/obeyed");
    await written(env, "location", "/test/obeyed");
    expect(await textOf(env, "/test/obeyed")).toBe("after");
  });

  test("but what another host's is, is", async () => {
    const env = isolate();
    const before = await textOf(env, "/test/obeyed");
    await written(env, "location", "https://other.example/test/obeyed");
    expect(await textOf(env, "/test/obeyed")).toBe(before);
  });
});

/** The registry, and how often it was called. */
function counted(): { readonly namespace: unknown; calls(): number } {
  let calls = 0;
  const { BACKEND_REGISTRY } = bindings;
  const stubOf = (id: DurableObjectId): unknown =>
    new Proxy(BACKEND_REGISTRY.get(id) as unknown as Record<string, (...given: unknown[]) => unknown>, {
      get:
        (stub, name) =>
        (...given: unknown[]) => {
          calls += 1;
          return stub[String(name)]?.(...given);
        },
    });
  return {
    namespace: { idFromName: (name: string) => BACKEND_REGISTRY.idFromName(name), get: stubOf },
    calls: () => calls,
  };
}

test.each(["/test/kept", "/test/obeyed"])("a hit costs no call to the registry: %s", async (path) => {
  const { namespace, calls } = counted();
  const env = isolate({}, { BACKEND_REGISTRY: namespace });
  await textOf(env, path);
  for (const seconds of [0, 1, 1.4]) {
    const before = calls();
    at(seconds);
    for (let hits = 0; hits < 50; hits += 1) expect(await textOf(env, path)).toBe("answer 1");
    expect(calls()).toBe(before);
  }
  // All hits of 1.5 s together cost the one that brings the news of purges.
  at(60);
  const before = calls();
  for (let hits = 0; hits < 50; hits += 1) expect(await textOf(env, path)).toBe("answer 1");
  expect(calls() - before).toBe(1);
});

/** The prober has read the models of all backends, and the table says so. */
async function modelsAreRead(): Promise<void> {
  await registry().overrides();
  const namespace = bindings.BACKEND_REGISTRY;
  await runDurableObjectAlarm(namespace.get(namespace.idFromName(registryName)));
  await vi.waitFor(async () => expect(await textOf(isolate(), "/v1/models")).toContain('"read"'));
}

describe("what the prober has read of the models", () => {
  /** The first model, and what is said of the list's age: exact to some seconds, as the prober reads it after the test began. */
  const aged = async (env: Env, seconds: number): Promise<readonly unknown[]> => {
    at(seconds);
    const { text, headers } = await ask(env, "/v1/models");
    const { data } = JSON.parse(text) as { data: { id: string }[] | null };
    const age = Number(headers.get("age") ?? NaN);
    const [, detail] = /; detail=(.*)$/.exec(headers.get("cache-status") ?? "") ?? [];
    return [data?.[0]?.id ?? null, age <= seconds && age > seconds - 10, detail ?? null];
  };

  test("is shown with its age, and when nobody answers any more for as long as any stored answer is", async () => {
    await modelsAreRead();
    probed = false;
    answer = () => new Response(null, { status: 502 });
    const env = isolate({ CACHE: { ttl: { models: 300 }, staleWhileRevalidate: 60, staleIfError: 600 } });
    expect(await aged(env, 290)).toEqual(["read", true, null]);
    expect(await aged(env, 890)).toEqual(["read", true, "stale"]);
    expect(await aged(env, 910)).toEqual([null, false, null]);
    expect((await ask(env, "/v1/models")).headers.get("cache-status")).toContain("fwd-status=502");
  });

  test("gives way to what the servers say where the prober alone can't read it any more", async () => {
    await modelsAreRead();
    probed = false;
    answer = () => Response.json({ data: [{ id: "new" }] });
    const env = isolate({ CACHE: { ttl: { models: 300 }, staleWhileRevalidate: 600, staleIfError: 0 } });
    expect(await aged(env, 890)).toEqual(["read", true, "stale"]);
    expect(await aged(env, 910)).toEqual(["new", false, null]);
    at(1000);
    const { text, headers } = await ask(env, "/v1/models");
    expect([text, headers.get("age")]).toEqual([expect.stringContaining('"new"'), "90"]);
  });
});

test("without a cache, models are asked of the backends: no reading is passed off as new", async () => {
  await modelsAreRead();
  answer = () => Response.json({ data: [{ id: "new" }] });
  for (const CACHE of [{ enabled: false }, { ttl: { models: 0 } }, { bypass: ["/v1/models"] }]) {
    const { text, headers } = await ask(isolate({ CACHE }), "/v1/models");
    expect([text, headers.get("age"), headers.get("cache-status")]).toEqual([
      expect.stringContaining('"new"'),
      null,
      "jimeng-edge; fwd=bypass",
    ]);
  }
});

test("a misconfigured edge's answer says that no cache had a part in it", async () => {
  const { headers } = await ask(isolate({}, { BACKEND_SERVERS: "nonsense" }), "/v1/models");
  expect(headers.get("cache-status")).toBe("jimeng-edge; detail=generated");
});

test("every kind of answer says what the cache did", async () => {
  const env = isolate();
  const asked: [string, RequestInit][] = [
    ["/nothing", {}],
    ["/health", {}],
    ["/test/kept", {}],
    ["/test/kept", { method: "PUT" }],
    ["/test/other", { method: "POST" }],
    ["/v1/images/generations", { method: "POST", body: "{" }],
    ["/api/backends", {}],
    ["/metrics", {}],
    [
      "/v1/models",
      { method: "OPTIONS", headers: { origin: "https://a.example", "access-control-request-method": "GET" } },
    ],
  ];
  for (const [path, init] of asked) {
    const { headers } = await ask(env, path, init);
    expect(headers.get("cache-status"), path).toMatch(/^jimeng-edge; /);
  }
});
