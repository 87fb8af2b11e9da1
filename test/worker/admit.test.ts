import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { AdmissionRules } from "../../src/shared/admission-rules.ts";
import { defaults } from "../../src/shared/config/defaults.ts";
import type { Limit, RateLimitConfig } from "../../src/shared/config/config.ts";
import type { Admission, AdmitRequest } from "../../src/shared/contract.ts";
import { admit } from "../../src/worker/admit.ts";
import type { AdmitContext, AdmitVerdict, LimiterCount } from "../../src/worker/admit.ts";
import { BlockMemory } from "../../src/worker/block-memory.ts";
import type { Client } from "../../src/worker/client.ts";
import { blockClient, inspectClient, limiterPatienceMs, resetClient } from "../../src/worker/limiter.ts";
import type { LimiterNamespace } from "../../src/worker/limiter.ts";

const { RATE_LIMITER } = env as unknown as { readonly RATE_LIMITER: LimiterNamespace };

/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;
const client: Client = { address: "203.0.113.7", key: "203.0.113.7", standing: "limited" };

function rulesOf(given: Partial<RateLimitConfig> = {}): AdmissionRules {
  return new AdmissionRules({ ...defaults.RATE_LIMIT, ...given });
}

type Admit = (limit: unknown, request: AdmitRequest) => Promise<Admission>;

/** One isolate: its memory, its counters, and a namespace that counts the calls that leave it. */
class Isolate {
  readonly memory = new BlockMemory();
  readonly counts: Partial<Record<LimiterCount, number>> = {};
  readonly failures: string[] = [];
  readonly requests: AdmitRequest[] = [];
  /** What goes on when the client has reset its connection. */
  readonly toTheirEnd: Promise<unknown>[] = [];
  callTimesMs: number[] = [];
  stubs = 0;
  inFlight = 0;
  mostInFlight = 0;
  readonly context: AdmitContext;

  /** `instead`: answers in the place of the real limiter. */
  constructor(instead: Admit | null = null) {
    this.context = {
      limiters: this.#counting(instead),
      memory: this.memory,
      count: (what) => {
        this.counts[what] = (this.counts[what] ?? 0) + 1;
      },
      failed: (reason) => this.failures.push(reason),
    };
  }

  #counting(instead: Admit | null): LimiterNamespace {
    const get = (id: DurableObjectId) => {
      this.stubs += 1;
      const real = RATE_LIMITER.get(id) as unknown as { admit: Admit };
      const call: Admit = async (limit, request) => {
        this.callTimesMs.push(Date.now());
        this.requests.push(request);
        this.inFlight += 1;
        this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
        try {
          return await (instead === null ? real.admit(limit, request) : instead(limit, request));
        } finally {
          this.inFlight -= 1;
        }
      };
      return new Proxy(real, { get: (target, name) => (name === "admit" ? call : Reflect.get(target, name)) });
    };
    return { idFromName: (name: string) => RATE_LIMITER.idFromName(name), get } as unknown as LimiterNamespace;
  }

  admit(rules: AdmissionRules, who: Client = client, routeClass: "query" | "generate" = "query") {
    return admit(this.context, rules, who, routeClass, (work) => void this.toTheirEnd.push(work));
  }
}

/** The client's block, learnt by this isolate from the limiter. */
async function blocked(isolate: Isolate, rules: AdmissionRules): Promise<void> {
  await blockClient(RATE_LIMITER, "203.0.113.7", 300, "for the test");
  expect((await isolate.admit(rules)).kind).toBe("refused");
  isolate.callTimesMs = [];
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: start });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

describe("an admitted request", () => {
  test("carries what is left of its limit", async () => {
    const isolate = new Isolate();
    const rules = rulesOf({ requests: 2 });
    expect(await isolate.admit(rules)).toEqual({
      kind: "admitted",
      headers: { "ratelimit-policy": '"default";q=2;w=60', ratelimit: '"default";r=1;t=60' },
      reported: false,
    });
    vi.setSystemTime(start + 15_500);
    expect(await isolate.admit(rules)).toMatchObject({ headers: { ratelimit: '"default";r=0;t=45' } });
    expect(isolate.counts).toEqual({ admitted: 2 });
  });

  test("costs one call", async () => {
    const isolate = new Isolate();
    for (let index = 0; index < 5; index += 1) await isolate.admit(rulesOf());
    expect(isolate.callTimesMs).toHaveLength(5);
  });
});

describe("a refused request", () => {
  test("is told the seconds to the block's end, rounded up and falling", async () => {
    const rules = rulesOf({ requests: 1, blockDuration: 3 });
    const isolate = new Isolate();
    await isolate.admit(rules);
    const waits: number[] = [];
    for (const lateMs of [0, 500, 1500, 2999]) {
      vi.setSystemTime(start + lateMs);
      const verdict = await isolate.admit(rules);
      waits.push(verdict.kind === "refused" ? verdict.retryAfterS : 0);
    }
    expect(waits).toEqual([3, 3, 2, 1]);
    vi.setSystemTime(start + 3000);
    expect(await isolate.admit(rules)).toMatchObject({
      kind: "admitted",
      headers: { ratelimit: '"default";r=0;t=60' },
    });
  });

  test("names the limit that it broke", async () => {
    const rules = rulesOf({ requests: 1 });
    const isolate = new Isolate();
    await isolate.admit(rules);
    expect(await isolate.admit(rules)).toEqual({
      kind: "refused",
      retryAfterS: 300,
      limit: { requests: 1, window: 60, blockDuration: 300 },
      headers: { "ratelimit-policy": '"default";q=1;w=60', ratelimit: '"default";r=0;t=300' },
    });
  });
});

describe("a flood", () => {
  test("of 5,000 requests in 5 s by a blocked client costs at most 3 calls a second, never two at a time", async () => {
    const isolate = new Isolate();
    const rules = rulesOf();
    await blocked(isolate, rules);
    const verdicts: (AdmitVerdict | Promise<AdmitVerdict>)[] = [];
    isolate.mostInFlight = 0;
    for (let late = 0; late < 5000; late += 1) {
      vi.setSystemTime(start + late);
      verdicts.push(isolate.admit(rules));
      if (late % 10 === 0) await scheduler.wait(0);
    }
    const kinds = new Set((await Promise.all(verdicts)).map((verdict) => verdict.kind));
    expect(kinds).toEqual(new Set(["refused"]));
    for (let second = 0; second < 5; second += 1) {
      const calls = isolate.callTimesMs.filter((timeMs) => Math.floor((timeMs - start) / 1000) === second);
      expect(calls.length).toBeLessThanOrEqual(3);
    }
    expect(isolate.mostInFlight).toBe(1);
    expect(isolate.failures).toEqual([]);
  });

  test("is counted with the block: what was refused from memory is told with the next call", async () => {
    const isolate = new Isolate();
    const rules = rulesOf();
    await blocked(isolate, rules);
    for (let index = 0; index < 50; index += 1) await isolate.admit(rules);
    vi.setSystemTime(start + 1000);
    await isolate.admit(rules);
    expect(isolate.requests.map((request) => request.refusedFromMemory)).toEqual([0, 50]);
    const reply = await inspectClient(RATE_LIMITER, rules, "203.0.113.7", null);
    expect(reply.kind === "client" && reply.state.block?.refused).toBe(52);
  });

  test("after a silence asks once: the rest of the burst hears the answer", async () => {
    const isolate = new Isolate();
    const rules = rulesOf();
    await blocked(isolate, rules);
    vi.setSystemTime(start + 5000);
    const verdicts = await Promise.all(Array.from({ length: 200 }, () => isolate.admit(rules)));
    expect(verdicts.every((verdict) => verdict.kind === "refused")).toBe(true);
    expect(isolate.callTimesMs).toHaveLength(1);
    expect(isolate.counts).toEqual({ refused: 2, remembered: 199 });
  });

  /** A limiter that takes its time for each answer, by the test's clock: a busy machine must not make it seem too slow. */
  function takingMs(answerMs: number): Admit {
    let count = 0;
    return async (limit) => {
      const { requests, blockDuration } = limit as Limit;
      count += 1;
      const remaining = requests - count;
      await new Promise((resolve) => setTimeout(resolve, answerMs));
      if (remaining >= 0) return { kind: "admitted", remaining, resetMs: 60_000 };
      const retryAfterMs = blockDuration * 1000;
      return { kind: "blocked", retryAfterMs, untilMs: Date.now() + retryAfterMs, started: remaining === -1 };
    };
  }

  /** More than a call to a limiter passes through. */
  const promisesInARow = 20;

  /** So many requests at once, and all that they wait for. */
  async function atOnce(isolate: Isolate, count: number, rules: AdmissionRules): Promise<AdmitVerdict[]> {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: start });
    const verdicts = Promise.all(Array.from({ length: count }, () => isolate.admit(rules)));
    for (let passedMs = 0; passedMs < 2 * limiterPatienceMs; passedMs += 1) {
      vi.advanceTimersByTime(1);
      // What a timer has set going goes on through a few promises before the next millisecond.
      for (let turn = 0; turn < promisesInARow; turn += 1) await Promise.resolve();
    }
    return verdicts;
  }

  test("that begins with 1,000 requests at once is let pass up to the limit, and asks for little more than that", async () => {
    const isolate = new Isolate(takingMs(5));
    const verdicts = await atOnce(isolate, 1000, rulesOf());
    expect(verdicts.filter((verdict) => verdict.kind === "admitted" && verdict.headers !== null)).toHaveLength(100);
    expect(verdicts.filter((verdict) => verdict.kind === "refused")).toHaveLength(900);
    expect(isolate.callTimesMs.length).toBeLessThanOrEqual(200);
    expect(isolate.mostInFlight).toBeLessThanOrEqual(64);
  });

  test("of a client with a large limit is let through in turns, to the last request", async () => {
    // Three turns, and then those whose patience ends.
    const isolate = new Isolate(takingMs(50));
    const verdicts = await atOnce(isolate, 300, rulesOf({ requests: 10_000 }));
    expect(verdicts.every((verdict) => verdict.kind === "admitted" && verdict.headers !== null)).toBe(true);
    const turns = [0, 60, 124, 250].map((lateMs) => isolate.callTimesMs.filter((at) => at === start + lateMs).length);
    expect(turns).toEqual([64, 64, 64, 108]);
  });

  test("calls that never end, since their requests were torn down, keep nobody waiting", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: start });
    const isolate = new Isolate();
    for (let index = 0; index < 64; index += 1) isolate.memory.calls.begin("203.0.113.7", start);
    expect(isolate.memory.calls.isFull("203.0.113.7", start)).toBe(true);
    vi.setSystemTime(start + limiterPatienceMs + 1);
    expect((await isolate.admit(rulesOf())).kind).toBe("admitted");
    expect(isolate.memory.calls.isFull("203.0.113.7", start + limiterPatienceMs + 1)).toBe(false);
  });

  test("calls that never end are forgotten one by one, also while their client goes on asking", () => {
    const { calls } = new BlockMemory();
    for (let index = 0; index < 64; index += 1) calls.begin("203.0.113.7", start);
    for (let late = 50; late <= limiterPatienceMs; late += 50) {
      calls.begin("203.0.113.7", start + late);
      calls.end("203.0.113.7", start + late);
      expect(calls.isFull("203.0.113.7", start + late)).toBe(true);
    }
    expect(calls.isFull("203.0.113.7", start + limiterPatienceMs + 1)).toBe(false);
    expect(calls.count("203.0.113.7", start + limiterPatienceMs + 1)).toBe(0);
  });

  test("what others wait for is heard to its end though its client leaves; a request alone with its limiter adds no work to itself", async () => {
    const isolate = new Isolate();
    const rules = rulesOf({ requests: 3 });
    await isolate.admit(rules);
    expect(isolate.toTheirEnd).toHaveLength(0);
    await Promise.all([isolate.admit(rules), isolate.admit(rules)]);
    expect(isolate.toTheirEnd).toHaveLength(1);
    await isolate.admit(rules);
    expect(isolate.toTheirEnd).toHaveLength(1);
    vi.setSystemTime(start + 1000);
    void isolate.admit(rules);
    expect(isolate.toTheirEnd).toHaveLength(2);
    await Promise.all(isolate.toTheirEnd);
    expect(await isolate.admit(rules)).toMatchObject({ kind: "refused" });
    expect(isolate.callTimesMs).toHaveLength(5);
  });

  test("an operator's reset works at once in the isolate that made it and within a second in every other", async () => {
    const [here, there] = [new Isolate(), new Isolate()];
    const rules = rulesOf();
    await blocked(here, rules);
    await blocked(there, rules);
    expect(await resetClient(RATE_LIMITER, here.memory, "::ffff:203.0.113.7")).toEqual({
      kind: "reset",
      clientKey: "203.0.113.7",
    });
    expect((await here.admit(rules)).kind).toBe("admitted");
    expect((await there.admit(rules)).kind).toBe("refused");
    vi.setSystemTime(start + 1000);
    const burst = await Promise.all(Array.from({ length: 20 }, () => there.admit(rules)));
    expect(burst.every((verdict) => verdict.kind === "admitted")).toBe(true);
  });

  test("a request whose asker was torn down does not wait for it longer than the limiter's patience", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: start });
    let calls = 0;
    const never = new Promise<Admission>(() => {});
    const block: Admission = { kind: "blocked", retryAfterMs: 60_000, untilMs: 0, started: false };
    const isolate = new Isolate(async () => {
      calls += 1;
      return calls === 2 ? never : block;
    });
    await isolate.admit(rulesOf());
    vi.setSystemTime(start + 2000);
    void isolate.admit(rulesOf());
    const waiting = isolate.admit(rulesOf());
    await vi.advanceTimersByTimeAsync(limiterPatienceMs);
    expect((await waiting).kind).toBe("refused");
    expect(calls).toBe(3);
  });
});

describe("a limiter that can't be asked", () => {
  const failing = (marks: Record<string, boolean>) => () => Promise.reject(Object.assign(new Error("broken"), marks));

  test.each([
    ["allow", { kind: "admitted", headers: null, reported: false }, "failed_open"],
    ["deny", { kind: "unavailable", code: "limiter_unavailable", retryAfterS: 1 }, "failed_closed"],
  ] as const)("lets the operator choose: %s", async (onFailure, verdict, counted) => {
    const isolate = new Isolate(failing({}));
    expect(await isolate.admit(rulesOf({ onFailure }))).toEqual(verdict);
    expect(isolate.counts).toEqual({ [counted]: 1 });
    expect(isolate.failures).toEqual(["error"]);
  });

  test("is given 250 ms, and what it answers later harms nobody", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: start });
    const isolate = new Isolate(() => new Promise((_, reject) => setTimeout(() => reject(new Error("late")), 10_000)));
    const verdict = isolate.admit(rulesOf());
    await vi.advanceTimersByTimeAsync(limiterPatienceMs - 1);
    expect(isolate.failures).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await verdict).toMatchObject({ kind: "admitted", headers: null });
    expect(isolate.failures).toEqual(["slow"]);
    await vi.advanceTimersByTimeAsync(10_000);
  });

  test("is not asked again when it is overloaded, even if it says that one may", async () => {
    const isolate = new Isolate(failing({ overloaded: true, retryable: true }));
    await isolate.admit(rulesOf());
    expect(isolate.callTimesMs).toHaveLength(1);
    expect(isolate.failures).toEqual(["overloaded"]);
  });

  test("is asked once more, on a new stub, when the failure is retryable", async () => {
    let calls = 0;
    const isolate = new Isolate(async (limit, request) => {
      calls += 1;
      if (calls === 1) throw Object.assign(new Error("moved"), { retryable: true });
      return {
        kind: "admitted",
        remaining: 9,
        resetMs: (limit as { window: number }).window * 1000,
        request,
      } as Admission;
    });
    expect(await isolate.admit(rulesOf())).toMatchObject({
      kind: "admitted",
      headers: { ratelimit: '"default";r=9;t=60' },
    });
    expect([calls, isolate.stubs]).toEqual([2, 2]);
    const stubborn = new Isolate(failing({ retryable: true }));
    await stubborn.admit(rulesOf());
    expect(stubborn.callTimesMs).toHaveLength(2);
  });

  test("does not free a client whose block another request has just heard of", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: start });
    const block: Admission = { kind: "blocked", retryAfterMs: 60_000, untilMs: 0, started: false };
    const isolate = new Isolate((_, request) =>
      request.policy === "default" && isolate.requests.length === 1 ? new Promise(() => {}) : Promise.resolve(block),
    );
    const slow = isolate.admit(rulesOf());
    await vi.advanceTimersByTimeAsync(100);
    await isolate.admit(rulesOf());
    await vi.advanceTimersByTimeAsync(200);
    expect((await slow).kind).toBe("refused");
    expect(isolate.counts).toEqual({ refused: 1, remembered: 1 });
  });
});

describe("the configuration", () => {
  test("report mode lets everybody pass, counts, and says who would have been refused", async () => {
    const isolate = new Isolate();
    const rules = rulesOf({ mode: "report", requests: 1 });
    expect(await isolate.admit(rules)).toMatchObject({ kind: "admitted", reported: false });
    expect(await isolate.admit(rules)).toMatchObject({
      kind: "admitted",
      reported: true,
      headers: { ratelimit: '"default";r=0;t=60' },
    });
    expect(isolate.counts).toEqual({ admitted: 1, reported: 1 });
  });

  test("off asks nobody", async () => {
    const isolate = new Isolate();
    expect(await isolate.admit(rulesOf({ mode: "off" }))).toEqual({ kind: "admitted", headers: null, reported: false });
    expect(isolate.callTimesMs).toEqual([]);
  });

  test("the exempt are not counted, the denied are refused in every mode", async () => {
    const isolate = new Isolate();
    expect(await isolate.admit(rulesOf(), { ...client, standing: "exempt" })).toMatchObject({
      kind: "admitted",
      headers: null,
    });
    for (const mode of ["enforce", "report", "off"] as const) {
      expect(await isolate.admit(rulesOf({ mode }), { ...client, standing: "denied" })).toEqual({
        kind: "forbidden",
        code: "client_denied",
      });
    }
    expect(isolate.callTimesMs).toEqual([]);
  });

  test("a client without an address is told so, unless nothing depends on it", async () => {
    const isolate = new Isolate();
    const nobody: Client = { address: null, key: null, standing: "unknown" };
    const unidentified = { kind: "unidentified", code: "client_address_unknown" };
    expect(await isolate.admit(rulesOf(), nobody)).toEqual(unidentified);
    expect(await isolate.admit(rulesOf({ mode: "off", onlyFrom: ["192.0.2.0/24"] }), nobody)).toEqual(unidentified);
    expect(await isolate.admit(rulesOf({ mode: "off" }), nobody)).toMatchObject({ kind: "admitted" });
  });

  test("a class with its own limit is counted and blocked apart", async () => {
    const isolate = new Isolate();
    const rules = rulesOf({ routes: { generate: { requests: 1, window: 10, blockDuration: 20 } } });
    expect(await isolate.admit(rules, client, "generate")).toMatchObject({
      headers: { "ratelimit-policy": '"generate";q=1;w=10' },
    });
    expect(await isolate.admit(rules, client, "generate")).toMatchObject({ kind: "refused", retryAfterS: 20 });
    expect(await isolate.admit(rules, client, "query")).toMatchObject({
      kind: "admitted",
      headers: { ratelimit: '"default";r=99;t=60' },
    });
  });

  test("strict durability reaches the limiter", async () => {
    const isolate = new Isolate();
    await isolate.admit(rulesOf({ durability: "strict" }));
    expect(isolate.requests[0]).toMatchObject({ durability: "strict", clientKey: "203.0.113.7", reportOnly: false });
  });
});

describe("operators", () => {
  test("may name a client in any spelling, and are told when a text names none", async () => {
    const rules = rulesOf();
    await blockClient(RATE_LIMITER, "2001:DB8:0:0:1:2:3:4", 60, "asked to");
    const reply = await inspectClient(RATE_LIMITER, rules, "2001:db8::/64", null);
    expect(reply).toMatchObject({
      kind: "client",
      clientKey: "2001:db8::/64",
      state: { block: { reason: "asked to", byHand: true } },
    });
    const memory = new BlockMemory();
    expect(await resetClient(RATE_LIMITER, memory, "nonsense")).toEqual({ kind: "invalid_key" });
    expect(await inspectClient(RATE_LIMITER, rules, "203.0.113.0/24", null)).toEqual({ kind: "invalid_key" });
    expect(await blockClient(RATE_LIMITER, "", 1, "")).toEqual({ kind: "invalid_key" });
  });

  test("are told when there was nothing to reset", async () => {
    expect(await resetClient(RATE_LIMITER, new BlockMemory(), "198.51.100.9")).toEqual({
      kind: "nothing_to_reset",
      clientKey: "198.51.100.9",
    });
  });

  test("see a client's own limit, and that of a class", async () => {
    const rules = rulesOf({
      clients: { "203.0.113.7": { requests: 7, window: 60, blockDuration: 300 } },
      routes: { generate: { requests: 3, window: 60, blockDuration: 300 } },
    });
    const remaining = async (key: string, routeClass: "generate" | null) => {
      const reply = await inspectClient(RATE_LIMITER, rules, key, routeClass);
      return reply.kind === "client" ? reply.state.remaining : null;
    };
    expect(await remaining("203.0.113.7", null)).toBe(7);
    expect(await remaining("203.0.113.8", null)).toBe(100);
    expect(await remaining("203.0.113.8", "generate")).toBe(3);
  });
});
