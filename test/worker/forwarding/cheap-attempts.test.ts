/**
 * How long one server may take over a cheap request. A token's check may take longer than others: one dialect waits 15 s for a
 * Jimeng that is down.
 */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Env } from "../../../src/worker/env.ts";
import { registryOf } from "../../../src/worker/env.ts";
import { handle } from "../../../src/worker/pipeline.ts";

/** Hosts that were asked, in order. */
let asked: string[] = [];
/** Of the first of them: whether it answers pings, and after how long it answers the check; null: never. */
let first = { lives: true, answersAfterMs: 0 as number | null };
/** Whether all of them are silent, to pings as well. */
let silent = false;
let pings = 0;

beforeEach(() => {
  asked = [];
  silent = false;
  pings = 0;
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    const { host } = new URL(request.url);
    const answersAfterMs = silent ? null : host === (asked[0] ?? host) ? first.answersAfterMs : 0;
    if (request.headers.get("user-agent") === "jimeng-edge-probe") {
      pings += 1;
      if (silent) await answered(request.signal, null);
      if (host === asked[0] && !first.lives) throw new Error("Network connection lost.");
      return new Response("pong");
    }
    asked.push(host);
    await answered(request.signal, answersAfterMs);
    return Response.json({ live: true });
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

/** null: never. */
function answered(signal: AbortSignal, afterMs: number | null): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")));
    if (afterMs !== null) setTimeout(resolve, afterMs);
  });
}

function check(): Promise<Response> {
  const body = '{"token":"t"}';
  const headers = { "content-type": "application/json", "content-length": String(body.length) };
  return ask("/token/check", { method: "POST", headers, body });
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const CONFIG = JSON.stringify({
    RATE_LIMIT: { enabled: false },
    RETRY: { attemptTimeout: 0.6, backoffBase: 0.01 },
    WATCH: { pingTimeout: 0.4 },
  });
  const request = new Request(`https://edge.example${path}`, init);
  const ctx = createExecutionContext();
  const answer = await handle(request, { ...(bindings as unknown as Env), CONFIG }, ctx);
  await waitOnExecutionContext(ctx);
  return answer;
}

test("a token's check is waited for at a server that answers pings meanwhile", async () => {
  first = { lives: true, answersAfterMs: 1500 };
  expect([(await check()).status, asked.length]).toEqual([200, 1]);
});

test("a token's check goes to another server as soon as its own has no time for a ping either", async () => {
  first = { lives: false, answersAfterMs: null };
  const began = Date.now();
  expect([(await check()).status, asked.length]).toEqual([200, 2]);
  expect(Date.now() - began).toBeLessThan(3000);
});

test("a token's check that is answered as soon as another cheap request costs no ping", async () => {
  first = { lives: true, answersAfterMs: 0 };
  // What the registry itself asks at its start is over after this.
  await check();
  pings = 0;
  expect([(await check()).status, pings]).toEqual([200, 0]);
});

test("a token's check at servers that are silent altogether is given up as soon as any cheap request", async () => {
  silent = true;
  const tookMs = async (work: () => Promise<Response>): Promise<number> => {
    const began = Date.now();
    expect((await work()).status).toBe(504);
    return Date.now() - began;
  };
  const anyMs = await tookMs(() => ask("/ping"));
  expect((await tookMs(check)) - anyMs).toBeLessThan(500);
  expect(asked).toHaveLength(6);
});

test("a task's look-up is given up after a cheap request's time and tried again at its home, not waited for to the deadline", async () => {
  first = { lives: true, answersAfterMs: null };
  await registryOf(bindings as unknown as Env, null).rememberTask("known", "b");
  const began = Date.now();
  const answer = await ask("/v1/async/tasks/known/status");
  expect([answer.status, new Set(asked).size, asked.length]).toEqual([504, 1, 3]);
  expect(Date.now() - began).toBeLessThan(4000);
});
