/** What the pipeline tells the cache and what it makes of its answers: several isolates before one registry, in the runtime. */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Env } from "../../src/worker/env.ts";
import { handle } from "../../src/worker/pipeline.ts";
import { collectNothing } from "./at-once.ts";
import { registry } from "./operator/fleet-state.ts";
import { broken, environment } from "./operator/fixture.ts";

const by = { name: "alice", from: null };
const startMs = Date.UTC(2026, 10, 23, 12);

/** What reached the backends, without the probes; `answer` is how they answer. */
let reached: { readonly url: string; readonly method: string }[] = [];
let answer: (url: URL, method: string) => Response;

beforeEach(() => {
  reached = [];
  answer = () => new Response(`answer ${reached.length}`, { headers: { "cache-control": "max-age=3600" } });
  for (const method of ["log", "warn", "error"] as const) vi.spyOn(console, method).mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    if (request.headers.get("user-agent") === "jimeng-edge-probe") return new Response("pong");
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
      expect(await textOf(other, path)).toBe("answer 2");
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
      expect(await textOf(idle, path)).toBe("answer 2");
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
