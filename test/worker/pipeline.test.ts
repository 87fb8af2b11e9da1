import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { edgeOf } from "../../src/worker/edge.ts";
import type { Env } from "../../src/worker/env.ts";
import type { LogEntry } from "../../src/worker/log/entry.ts";
import { handle } from "../../src/worker/pipeline.ts";
import { collectNothing } from "./at-once.ts";

const adminToken = "test-admin-token";

interface Upstream {
  readonly host: string;
  readonly path: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string;
}

/** What reached a backend, in order; `answer` is how they answer. The sockets are the end-to-end tests' business. */
let reached: Upstream[] = [];
let answer: (upstream: Upstream) => Response | Promise<Response>;
let logged: LogEntry[] = [];

beforeEach(() => {
  reached = [];
  logged = [];
  unlimited = configured({ RATE_LIMIT: { enabled: false } });
  answer = () => new Response("pong");
  vi.spyOn(console, "log").mockImplementation((line: string) => {
    const entry = JSON.parse(line) as LogEntry;
    if (entry.method !== undefined) logged.push(entry);
  });
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    const url = new URL(request.url);
    const upstream = {
      host: url.host,
      path: url.pathname + url.search,
      method: request.method,
      headers: request.headers,
      body: await request.text(),
    };
    if (request.headers.get("user-agent") === "jimeng-edge-probe") return new Response("pong");
    reached.push(upstream);
    return answer(upstream);
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

/** A fresh isolate: its memory is kept by environment. */
function environment(given: Record<string, unknown> = {}): Env {
  return { ...(bindings as unknown as Env), ...given };
}

function configured(config: Record<string, unknown>): Env {
  return environment({ CONFIG: config });
}

/** Made anew for each test: an isolate with nothing in mind. */
let unlimited: Env;

async function ask(path: string, init: RequestInit = {}, env: Env = unlimited): Promise<Response> {
  collectNothing(env);
  const ctx = createExecutionContext();
  const response = await handle(new Request(`https://edge.example${path}`, init), env, ctx);
  const body = await response.arrayBuffer();
  await waitOnExecutionContext(ctx);
  return new Response(response.status === 204 ? null : body, response);
}

const gone = (): Promise<never> => Promise.reject(new Error("gone"));
const unreachable = {
  idFromName: () => ({}),
  get: () => ({ report: gone, pick: gone, settle: gone, move: gone, renew: gone }),
};

const json = (value: unknown, status = 200): Response => Response.json(value, { status });
const generation = {
  method: "POST",
  headers: { authorization: "Bearer sid", "content-type": "application/json" },
  body: '{"prompt":"a cat"}',
};

async function failureOf(response: Response): Promise<string> {
  const body = (await response.json()) as {
    error: { code: string; message: string };
    code: number;
    message: string;
    data: null;
  };
  expect(body.code).toBeLessThan(0);
  expect(body.data).toBeNull();
  expect(body.message).toBe(body.error.message);
  return body.error.code;
}

describe("a route", () => {
  test.each(["/ping", "/api/ping"])("%s is forwarded, its base path taken off", async (path) => {
    const response = await ask(path);
    expect(await response.text()).toBe("pong");
    expect(reached.map((upstream) => upstream.path)).toEqual(["/ping"]);
    expect(response.headers.get("x-jimeng-edge-backend")).toMatch(/^[abc]$/);
    expect(response.headers.get("x-request-id")).toBe(logged[0]?.id);
  });

  test("that is not on the list is a 404 of ours and reaches no backend", async () => {
    for (const path of [
      "/",
      "/proxy/config",
      "/dashboard/x",
      "/v1/async/tasks",
      "/token/points",
      "/usage/export",
      "/v1/nothing",
      "/api",
    ]) {
      const response = await ask(path);
      expect([path, response.status, await failureOf(response)]).toEqual([path, 404, "not_found"]);
    }
    expect(reached).toEqual([]);
  });

  test("asked with the wrong method says which are right", async () => {
    const response = await ask("/v1/images/generations");
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toContain("POST");
    const options = await ask("/v1/models", { method: "OPTIONS" });
    expect([options.status, options.headers.get("allow")?.includes("GET")]).toEqual([204, true]);
  });

  describe("tells a page's preflight the methods that the path takes", () => {
    const ROUTES = [
      { path: "/test/file", methods: ["GET", "PUT"], class: "query" },
      { path: "/test/*", methods: ["PATCH", "DELETE"], class: "query" },
    ];
    test.each([
      ["PUT", "/test/file", "GET, HEAD, PUT, OPTIONS"],
      ["PATCH", "/api/test/file", "GET, HEAD, PUT, OPTIONS, PATCH"],
      ["PATCH", "/test/other", "PATCH, DELETE, OPTIONS"],
      ["PUT", "/test/other", "PATCH, DELETE, OPTIONS"],
      ["POST", "/v1/images/generations", "POST, OPTIONS"],
      ["DELETE", "/v1/async/tasks/1", "DELETE, OPTIONS"],
      ["PATCH", "/api/backends/a", "PATCH, DELETE"],
      ["PUT", "/api/config/overrides", "PUT, DELETE"],
      ["GET", "/api/config", "GET, HEAD"],
      ["GET", "/health", "GET, HEAD"],
      ["PUT", "/no/such/route", "GET, HEAD, POST, DELETE, OPTIONS"],
    ])("%s %s: %s", async (wanted, path, methods) => {
      const headers = { origin: "https://a.example", "access-control-request-method": wanted };
      const preflight = await ask(path, { method: "OPTIONS", headers }, configured({ ROUTES }));
      expect(preflight.status).toBe(204);
      const given = preflight.headers.get("access-control-allow-methods")?.split(", ") ?? [];
      expect(given.toSorted()).toEqual(methods.split(", ").toSorted());
      expect(reached).toEqual([]);
    });
  });

  test("of configuration is forwarded as it says", async () => {
    const env = configured({
      RATE_LIMIT: { enabled: false },
      ROUTES: [{ path: "/test/*", methods: ["GET"], class: "query", cache: "none" }],
    });
    await ask("/test/a%2Fb?x=1&y=%20", {}, env);
    expect(reached[0]?.path).toBe("/test/a%2Fb?x=1&y=%20");
  });
});

describe("a generation", () => {
  test("reaches one backend with its body and the client's own authorization", async () => {
    answer = () => json({ created: 1, data: [{ url: "u" }] });
    const response = await ask("/v1/images/generations", generation);
    expect(await response.json()).toEqual({ created: 1, data: [{ url: "u" }] });
    expect(reached).toHaveLength(1);
    expect(reached[0]).toMatchObject({ method: "POST", body: generation.body });
    expect(reached[0]?.headers.get("authorization")).toBe("Bearer sid");
  });

  test("that may have been executed is not sent again, and the client's SDK is told not to either", async () => {
    answer = () => {
      throw new Error("Network connection lost.");
    };
    const response = await ask("/v1/images/generations", generation);
    expect(response.status).toBe(502);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await failureOf(response)).toBe("backend_reset");
    expect(reached).toHaveLength(1);
  });

  test("that Cloudflare says was never delivered goes to another backend", async () => {
    answer = () => (reached.length === 1 ? new Response("", { status: 521 }) : json({ created: 1, data: [] }));
    const response = await ask("/v1/images/generations", generation);
    expect(response.status).toBe(200);
    expect(new Set(reached.map((upstream) => upstream.host)).size).toBe(2);
  });

  test("whose answer Cloudflare stopped waiting for is unknown, and nobody is blamed", async () => {
    answer = () => new Response("", { status: 524 });
    const response = await ask("/v1/images/generations", generation);
    expect([response.status, await failureOf(response)]).toEqual([504, "edge_read_timeout"]);
    expect(logged[0]?.outcome).toBe("unknown");
  });

  test("refused by a flat dialect under a 200 becomes an error that an SDK sees, the server's own words untouched", async () => {
    answer = () => json({ code: -2002, message: "[登录失效]: x", data: null });
    const response = await ask("/v1/images/generations", generation);
    expect([response.status, response.headers.get("x-should-retry")]).toEqual([401, "false"]);
    expect(await response.json()).toMatchObject({
      code: -2002,
      message: "[登录失效]: x",
      data: null,
      error: { type: "authentication_error" },
    });
    const raw = await ask(
      "/v1/images/generations",
      generation,
      configured({ RATE_LIMIT: { enabled: false }, RESPONSE: { normalizeErrors: false } }),
    );
    expect([raw.status, await raw.json()]).toEqual([200, { code: -2002, message: "[登录失效]: x", data: null }]);
  });

  test("with malformed JSON goes to the server as it is", async () => {
    answer = () => json({ code: -1000, message: "无效的JSON格式: x", data: null }, 500);
    const body = "{".repeat(1000);
    await ask("/v1/images/generations", { ...generation, body });
    expect(reached.map((upstream) => upstream.body)).toEqual([body]);
  });

  test("of a task remembers where it lives, and its status goes there", async () => {
    answer = () => json({ success: true, data: { task_id: "t-77", status: "pending" } });
    await ask("/v1/async/images/generations", generation);
    const home = reached[0]?.host;
    answer = () => json({ success: true, data: { task_id: "t-77", status: "running" } });
    for (let round = 0; round < 6; round += 1) await ask("/v1/async/tasks/t-77/status");
    expect(new Set(reached.map((upstream) => upstream.host))).toEqual(new Set([home]));
  });
});

describe("a cheap request", () => {
  test("is tried at other backends until one answers, three times at the most", async () => {
    answer = () => {
      if (reached.length < 3) throw new Error("Network connection lost.");
      return new Response("pong");
    };
    const response = await ask("/ping");
    expect(response.status).toBe(200);
    expect(new Set(reached.map((upstream) => upstream.host)).size).toBe(3);
    expect(logged[0]?.attempts).toBe(3);
  });

  test("that an SDK is already trying again gets fewer attempts of ours", async () => {
    answer = () => new Response("", { status: 503 });
    await ask("/ping", { headers: { "x-stainless-retry-count": "2" } });
    expect(reached).toHaveLength(1);
  });

  test("is answered with a status that can't be passed on as 502", async () => {
    answer = () => ({ status: 999, headers: new Headers(), body: null }) as unknown as Response;
    const response = await ask("/ping");
    expect([response.status, await failureOf(response)]).toEqual([502, "backend_invalid_answer"]);
  });

  test("refused unread by a server that resets the connection over its words is the client's error, told once", async () => {
    const resets = (controller: ReadableStreamDefaultController): void =>
      controller.error(new Error("Network connection lost."));
    answer = () =>
      new Response(new ReadableStream({ start: resets }), { status: 431, headers: { "content-length": "40" } });
    for (const [path, init] of [
      ["/ping", {}],
      ["/v1/images/generations", generation],
    ] as const) {
      const response = await ask(path, init);
      expect([response.status, response.headers.get("x-should-retry")]).toEqual([431, "false"]);
      expect(response.headers.get("content-length")).not.toBe("40");
    }
    expect(logged.map(({ outcome, attempts }) => [outcome, attempts])).toEqual([
      ["client_fault", 1],
      ["client_fault", 1],
    ]);
  });

  test("stops being retried when the budget is spent", async () => {
    answer = () => new Response("", { status: 502 });
    // Without the registry an isolate counts for itself, here ten in ten seconds: five requests with two each, the sixth has none.
    const CONFIG = { RATE_LIMIT: { enabled: false }, RETRY: { budgetRatio: 0, budgetPerSecond: 1 } };
    const env = environment({ BACKEND_REGISTRY: unreachable, CONFIG });
    for (let round = 0; round < 5; round += 1) await ask("/ping", {}, env);
    expect(reached).toHaveLength(15);
    await ask("/ping", {}, env);
    expect(reached).toHaveLength(16);
  });
});

describe("merged answers", () => {
  test("of usage are the sum over the backends, one dead among them", async () => {
    answer = ({ host }) => {
      if (host.endsWith("9103")) throw new Error("Network connection lost.");
      return json({
        success: true,
        data: { total_images_today: 2, active_sessions_today: 1, avg_images_per_session: 2 },
        date: "2026-11-23",
      });
    };
    const response = await ask("/usage/stats");
    expect(await response.json()).toMatchObject({
      data: { total_images_today: 4, active_sessions_today: 2, avg_images_per_session: 2 },
      meta: { backends_asked: 3, backends_answered: 2 },
    });
    expect(response.headers.get("cache-status")).toContain("stored");
  });

  test("of models are the union, without duplicates, in the backends' order", async () => {
    answer = async ({ host }) => {
      if (host.endsWith("9101")) await new Promise((resolve) => setTimeout(resolve, 20));
      return json({ data: [{ id: "both" }, { id: `only-${host.slice(-1)}` }] });
    };
    const response = await ask("/v1/models");
    const { data } = (await response.json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["both", "only-1", "only-2", "only-3"]);
  });

  test("that nobody could give say so", async () => {
    answer = () => {
      throw new Error("Network connection lost.");
    };
    const response = await ask("/usage/stats");
    expect([response.status, await failureOf(response)]).toEqual([502, "backend_unreachable"]);
  });
});

describe("the limit", () => {
  const limited = (requests: number): Env => configured({ RATE_LIMIT: { requests, window: 60, blockDuration: 300 } });
  const from = (address: string): RequestInit => ({ headers: { "cf-connecting-ip": address } });

  test("lets so many through, says what is left, and answers the next one 429 before any backend", async () => {
    const env = limited(2);
    expect((await ask("/ping", from("198.51.100.1"), env)).headers.get("ratelimit")).toMatch(/^"default";r=1;t=60$/);
    await ask("/ping", from("198.51.100.1"), env);
    const refused = await ask("/ping", from("198.51.100.1"), env);
    expect([refused.status, await failureOf(refused)]).toEqual([429, "rate_limited"]);
    expect(refused.headers.get("retry-after")).toBe("300");
    expect(refused.headers.get("ratelimit-policy")).toBe('"default";q=2;w=60');
    expect(reached).toHaveLength(2);
    expect((await ask("/ping", from("198.51.100.2"), env)).status).toBe(200);
    expect(logged.map(({ client_key, status }) => [client_key, status])).toContainEqual(["198.51.100.1", 429]);
  });

  test("counts neither preflights nor /health", async () => {
    const env = limited(1);
    const preflight = {
      method: "OPTIONS",
      headers: {
        origin: "https://a.example",
        "access-control-request-method": "POST",
        "cf-connecting-ip": "198.51.100.3",
      },
    };
    for (let round = 0; round < 3; round += 1) {
      expect((await ask("/v1/models", preflight, env)).status).toBe(204);
      expect((await ask("/health", from("198.51.100.3"), env)).status).toBe(200);
    }
    expect((await ask("/ping", from("198.51.100.3"), env)).status).toBe(200);
  });

  test("on Cloudflare refuses a request for whose address nothing vouches", async () => {
    const env = environment({ RUNTIME: "cloudflare", BACKEND_SERVERS: [{ url: "https://b.example.com" }] });
    const response = await ask("/ping", {}, env);
    expect([response.status, await failureOf(response)]).toEqual([400, "client_address_unknown"]);
  });

  describe("refuses a denied address whatever it asks for, and no other", () => {
    const asked: readonly (readonly [string, string, number])[] = [
      ["GET", "/ping", 200],
      ["GET", "/health", 200],
      ["HEAD", "/api/health", 200],
      ["POST", "/health", 405],
      ["GET", "/v1/nothing", 404],
      ["GET", "/v1/images/generations", 405],
      ["OPTIONS", "/v1/models", 204],
    ];
    test.each(asked)("%s %s", async (method, path, otherwise) => {
      const lists: readonly Record<string, unknown>[] = [
        { deny: ["198.51.100.0/24"] },
        { onlyFrom: ["203.0.113.0/24"], mode: "off" },
      ];
      for (const list of lists) {
        const env = configured({ RATE_LIMIT: list });
        const denied = await ask(path, { method, ...from("198.51.100.9") }, env);
        expect([denied.status, await failureOf(denied)]).toEqual([403, "client_denied"]);
        expect(logged.at(-1)).toMatchObject({
          outcome: "rejected",
          reason: "client_denied",
          client_ip: "198.51.100.9",
        });
        expect((await ask(path, { method, ...from("203.0.113.9") }, env)).status).toBe(otherwise);
      }
    });

    test("but for a preflight, without which a page could not read why", async () => {
      const env = configured({ RATE_LIMIT: { deny: ["198.51.100.0/24"] } });
      const headers = {
        origin: "https://a.example",
        "access-control-request-method": "GET",
        "cf-connecting-ip": "198.51.100.9",
      };
      expect((await ask("/health", { method: "OPTIONS", headers }, env)).status).toBe(204);
      const told = await ask("/health", { headers }, env);
      expect([told.status, told.headers.get("access-control-allow-origin")]).toEqual([403, "*"]);
    });
  });

  test("where some addresses are refused, so is one that nobody vouches for", async () => {
    const env = (limits: Record<string, unknown>): Env =>
      environment({
        RUNTIME: "cloudflare",
        BACKEND_SERVERS: [{ url: "https://b.example.com" }],
        CONFIG: { RATE_LIMIT: limits },
      });
    const response = await ask("/health", {}, env({ onlyFrom: ["203.0.113.0/24"] }));
    expect([response.status, await failureOf(response)]).toEqual([400, "client_address_unknown"]);
    expect((await ask("/health", {}, env({}))).status).toBe(200);
  });
});

describe("a limit that is only reported", () => {
  test("lets everybody pass, and the log says who would have been refused", async () => {
    const env = configured({ RATE_LIMIT: { mode: "report", requests: 1 } });
    const asked = () => ask("/ping", { headers: { "cf-connecting-ip": "198.51.100.78" } }, env);
    const answers = [await asked(), await asked(), await asked()];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers.map(({ headers }) => headers.get("ratelimit")?.slice(0, 13))).toEqual(
      Array(3).fill('"default";r=0'),
    );
    expect(answers.map(({ headers }) => headers.get("retry-after"))).toEqual([null, null, null]);
    expect(logged.map(({ limit_reported }) => limit_reported)).toEqual([false, true, true]);
  });
});

describe("a client's key", () => {
  const env = environment({
    API_KEYS: { team: { key: "k".repeat(24), tokens: "sid1,sid2" } },
    CONFIG: { RATE_LIMIT: { enabled: false } },
  });

  test("is asked for where keys are configured", async () => {
    const response = await ask("/ping", {}, env);
    expect([response.status, await failureOf(response)]).toEqual([401, "api_key_invalid"]);
    expect(reached).toEqual([]);
    expect(logged[0]?.client_ip).toBe("127.0.0.1");
  });

  test("is not to be guessed at leisure: wrong ones are limited like everything else", async () => {
    const strict = environment({
      API_KEYS: { team: { key: "k".repeat(24) } },
      CONFIG: { RATE_LIMIT: { requests: 3 } },
    });
    const guess = { headers: { "x-api-key": "guess", "cf-connecting-ip": "198.51.100.77" } };
    const statuses = [];
    for (let round = 0; round < 5; round += 1) statuses.push((await ask("/ping", guess, strict)).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
  });

  test("is not to be guessed at leisure where clients are counted by token either: whoever is wrong is an address", async () => {
    for (const clientKey of ["token", "token-or-ip"]) {
      const strict = environment({
        API_KEYS: { team: { key: "k".repeat(24) } },
        CONFIG: { RATE_LIMIT: { requests: 3, clientKey } },
      });
      const statuses = [];
      for (let round = 0; round < 5; round += 1) {
        const headers = {
          authorization: `Bearer guess-${round}`,
          "cf-connecting-ip": `198.51.100.${clientKey.length}`,
        };
        statuses.push((await ask("/ping", { headers }, strict)).status);
      }
      expect(statuses, clientKey).toEqual([401, 401, 401, 429, 429]);
    }
  });

  test("stays at the edge, and its Jimeng tokens go on in its place", async () => {
    const response = await ask("/ping", { headers: { authorization: `Bearer ${"k".repeat(24)}` } }, env);
    expect(response.status).toBe(200);
    expect(reached[0]?.headers.get("authorization")).toBe("Bearer sid1,sid2");
    expect(logged.at(-1)?.api_key).toBe("team");
    expect(JSON.stringify(logged)).not.toContain("kkkk");
  });

  test("that is configured wrongly is a fault of the configuration", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const response = await ask("/ping", {}, environment({ API_KEYS: "{" }));
    expect(await failureOf(response)).toBe("configuration_invalid");
  });
});

describe("a broken configuration", () => {
  test("answers 503 to everybody and tells only an operator what is wrong", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const broken = environment({ BACKEND_SERVERS: "not json" });
    const response = await ask("/v1/models", {}, broken);
    const text = await response.clone().text();
    expect([response.status, await failureOf(response)]).toEqual([503, "configuration_invalid"]);
    expect(text).not.toContain("BACKEND_SERVERS");
    const told = await ask("/v1/models", { headers: { authorization: `Bearer ${adminToken}` } }, broken);
    expect(await told.text()).toContain("BACKEND_SERVERS");
    expect(error).toHaveBeenCalledTimes(1);
  });

  test("is readable for a browser's page, named by its id, and in the log with each request", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const broken = environment({ BACKEND_SERVERS: "not json" });
    const page = { origin: "https://page.example" };
    const asked = {
      ...page,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization",
    };
    expect((await ask("/v1/models", { method: "OPTIONS", headers: asked }, broken)).status).toBe(204);
    const response = await ask("/v1/models?token=abc", { headers: page }, broken);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("vary")).toBe("Origin");
    expect(logged.map(({ method, status, url }) => [method, status, url])).toEqual([
      ["OPTIONS", 204, "/v1/models"],
      ["GET", 503, "/v1/models?token=***"],
    ]);
    expect(response.headers.get("x-request-id")).toBe(logged[1]?.id);
    expect(logged[1]).toMatchObject({ outcome: "rejected", reason: "configuration_invalid" });
  });
});

describe("a defect of the edge", () => {
  test("is a 500 that tells no details, and the log has its trace under the answer's id", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const reading = edgeOf(unlimited);
    if (!reading.ok) throw new Error("the configuration of the tests is broken");
    vi.spyOn(reading.edge.routes, "match").mockImplementation(() => {
      throw new Error("a defect");
    });
    const response = await ask("/ping");
    expect([response.status, await response.clone().text()]).toEqual([500, expect.not.stringContaining("a defect")]);
    expect(await failureOf(response)).toBe("internal_error");
    const told = warn.mock.calls.map(([line]) => String(line)).find((line) => line.includes("internal_error"));
    expect(told).toContain(`${response.headers.get("x-request-id")} Error: a defect`);
    expect(told).toContain("pipeline");
    expect(logged).toEqual([expect.objectContaining({ status: 500, reason: "internal_error" })]);
  });

  test("in the last step is one as well, and a log that fails costs nobody an answer", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    answer = () => new Response("pong");
    const append = Object.getOwnPropertyDescriptor(Headers.prototype, "append")?.value as Headers["append"];
    const spy = vi.spyOn(Headers.prototype, "append").mockImplementation(function (this: Headers, name, value) {
      if (name === "cache-status") throw new Error("a late defect");
      append.call(this, name, value);
    });
    const response = await ask("/ping");
    expect([response.status, await failureOf(response)]).toEqual([500, "internal_error"]);
    expect(response.headers.get("x-request-id")).toMatch(/^[\da-f-]{36}$/);
    spy.mockRestore();
    const reading = edgeOf(unlimited);
    if (!reading.ok) throw new Error("the configuration of the tests is broken");
    vi.spyOn(reading.edge.clients, "seen").mockImplementation(() => {
      throw new Error("no log line");
    });
    vi.spyOn(reading.edge.sinks[0] as (typeof reading.edge.sinks)[number], "write").mockImplementation(() => {
      throw new Error("no log line");
    });
    expect((await ask("/ping")).status).toBe(200);
  });
});

describe("/health", () => {
  test("shows every backend without its URL, and with it to an operator", async () => {
    const open = await ask("/api/health");
    const body = (await open.json()) as { backends: Record<string, unknown>[] };
    expect(open.status).toBe(200);
    expect(body.backends[0]).toMatchObject({ name: "a", region: "default", healthy: true, consecutive_failures: 0 });
    expect(JSON.stringify(body)).not.toContain("127.0.0.1");
    const known = await ask("/health", { headers: { authorization: `Bearer ${adminToken}` } });
    expect(known.headers.get("cache-control")).toBe("private, no-store");
    expect(await known.text()).toContain("http://127.0.0.1:9101");
  });
});

describe("the log line", () => {
  test("holds what is needed at night and no secret", async () => {
    await ask("/usage/session/us-secret-sid?token=abc", {
      headers: { authorization: "Bearer us-secret-sid", "user-agent": "curl/8" },
    });
    expect(logged[0]).toMatchObject({
      method: "GET",
      route: "GET /usage/session/:id",
      user_agent: "curl/8",
      client_ip: "127.0.0.1",
      region: "local",
    });
    expect(JSON.stringify(logged)).not.toContain("secret-sid");
    expect(JSON.stringify(logged)).not.toContain("abc");
  });
});

describe("errors are in the log whatever share of the successes is", () => {
  const LOG = { sample: 0 };
  const chat = { ...generation, body: '{"model":"jimeng","stream":true,"messages":[]}' };
  const events = (text: string): Response => new Response(text, { headers: { "content-type": "text/event-stream" } });
  const inForm = { code: -2000, message: "request params invalid", data: null };
  const whole = 'data: {"choices":[]}\n\ndata: [DONE]\n\n';

  test.each([
    ["a success", "/ping", {}, () => new Response("pong"), {}, []],
    ["a stream that ends as it should", "/v1/chat/completions", chat, () => events(whole), {}, []],
    ["a refusal of ours", "/nowhere", {}, () => new Response("pong"), {}, [[404, "rejected"]]],
    [
      "an error under status 200, left as the backend gave it",
      "/v1/images/generations",
      generation,
      () => json(inForm),
      { RESPONSE: { normalizeErrors: false } },
      [[200, "client_fault"]],
    ],
    [
      "a stream that breaks off after its status",
      "/v1/chat/completions",
      chat,
      () => events('data: {"choices":[]}\n\n'),
      {},
      [[200, "backend_fault"]],
    ],
  ] as const)("%s", async (_, path, init, given, config, lines) => {
    answer = given;
    const response = await ask(path, init, configured({ RATE_LIMIT: { enabled: false }, LOG, ...config }));
    await response.text();
    expect(logged.map(({ status, outcome }) => [status, outcome])).toEqual(lines);
  });

  test("and a stream's line says how it ended", async () => {
    answer = () => events('data: {"choices":[]}\n\n');
    await ask("/v1/chat/completions", chat);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatchObject({ status: 200, outcome: "backend_fault", attempts: 1 });
    expect(logged[0]?.reason).not.toBe("ok");
  });
});

describe("the log line of a request that reaches nobody", () => {
  const from = { headers: { "cf-connecting-ip": "198.51.100.44" } };
  const options = { ...from, method: "OPTIONS" };
  const keyed = environment({ API_KEYS: { team: { key: "k".repeat(24) } } });
  const broken = { ...generation, body: new ReadableStream({ start: (stream) => stream.error(new Error("broken")) }) };

  test("says from where it came and what became of it", async () => {
    const cases = [
      ["/nowhere", from, unlimited, 404, "rejected", "not_found"],
      ["/v1/models", { ...from, method: "DELETE" }, unlimited, 405, "rejected", "method_not_allowed"],
      ["/v1/models", options, unlimited, 204, "own", null],
      ["/health", from, unlimited, 200, "own", null],
      ["/ping", from, keyed, 401, "rejected", "api_key_invalid"],
    ] as const;
    await Promise.all(cases.map(([path, init, env]) => ask(path, init, env)));
    const lines = logged.map(({ url, status, outcome, reason }) => [url, status, outcome, reason]);
    const wanted = cases.map(([path, , , status, outcome, reason]) => [path, status, outcome, reason]);
    expect(lines.toSorted()).toEqual(wanted.toSorted());
    expect(new Set(logged.map(({ client_ip }) => client_ip))).toEqual(new Set(["198.51.100.44"]));
  });

  test("names a body that broke off", async () => {
    const response = await ask("/v1/images/generations", broken);
    expect([response.status, await failureOf(response)]).toEqual([400, "body_unreadable"]);
    expect(logged).toEqual([expect.objectContaining({ outcome: "rejected", reason: "body_unreadable" })]);
  });
});

describe("compression", () => {
  const large = JSON.stringify({ data: "x".repeat(4000) });

  test("encodes what is worth it for a client that takes it, and says that it varies", async () => {
    answer = () => new Response(large, { headers: { "content-type": "application/json", etag: '"1"' } });
    const plain = await ask("/ping");
    expect([plain.headers.get("content-encoding"), plain.headers.get("vary")]).toEqual([
      null,
      "Origin, Accept-Encoding",
    ]);
    const ctx = createExecutionContext();
    const response = await handle(
      new Request("https://edge.example/ping", { headers: { "accept-encoding": "gzip" } }),
      unlimited,
      ctx,
    );
    expect([response.headers.get("content-encoding"), response.headers.get("etag")]).toEqual(["gzip", 'W/"1"']);
    await response.body?.cancel();
    await waitOnExecutionContext(ctx);
  });
});

describe("the registry out of reach", () => {
  test("leaves the edge serving from what it knows", async () => {
    const env = environment({ BACKEND_REGISTRY: unreachable, CONFIG: { RATE_LIMIT: { enabled: false } } });
    answer = ({ path }) => (path === "/ping" ? new Response("pong") : json({ created: 1, data: [] }));
    expect((await ask("/ping", {}, env)).status).toBe(200);
    expect((await ask("/v1/images/generations", generation, env)).status).toBe(200);
    const task = await ask("/v1/async/tasks/t/status", {}, env);
    expect([task.status, await failureOf(task)]).toEqual([503, "registry_unavailable"]);
  });
});
