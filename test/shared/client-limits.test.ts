import { describe, expect, test } from "vitest";
import { ClientLimits } from "../../src/shared/client-limits.ts";
import type { Limit } from "../../src/shared/config/config.ts";

const limit: Limit = { requests: 2, window: 10, blockDuration: 30 };
const start = 1_795_000_000_000;
const hour = 3_600_000;
const byDefault = { policy: "default", reportOnly: false, refusedFromMemory: 0 } as const;
const generate = { ...byDefault, policy: "generate" } as const;

describe("what is remembered of a client", () => {
  test("a class with its own limit is counted and blocked apart from the rest", () => {
    const limits = new ClientLimits();
    for (let index = 0; index < 3; index += 1) limits.admit(limit, generate, start);
    expect(limits.admit(limit, generate, start).kind).toBe("blocked");
    expect(limits.admit(limit, byDefault, start).kind).toBe("admitted");
    expect(limits.blockAt(start)).toEqual({
      sinceMs: start,
      untilMs: start + 30_000,
      reason: "more than 2 requests in 10 s (generate)",
      refused: 2,
      byHand: false,
    });
  });

  test("an operator's block holds for every class, ends on time and leaves the windows empty", () => {
    const limits = new ClientLimits();
    limits.admit(limit, byDefault, start);
    limits.block(5, "scraping", start);
    expect(limits.admit(limit, byDefault, start + 4999)).toEqual({
      kind: "blocked",
      retryAfterMs: 1,
      untilMs: start + 5000,
      started: false,
    });
    expect(limits.admit(limit, generate, start + 4999).kind).toBe("blocked");
    expect(limits.blockAt(start + 4999)).toMatchObject({ reason: "scraping", byHand: true, refused: 2 });
    expect(limits.admit(limit, byDefault, start + 5000)).toMatchObject({ kind: "admitted", remaining: 1 });
  });

  test("an operator's short block does not shorten a long one of the limiter", () => {
    const limits = new ClientLimits();
    for (let index = 0; index < 3; index += 1) limits.admit(limit, byDefault, start);
    limits.block(5, "by hand", start);
    expect(limits.blockAt(start)).toMatchObject({ untilMs: start + 30_000, byHand: false });
    expect(limits.admit(limit, byDefault, start)).toMatchObject({ kind: "blocked", retryAfterMs: 30_000 });
    expect(limits.admit(limit, generate, start)).toMatchObject({ kind: "blocked", retryAfterMs: 5000 });
    expect(limits.admit(limit, byDefault, start + 6000)).toMatchObject({ kind: "blocked", retryAfterMs: 24_000 });
  });

  test("refusals that isolates made from memory are added to the block they belong to, and to no other", () => {
    const limits = new ClientLimits();
    for (let index = 0; index < 3; index += 1) limits.admit(limit, byDefault, start);
    limits.admit(limit, { ...byDefault, refusedFromMemory: 40 }, start + 1000);
    expect(limits.blockAt(start + 1000)?.refused).toBe(42);
    limits.admit(limit, { ...byDefault, refusedFromMemory: 9 }, start + 30_000);
    expect(limits.blockAt(start + 30_000)).toBeNull();
  });

  test("a clock set back by an hour neither lengthens a block nor empties or keeps the window", () => {
    const limits = new ClientLimits();
    for (let index = 0; index < 3; index += 1) limits.admit(limit, byDefault, start);
    expect(limits.admit(limit, byDefault, start - hour)).toMatchObject({
      kind: "blocked",
      retryAfterMs: 30_000,
      untilMs: start - hour + 30_000,
    });
    expect(limits.admit(limit, byDefault, start - hour + 29_999).kind).toBe("blocked");
    expect(limits.admit(limit, byDefault, start - hour + 30_000).kind).toBe("admitted");
    limits.admit(limit, byDefault, start - 2 * hour);
    expect(limits.count(limit, "default", start - 2 * hour + 9999)).toBe(2);
    expect(limits.count(limit, "default", start - 2 * hour + 10_000)).toBe(0);
  });

  test("it is empty when the last block and the last counted request are over", () => {
    const limits = new ClientLimits();
    expect(limits.emptyAtMs(start)).toBeLessThan(start);
    limits.admit({ ...limit, window: 100 }, generate, start);
    limits.admit(limit, byDefault, start + 1);
    expect(limits.emptyAtMs(start + 1)).toBe(start + 100_000);
  });

  test("a record of a shape that is not known reads as nothing instead of failing", () => {
    const limits = new ClientLimits();
    limits.admit(limit, byDefault, start);
    const record = { ...limits.toRecord(), version: 99 };
    expect(ClientLimits.fromRecord(record).count(limit, "default", start)).toBe(0);
    expect(ClientLimits.fromRecord(undefined).count(limit, "default", start)).toBe(0);
  });
});
