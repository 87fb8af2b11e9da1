import {
  abortAllDurableObjects,
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { RateLimiter } from "../../src/durable/rate-limiter.ts";
import { ledgerName } from "../../src/shared/contract.ts";
import type { Admission, AdmitRequest, BlockEntry, OperationsLedgerApi } from "../../src/shared/contract.ts";
import type { Limit } from "../../src/shared/config/config.ts";

interface Bindings {
  readonly RATE_LIMITER: DurableObjectNamespace<RateLimiter>;
  readonly OPERATIONS_LEDGER: DurableObjectNamespace;
}
const { RATE_LIMITER, OPERATIONS_LEDGER } = env as unknown as Bindings;

const limit: Limit = { requests: 100, window: 60, blockDuration: 300 };
/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;
/** By then what is written behind has been written. */
const writtenBehindMs = 1000;

function limiter(clientKey: string) {
  return RATE_LIMITER.get(RATE_LIMITER.idFromName(clientKey));
}

function requestOf(clientKey: string, given: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    clientKey,
    policy: "default",
    durability: "write-behind",
    reportOnly: false,
    refusedFromMemory: 0,
    ...given,
  };
}

async function admitMany(clientKey: string, times: number, given: Partial<AdmitRequest> = {}): Promise<Admission[]> {
  const stub = limiter(clientKey);
  return Promise.all(Array.from({ length: times }, () => stub.admit(limit, requestOf(clientKey, given))));
}

async function inspect(clientKey: string) {
  return limiter(clientKey).inspect(limit, "default");
}

function ledger(): OperationsLedgerApi {
  return OPERATIONS_LEDGER.get(OPERATIONS_LEDGER.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
}

async function listedBlocks(): Promise<readonly BlockEntry[]> {
  return (await ledger().blocks(null, 100)).blocks;
}

function storedKeys(clientKey: string): Promise<string[]> {
  return runInDurableObject(limiter(clientKey), (_, state) => [...state.storage.kv.list()].map(([key]) => key));
}

function alarmOf(clientKey: string): Promise<number | null> {
  return runInDurableObject(limiter(clientKey), (_, state) => state.storage.getAlarm());
}

/** Waits for the object's write behind, which its own timer does. */
function untilStored(clientKey: string): Promise<void> {
  return vi.waitFor(async () => expect(await storedKeys(clientKey)).toEqual(["client"]), {
    timeout: 2 * writtenBehindMs,
    interval: 20,
  });
}

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

describe("the limiter of a client", () => {
  test("lets exactly 100 of 300 concurrent requests pass", async () => {
    const answers = await admitMany("203.0.113.1", 300);
    expect(answers.filter((answer) => answer.kind === "admitted")).toHaveLength(100);
    expect(answers.filter((answer) => answer.kind === "blocked" && answer.started)).toHaveLength(1);
    expect((await inspect("203.0.113.1")).block).toMatchObject({ refused: 200, byHand: false });
  });

  test("refuses none of 20 clients with 30 requests each at once", async () => {
    const clients = Array.from({ length: 20 }, (_, index) => `198.51.100.${index}`);
    const answers = await Promise.all(clients.map((client) => admitMany(client, 30)));
    expect(answers.flat().every((answer) => answer.kind === "admitted")).toBe(true);
  });

  test("answers with the rest of the window, then with the rest of the block, and admits again on time", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    const answers = await admitMany("203.0.113.2", 101);
    expect(answers[0]).toEqual({ kind: "admitted", remaining: 99, resetMs: 60_000 });
    expect(answers[100]).toEqual({ kind: "blocked", retryAfterMs: 300_000, untilMs: start + 300_000, started: true });
    vi.setSystemTime(start + 299_999);
    expect(await admitMany("203.0.113.2", 1)).toEqual([
      { kind: "blocked", retryAfterMs: 1, untilMs: start + 300_000, started: false },
    ]);
    vi.setSystemTime(start + 300_000);
    expect(await admitMany("203.0.113.2", 1)).toEqual([{ kind: "admitted", remaining: 99, resetMs: 60_000 }]);
  });

  test("in report mode starts no block and stores none", async () => {
    const answers = await admitMany("203.0.113.3", 102, { reportOnly: true });
    expect(answers.filter((answer) => answer.kind === "blocked")).toHaveLength(2);
    expect((await inspect("203.0.113.3")).block).toBeNull();
    expect(await listedBlocks()).toEqual([]);
  });

  test("shows its state without changing it, and without leaving anything behind", async () => {
    const unseen = { clientKey: "203.0.113.4", count: 0, remaining: 100, block: null };
    expect(await inspect("203.0.113.4")).toEqual(unseen);
    expect(await storedKeys("203.0.113.4")).toEqual([]);
    await admitMany("203.0.113.4", 3);
    expect(await inspect("203.0.113.4")).toMatchObject({ count: 3, remaining: 97 });
    expect(await inspect("203.0.113.4")).toMatchObject({ count: 3, remaining: 97 });
  });
});

describe("what survives", () => {
  test.each(["write-behind", "strict"] as const)(
    "eviction after 50 of 100, %s: the 101st is still the first refused",
    async (durability) => {
      const client = `evicted-${durability}`;
      await admitMany(client, 50, { durability });
      await untilStored(client);
      await evictDurableObject(limiter(client));
      expect(await inspect(client)).toMatchObject({ count: 50 });
      const answers = await admitMany(client, 51, { durability });
      expect(answers.map((answer) => answer.kind)).toEqual([...Array<string>(50).fill("admitted"), "blocked"]);
    },
  );

  test("strict: a crash right after an answer loses not one request", async () => {
    await admitMany("203.0.113.5", 50, { durability: "strict" });
    await abortAllDurableObjects();
    expect(await inspect("203.0.113.5")).toMatchObject({ count: 50 });
  });

  test("write-behind: a crash loses at most the last second", async () => {
    await admitMany("203.0.113.6", 30);
    await untilStored("203.0.113.6");
    await admitMany("203.0.113.6", 20);
    await abortAllDurableObjects();
    const { count } = await inspect("203.0.113.6");
    expect(count).toBeGreaterThanOrEqual(30);
    expect(count).toBeLessThanOrEqual(50);
  });

  test.each(["write-behind", "strict"] as const)(
    "a block, %s: a crash right after its answer does not lift it",
    async (durability) => {
      const client = `blocked-${durability}`;
      const [last] = (await admitMany(client, 101, { durability })).slice(-1);
      expect(last).toMatchObject({ kind: "blocked", started: true });
      await abortAllDurableObjects();
      const again = await admitMany(client, 1, { durability });
      expect(again).toMatchObject([{ kind: "blocked", started: false }]);
      const untilMs = (answer: Admission | undefined) => (answer?.kind === "blocked" ? answer.untilMs : null);
      expect(untilMs(again[0])).toBe(untilMs(last));
    },
  );

  test("a crash during a block by hand does not lift it", async () => {
    await limiter("203.0.113.7").block(60, "scraping");
    await abortAllDurableObjects();
    expect((await inspect("203.0.113.7")).block).toMatchObject({ reason: "scraping", byHand: true });
    expect((await admitMany("203.0.113.7", 1))[0]?.kind).toBe("blocked");
  });
});

describe("storage", () => {
  test("is deleted by the alarm when the window is empty, and not before", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    await admitMany("203.0.113.8", 1, { durability: "strict" });
    expect(await alarmOf("203.0.113.8")).toBe(start + 60_000);
    vi.setSystemTime(start + 40_000);
    await admitMany("203.0.113.8", 1, { durability: "strict" });
    expect(await alarmOf("203.0.113.8")).toBe(start + 60_000);

    vi.setSystemTime(start + 60_000);
    expect(await runDurableObjectAlarm(limiter("203.0.113.8"))).toBe(true);
    expect(await storedKeys("203.0.113.8")).toEqual(["client"]);
    expect(await alarmOf("203.0.113.8")).toBe(start + 100_000);

    vi.setSystemTime(start + 100_000);
    expect(await runDurableObjectAlarm(limiter("203.0.113.8"))).toBe(true);
    expect(await storedKeys("203.0.113.8")).toEqual([]);
    expect(await alarmOf("203.0.113.8")).toBeNull();
  });

  test("of a block is kept until the block is over, also by an object that was evicted meanwhile", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    await admitMany("203.0.113.9", 101);
    expect(await alarmOf("203.0.113.9")).toBe(start + 300_000);
    await evictDurableObject(limiter("203.0.113.9"));
    vi.setSystemTime(start + 300_000);
    expect(await runDurableObjectAlarm(limiter("203.0.113.9"))).toBe(true);
    expect(await storedKeys("203.0.113.9")).toEqual([]);
  });

  test("is not kept for the window that a shorter block has emptied, nor for a longer block that another took the place of", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    const daily: Limit = { requests: 1, window: 86_400, blockDuration: 10 };
    const stub = limiter("203.0.113.16");
    const strict = requestOf("203.0.113.16", { durability: "strict" });
    await stub.admit(daily, strict);
    expect(await alarmOf("203.0.113.16")).toBe(start + 86_400_000);
    expect((await stub.admit(daily, strict)).kind).toBe("blocked");
    expect(await alarmOf("203.0.113.16")).toBe(start + 10_000);

    await limiter("203.0.113.17").block(30 * 86_400, "a slip of the pen");
    await limiter("203.0.113.17").block(60, "what was meant");
    expect(await alarmOf("203.0.113.17")).toBe(start + 60_000);
  });

  test("an alarm that the platform lost is set again by the next request", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    await admitMany("203.0.113.10", 1, { durability: "strict" });
    await runInDurableObject(limiter("203.0.113.10"), (_, state) => state.storage.deleteAlarm());
    vi.setSystemTime(start + 60_001);
    await admitMany("203.0.113.10", 1, { durability: "strict" });
    expect(await alarmOf("203.0.113.10")).toBe(start + 120_001);
  });
});

describe("operators", () => {
  test("a reset lifts the block and empties the window, and says whether there was anything", async () => {
    await admitMany("203.0.113.11", 101);
    expect(await limiter("203.0.113.11").reset()).toBe(true);
    expect(await inspect("203.0.113.11")).toMatchObject({ count: 0, block: null });
    expect(await storedKeys("203.0.113.11")).toEqual([]);
    expect((await admitMany("203.0.113.11", 1))[0]).toMatchObject({ kind: "admitted", remaining: 99 });
    expect(await limiter("never-seen").reset()).toBe(false);
  });

  test("a block by hand holds for its seconds and then leaves an empty window", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    await admitMany("203.0.113.12", 40);
    const state = await limiter("203.0.113.12").block(30, "asked to");
    expect(state).toEqual({
      clientKey: "203.0.113.12",
      count: 0,
      remaining: 0,
      block: {
        clientKey: "203.0.113.12",
        sinceMs: start,
        untilMs: start + 30_000,
        reason: "asked to",
        refused: 0,
        byHand: true,
      },
    });
    vi.setSystemTime(start + 30_000);
    expect((await admitMany("203.0.113.12", 1))[0]).toMatchObject({ kind: "admitted", remaining: 99 });
  });

  test("see a block in the list while it holds, and no longer once it was reset", async () => {
    await admitMany("203.0.113.13", 101);
    await vi.waitFor(async () =>
      expect(await listedBlocks()).toMatchObject([
        { clientKey: "203.0.113.13", reason: "more than 100 requests in 60 s" },
      ]),
    );
    const events = await ledger().events({ sinceMs: 0, kind: "client_blocked", limit: 10 });
    expect(events).toMatchObject([{ subject: "203.0.113.13", actor: "system" }]);
    await limiter("203.0.113.13").reset();
    await vi.waitFor(async () => expect(await listedBlocks()).toEqual([]));
  });

  test("the refusals that isolates made from memory are counted with the block", async () => {
    await admitMany("203.0.113.14", 101);
    await admitMany("203.0.113.14", 1, { refusedFromMemory: 500 });
    expect((await inspect("203.0.113.14")).block?.refused).toBe(502);
  });

  test("a ledger that fails changes nothing for the client", async () => {
    await runInDurableObject(limiter("203.0.113.15"), (instance) => {
      const broken = {
        idFromName: () => {
          throw new Error("no ledger");
        },
      };
      Object.assign(instance, { env: { OPERATIONS_LEDGER: broken } });
    });
    const answers = await admitMany("203.0.113.15", 101);
    expect(answers.at(-1)).toMatchObject({ kind: "blocked", started: true });
    expect(await limiter("203.0.113.15").reset()).toBe(true);
  });
});
