/** Work that is not sent: since nobody waits for it, or nobody is there to do it; and picks that come too late. */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { BackendRegistryApi, PickRequest } from "../../../src/shared/contract.ts";
import { edgeOf } from "../../../src/worker/edge.ts";
import type { Env } from "../../../src/worker/env.ts";
import { registryOf } from "../../../src/worker/env.ts";
import { handle } from "../../../src/worker/pipeline.ts";
import { isAlive } from "../../../src/worker/proof.ts";

/** Paths of generations that were sent. */
let sent: string[] = [];
let onPing: (host: string) => void = () => undefined;
let onGeneration: () => Response | Promise<Response>;
/** Hosts that they were sent to. */
let sentTo: string[] = [];
let env: Env;

beforeEach(() => {
  sent = [];
  sentTo = [];
  onPing = () => undefined;
  onGeneration = () => Response.json({ created: 1, data: [] });
  env = { ...(bindings as unknown as Env), CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false } }) };
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    if (request.method === "GET") {
      onPing(new URL(request.url).host);
      return new Response("pong");
    }
    sent.push(new URL(request.url).pathname);
    sentTo.push(new URL(request.url).host);
    return onGeneration();
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

async function inFlight(): Promise<number> {
  const { servers } = await registryOf(bindings as unknown as Env, null).preference(null);
  return servers.reduce((sum, server) => sum + server.inFlight, 0);
}

function generation(signal: AbortSignal, path = "/v1/images/generations"): Request {
  const body = '{"prompt":"x"}';
  return new Request(`https://edge.example${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "content-length": String(body.length),
      "cf-connecting-ip": "1.2.3.4",
    },
    body,
    signal,
  });
}

async function ask(signal: AbortSignal): Promise<Response> {
  const ctx = createExecutionContext();
  const answer = await handle(generation(signal), env, ctx);
  await waitOnExecutionContext(ctx);
  return answer;
}

test("a client that has left before anything was sent costs nothing, and its lease ends", async () => {
  const client = new AbortController();
  client.abort();
  await ask(client.signal);
  expect([sent, await inFlight()]).toEqual([[], 0]);
});

test("a client that leaves while its backend is being asked for a sign of life costs nothing either", async () => {
  const client = new AbortController();
  onPing = () => client.abort();
  await ask(client.signal);
  expect([sent, await inFlight()]).toEqual([[], 0]);
});

test("one that stays is served, and its lease ends", async () => {
  expect((await ask(new AbortController().signal)).status).toBe(200);
  expect([sent, await inFlight()]).toEqual([["/v1/images/generations"], 0]);
});

describe("a ping", () => {
  const backend = { name: "a", url: "http://127.0.0.1:9101", dialect: null, needsProof: true };

  async function pinged(failures: number): Promise<readonly [isAlive: boolean, pings: number]> {
    const reading = edgeOf(env);
    if (!reading.ok) throw new Error("misconfigured");
    let pings = 0;
    onPing = () => {
      if ((pings += 1) <= failures) throw new Error("Network connection lost.");
    };
    return [await isAlive(reading.edge, backend), pings];
  }

  test("is sent once more where its connection breaks: an idle one may have been closed meanwhile", async () => {
    expect(await pinged(0)).toEqual([true, 1]);
    expect(await pinged(1)).toEqual([true, 2]);
    expect(await pinged(2)).toEqual([false, 2]);
  });
});

test.each([429, 521])(
  "a backend's own answer (%i) stands where everybody else turns out to be gone",
  async (status) => {
    let only: string | null = null;
    onPing = (host) => {
      only ??= host;
      if (host !== only) throw new Error("Network connection lost.");
    };
    onGeneration = () => Response.json({ said: "by the backend" }, { status });
    const answer = await ask(new AbortController().signal);
    expect([answer.status, await answer.json()]).toEqual([status, { said: "by the backend" }]);
    expect([sent.length, answer.headers.get("x-should-retry"), await inFlight()]).toEqual([1, null, 0]);
  },
);

test("a sign of life that is old after a slow attempt spares no ping", async () => {
  const real = registryOf(env, null);
  const proven: Pick<BackendRegistryApi, "pick" | "settle" | "move" | "report"> = {
    pick: async (request) => {
      const reply = await real.pick(request);
      if (reply.kind !== "picked") return reply;
      return { ...reply, candidates: reply.candidates.map((one) => ({ ...one, needsProof: false })) };
    },
    settle: (settlement) => real.settle(settlement),
    move: (request) => real.move(request),
    report: (report) => real.report(report),
  };
  const namespace = { idFromName: (name: string) => name, get: () => proven };
  const CONFIG = JSON.stringify({ RATE_LIMIT: { enabled: false }, WATCH: { proofOfLife: 0.5 } });
  env = { ...env, CONFIG, BACKEND_REGISTRY: namespace as unknown as DurableObjectNamespace };
  // What the registry itself asks at its start is over after this.
  await ask(new AbortController().signal);
  sentTo = [];
  const pinged = new Set<string>();
  // It asks the one that has failed again.
  onPing = (host) => void (host === sentTo[0] ? undefined : pinged.add(host));
  onGeneration = async () => {
    if (sentTo.length > 1) return Response.json({ created: 1, data: [] });
    await new Promise((resolve) => setTimeout(resolve, 700));
    return new Response(null, { status: 522 });
  };
  expect((await ask(new AbortController().signal)).status).toBe(200);
  expect([...pinged]).toEqual([sentTo[1]]);
});

test("what may have been charged is not said to be unsent where everybody else turns out to be gone", async () => {
  const CONFIG = JSON.stringify({ RATE_LIMIT: { enabled: false }, RETRY: { generations: "unsafe" } });
  env = { ...env, CONFIG };
  onPing = () => {
    if (sent.length > 0) throw new Error("Network connection lost.");
  };
  onGeneration = () => {
    throw new Error("Network connection lost.");
  };
  const answer = await ask(new AbortController().signal);
  expect([answer.status, answer.headers.get("x-should-retry"), await inFlight()]).toEqual([502, "false", 0]);
  expect(await answer.json()).toMatchObject({ error: { code: "backend_reset" } });
});

test("a task's paid answer does not wait for ever for its home to be noted", async () => {
  const real = registryOf(env, null);
  const noted: string[] = [];
  const slow: Pick<BackendRegistryApi, "pick" | "settle" | "report" | "rememberTask"> = {
    pick: (request) => real.pick(request),
    settle: (settlement) => real.settle(settlement),
    report: (report) => real.report(report),
    rememberTask: async (taskId) => {
      await new Promise((resolve) => setTimeout(resolve, 4000));
      noted.push(taskId);
    },
  };
  const namespace = { idFromName: (name: string) => name, get: () => slow };
  env = { ...env, BACKEND_REGISTRY: namespace as unknown as DurableObjectNamespace };
  onGeneration = () => Response.json({ success: true, data: { task_id: "t" } });
  const ctx = createExecutionContext();
  const began = Date.now();
  const answer = await handle(generation(new AbortController().signal, "/v1/async/images/generations"), env, ctx);
  expect([answer.status, noted]).toEqual([200, []]);
  expect(Date.now() - began).toBeLessThan(3900);
  await waitOnExecutionContext(ctx);
  expect(noted).toEqual(["t"]);
});

test("a registry that takes too long to pick is not waited for: the table serves, and the late lease is given back", async () => {
  const real = registryOf(env, null);
  const slow: Pick<BackendRegistryApi, "pick" | "settle" | "report"> = {
    pick: async (request: PickRequest) => {
      const reply = await real.pick(request);
      await new Promise((resolve) => setTimeout(resolve, 3500));
      return reply;
    },
    settle: (settlement) => real.settle(settlement),
    report: (report) => real.report(report),
  };
  const namespace = { idFromName: (name: string) => name, get: () => slow };
  env = { ...env, BACKEND_REGISTRY: namespace as unknown as DurableObjectNamespace };
  const began = Date.now();
  const answer = await ask(new AbortController().signal);
  expect([answer.status, sent.length]).toEqual([200, 1]);
  expect(Date.now() - began).toBeGreaterThan(2900);
  expect(await inFlight()).toBe(0);
});
