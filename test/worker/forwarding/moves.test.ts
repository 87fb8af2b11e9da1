/** A request that fails over asks the registry for another place: who is asked, and what follows where it gives no answer. */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { BackendRegistryApi, MoveReply, MoveRequest } from "../../../src/shared/contract.ts";
import type { Env } from "../../../src/worker/env.ts";
import { registryOf } from "../../../src/worker/env.ts";
import { handle } from "../../../src/worker/pipeline.ts";

type Asked = Pick<BackendRegistryApi, "pick" | "settle" | "move" | "report">;

/** Backends that a generation was sent to, in order; so many of them fail, as given. */
let sentTo: string[] = [];
let failing = 1;
let failure: () => Response;
/** What is asked before a generation is sent to a backend that has been silent. */
let ping: () => Response;
let calls: string[] = [];
let moves: MoveRequest[] = [];

const nameByPort: Readonly<Record<string, string>> = { 9101: "a", 9102: "b", 9103: "c" };

beforeEach(() => {
  sentTo = [];
  failing = 1;
  failure = () => new Response(null, { status: 522 });
  ping = () => new Response("pong");
  calls = [];
  moves = [];
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    if (request.method === "GET") return ping();
    sentTo.push(nameByPort[new URL(request.url).port] ?? "");
    return sentTo.length <= failing ? failure() : Response.json({ created: 1, data: [] });
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

async function inFlight(): Promise<Record<string, number>> {
  const { servers } = await registryOf(bindings as unknown as Env, null).preference(null);
  return Object.fromEntries(servers.filter(({ inFlight: open }) => open > 0).map((one) => [one.name, one.inFlight]));
}

/** A generation by an edge whose registry answers moves so; what the edge goes on telling is over when this returns. */
async function generated(move: Asked["move"], generations = "safe"): Promise<Response> {
  const real = registryOf(bindings as unknown as Env, null);
  const registry: Asked = {
    pick: (request) => (calls.push("pick"), real.pick(request)),
    settle: (settlement) => (calls.push("settle"), real.settle(settlement)),
    move: (request) => (calls.push("move"), moves.push(request), move(request)),
    report: (report) => real.report(report),
  };
  const namespace = { idFromName: (name: string) => name, get: () => registry };
  const env = {
    ...(bindings as unknown as Env),
    CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false }, RETRY: { generations } }),
    BACKEND_REGISTRY: namespace as unknown as DurableObjectNamespace,
  };
  const body = '{"prompt":"x"}';
  const headers = { "content-type": "application/json", "content-length": String(body.length) };
  const ctx = createExecutionContext();
  const answer = await handle(
    new Request("https://edge.example/v1/images/generations", { method: "POST", headers, body }),
    env,
    ctx,
  );
  await waitOnExecutionContext(ctx);
  return answer;
}

const real = (request: MoveRequest): Promise<MoveReply> => registryOf(bindings as unknown as Env, null).move(request);
const full: MoveReply = { kind: "none", reason: "no_capacity", retryAfterS: 7 };

test("a request that does not fail over asks nobody: a pick and a settlement are all that it costs", async () => {
  failing = 0;
  expect((await generated(real)).status).toBe(200);
  expect(calls).toEqual(["pick", "settle"]);
});

test("one that fails over goes where the registry says, and its lease ends there", async () => {
  const answer = await generated((request) => real({ ...request, candidates: request.candidates.slice(1) }));
  expect([answer.status, answer.headers.get("x-jimeng-edge-backend")]).toEqual([200, moves[0]!.candidates[1]]);
  expect([calls, await inFlight()]).toEqual([["pick", "move", "settle"], {}]);
});

test("one for which there is no room anywhere is refused as at a pick, sent to nobody else and not settled twice", async () => {
  const answer = await generated(async () => full);
  expect([answer.status, answer.headers.get("retry-after"), answer.headers.get("x-should-retry")]).toEqual([
    503,
    "7",
    "true",
  ]);
  expect(await answer.json()).toMatchObject({ error: { code: "no_capacity" } });
  expect([sentTo.length, calls]).toEqual([1, ["pick", "move"]]);
});

test("what may have been charged is not said to be unsent where all others are dead or full", async () => {
  const lost = (): never => {
    throw new Error("Network connection lost.");
  };
  failure = lost;
  ping = () => (sentTo.length > 0 ? lost() : new Response("pong"));
  const answer = await generated(async (request) => (moves.length > 1 ? full : real(request)), "unsafe");
  expect([answer.status, answer.headers.get("x-should-retry"), sentTo.length]).toEqual([502, "false", 1]);
  expect(await answer.json()).toMatchObject({ error: { code: "backend_reset" } });
  expect(calls).toEqual(["pick", "move", "move"]);
});

describe("a registry that gives no answer to a move ends no request and loses no lease:", () => {
  test("where it is gone, the request goes to the next of its list", async () => {
    const answer = await generated(() => Promise.reject(new Error("gone")));
    expect([answer.status, sentTo[1]]).toEqual([200, moves[0]!.candidates[0]]);
    expect([calls, await inFlight()]).toEqual([["pick", "move", "settle"], {}]);
  });

  test("after one silence it is not waited for again, and told where the request is", async () => {
    failing = 2;
    const began = Date.now();
    let open: Record<string, number> = {};
    const answer = await generated(async (request) => {
      if (request.gone) {
        const reply = await real(request);
        open = await inFlight();
        return reply;
      }
      await new Promise((resolve) => setTimeout(resolve, 3500));
      return full;
    });
    expect(answer.status).toBe(200);
    expect(Date.now() - began).toBeLessThan(6000);
    // The late answer is put right, then the second move counts where the request has gone, full or not.
    expect(moves.map(({ gone, report }) => [gone, report === null])).toEqual([
      [false, false],
      [true, true],
      [true, false],
    ]);
    expect(new Set(sentTo).size).toBe(3);
    expect([open, await inFlight()]).toEqual([{ [sentTo[2]!]: 1 }, {}]);
  });
});
