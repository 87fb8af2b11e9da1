import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { convictingNats, improbability, isOutlier, isSurprisingStreak } from "../../../src/shared/health/comparison.ts";
import { addOutcomes, totalSince } from "../../../src/shared/health/outcome-counts.ts";
import type { OutcomeCounts } from "../../../src/shared/health/outcome-counts.ts";

const total = (failures: number, outcomes: number) => ({ failures, outcomes });

const logFactorials = [0];
for (let index = 1; index <= 4000; index += 1)
  logFactorials.push((logFactorials[index - 1] as number) + Math.log(index));
const logChoose = (n: number, k: number) =>
  (logFactorials[n] as number) - (logFactorials[k] as number) - (logFactorials[n - k] as number);

/** Exactly: the probability that at least so many of the pool's failures fall on this one, if all outcomes are shuffled. */
function exactTail(failures: number, outcomes: number, allFailures: number, all: number): number {
  let sum = 0;
  for (let k = failures; k <= Math.min(outcomes, allFailures); k += 1) {
    if (allFailures - k > all - outcomes) continue;
    sum += Math.exp(logChoose(outcomes, k) + logChoose(all - outcomes, allFailures - k) - logChoose(all, allFailures));
  }
  return sum;
}

describe("the improbability of one backend's failures", () => {
  test("is never overstated: the exact probability is at most what it says", () => {
    const counts = fc.record({
      outcomes: fc.integer({ min: 1, max: 1500 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(counts, counts, (one, rest) => {
        const failures = Math.round(one.outcomes * one.share);
        const restFailures = Math.round(rest.outcomes * rest.share);
        const nats = improbability(total(failures, one.outcomes), total(restFailures, rest.outcomes));
        const exact = exactTail(failures, one.outcomes, failures + restFailures, one.outcomes + rest.outcomes);
        expect(nats).toBeGreaterThanOrEqual(0);
        expect(Math.log(exact)).toBeLessThanOrEqual(-nats + 1e-6);
      }),
      { numRuns: 2000 },
    );
  });

  test("is none for one that fails no more than the rest", () => {
    expect(improbability(total(30, 100), total(90, 300))).toBe(0);
    expect(improbability(total(0, 100), total(0, 300))).toBe(0);
    expect(improbability(total(100, 100), total(300, 300))).toBe(0);
    expect(improbability(total(10, 100), total(90, 300))).toBe(0);
  });

  test("of all failures of an equal pool is ln n for each", () => {
    for (const size of [2, 4, 10]) {
      expect(improbability(total(20, 1000), total(0, 1000 * (size - 1)))).toBeCloseTo(20 * Math.log(size), 6);
    }
  });
});

describe("an outlier", () => {
  test.each([
    ["one of four failing 30 % for 20 s at 5 rps", total(30, 100), total(0, 300), true],
    ["one of two failing 30 % for 20 s at 5 rps", total(30, 100), total(0, 100), true],
    ["one of twenty failing 30 % for 5 s at 5 rps", total(8, 25), total(0, 475), true],
    ["one of four where all fail 30 %, and it by chance 40 %", total(40, 100), total(90, 300), false],
    ["one of four where another fails as well", total(45, 150), total(45, 450), true],
    ["one with fewer outcomes than say anything", total(19, 19), total(0, 1000), false],
    ["one whose rest is silent", total(100, 100), total(0, 0), false],
    ["one that certainly fails 5 % where the rest fail not at all", total(500, 10_000), total(0, 30_000), false],
    ["one that fails 2 of 20, by chance", total(2, 20), total(0, 1000), false],
  ])("%s: %o against %o is %s", (_name, one, rest, is) => {
    expect(isOutlier(one, rest, 20)).toBe(is);
  });

  test("fires in pools of two to twenty, where mean − 1.9 σ can't below five", () => {
    for (let size = 2; size <= 20; size += 1)
      expect(isOutlier(total(45, 150), total(0, 150 * (size - 1)), 20)).toBe(true);
  });
});

describe("a streak", () => {
  test.each([
    [5, 0, true],
    [5, 0.05, true],
    [5, 0.3, false],
    [10, 0.3, true],
    [100, 1, false],
  ])("of %i where others fail at a rate of %d is a surprise: %s", (length, rate, is) => {
    expect(isSurprisingStreak(length, rate)).toBe(is);
  });

  test("convicts at the same improbability as a rate", () => {
    expect(isSurprisingStreak(convictingNats, Math.exp(-1))).toBe(true);
    expect(isSurprisingStreak(convictingNats - 1, Math.exp(-1))).toBe(false);
  });
});

describe("the sliding counts", () => {
  test("say what a list says, to the slot", () => {
    const windowMs = 30_000;
    const slotMs = 3_000;
    const steps = fc.array(fc.record({ successes: fc.nat(20), failures: fc.nat(20), afterMs: fc.nat(9_000) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (drawn, share) => {
        let counts: OutcomeCounts = [];
        let nowMs = 1_795_000_000_000;
        const all: { slot: number; successes: number; failures: number }[] = [];
        for (const { successes, failures, afterMs } of drawn) {
          nowMs += afterMs;
          counts = addOutcomes(counts, successes, failures, windowMs, nowMs);
          all.push({ slot: Math.floor(nowMs / slotMs), successes, failures });
          const sinceMs = nowMs - windowMs * share;
          const standing = all.filter((one) => one.slot > Math.floor(sinceMs / slotMs));
          expect(totalSince(counts, windowMs, sinceMs)).toEqual({
            failures: standing.reduce((sum, one) => sum + one.failures, 0),
            outcomes: standing.reduce((sum, one) => sum + one.failures + one.successes, 0),
          });
          expect(counts.length).toBeLessThanOrEqual(10);
        }
      }),
    );
  });
});
