import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RetryBudget } from "../../../src/shared/retry/budget.ts";

const start = 1_795_000_000_000;
const config = { budgetRatio: 0.2, budgetPerSecond: 10 };

describe("the fleet's retries", () => {
  test("without any traffic ten a second are free, over ten seconds", () => {
    expect(new RetryBudget(config).available(start)).toBe(100);
  });

  test("a fifth of the last ten seconds' requests comes on top", () => {
    const budget = new RetryBudget(config);
    budget.record(1000, 0, start);
    expect(budget.available(start)).toBe(300);
    expect(budget.available(start + 9_999)).toBe(300);
    expect(budget.available(start + 10_000)).toBe(100);
  });

  test("what was spent is back ten seconds later, and there is never less than nothing", () => {
    const budget = new RetryBudget(config);
    budget.record(0, 70, start);
    expect(budget.available(start)).toBe(30);
    budget.record(0, 70, start + 500);
    expect(budget.available(start + 500)).toBe(0);
    expect(budget.available(start + 10_000)).toBe(100);
  });

  test("each isolate gets its part, and all parts together are the whole", () => {
    const budget = new RetryBudget(config);
    for (const isolates of [1, 3, 40, 1000]) expect(budget.share(isolates, start) * isolates).toBeCloseTo(100, 9);
    expect(budget.share(0, start)).toBe(100);
  });

  test("asking costs nothing", () => {
    const budget = new RetryBudget(config);
    for (let index = 0; index < 1000; index += 1) budget.share(1, start + index);
    expect(budget.available(start + 1000)).toBe(100);
  });

  test("a restart, a long silence and a clock set back leave no old seconds in the sum", () => {
    const budget = new RetryBudget(config);
    budget.record(500, 20, start);
    expect(budget.available(start + 3_600_000)).toBe(100);
    expect(budget.available(start - 3_600_000)).toBe(100);
  });

  test("is what a list of the last ten seconds says, at any sequence", () => {
    const steps = fc.array(fc.record({ requests: fc.nat(500), retries: fc.nat(200), afterMs: fc.nat(4_000) }), {
      maxLength: 80,
      size: "max",
    });
    fc.assert(
      fc.property(steps, (drawn) => {
        const budget = new RetryBudget(config);
        const all: { requests: number; retries: number; second: number }[] = [];
        let nowMs = start;
        for (const { requests, retries, afterMs } of drawn) {
          nowMs += afterMs;
          budget.record(requests, retries, nowMs);
          all.push({ requests, retries, second: Math.floor(nowMs / 1000) });
          const standing = all.filter((one) => one.second > Math.floor(nowMs / 1000) - 10);
          const earned = standing.reduce((sum, one) => sum + 0.2 * one.requests - one.retries, 100);
          expect(budget.available(nowMs)).toBeCloseTo(Math.max(0, earned), 6);
        }
      }),
    );
  });

  test("an outage at 500 requests a second is answered by at most a fifth and ten a second of retries", () => {
    const budget = new RetryBudget(config);
    let made = 0;
    for (let tick = 0; tick < 600; tick += 1) {
      const nowMs = start + tick * 100;
      budget.record(50, 0, nowMs);
      const wanted = 100;
      const allowed = Math.min(wanted, Math.floor(budget.available(nowMs)));
      budget.record(0, allowed, nowMs);
      made += allowed;
    }
    // One minute: 110 a second, and the ten seconds' worth that stands at the start.
    expect(made).toBeLessThanOrEqual(60 * 110 + 200);
    expect(made).toBeGreaterThanOrEqual(60 * 110 - 1100);
  });
});
