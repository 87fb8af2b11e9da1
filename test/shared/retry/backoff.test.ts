import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffMs } from "../../../src/shared/retry/backoff.ts";
import { seededRng } from "../../../src/shared/rng.ts";

const config = { backoffBase: 0.1, backoffCap: 2 };
const almostOne = 1 - 2 ** -32;

describe("the wait before a repetition", () => {
  test.each([
    [0, 100],
    [1, 200],
    [2, 400],
    [3, 800],
    [4, 1600],
    [5, 2000],
    [50, 2000],
    [5000, 2000],
  ])("after %i repetitions is anything up to %i ms", (index, most) => {
    expect(backoffMs(index, config, () => 0)).toBe(0);
    expect(backoffMs(index, config, () => 0.5)).toBeCloseTo(most / 2, 9);
    expect(backoffMs(index, config, () => almostOne)).toBeCloseTo(most, 3);
  });

  test("never exceeds the cap and never is negative", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.double({ min: 0, max: almostOne, noNaN: true }), (index, chance) => {
        const waitMs = backoffMs(index, config, () => chance);
        expect(waitMs).toBeGreaterThanOrEqual(0);
        expect(waitMs).toBeLessThanOrEqual(2000);
      }),
    );
  });

  test("is spread evenly: a thousand clients that failed together come back a thousand different times", () => {
    const rng = seededRng(7);
    const waits = Array.from({ length: 1000 }, () => backoffMs(3, config, rng));
    const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length;
    expect(mean).toBeGreaterThan(370);
    expect(mean).toBeLessThan(430);
    expect(new Set(waits).size).toBe(1000);
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const inside = waits.filter((wait) => wait >= tenth * 80 && wait < (tenth + 1) * 80).length;
      expect(inside).toBeGreaterThan(60);
    }
  });
});
