import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Cooldown } from "../../../src/shared/retry/cooldown.ts";

test("nothing is held back before the first failure", () => {
  expect(new Cooldown(1000).leftMs(0)).toBe(0);
});

test("after a failure the pause is between half and one and a half times the mean, and then it is over", () => {
  fc.assert(
    fc.property(fc.nat(1e9), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (nowMs, chance) => {
      const cooldown = new Cooldown(1000);
      cooldown.begin(nowMs, () => chance);
      expect(cooldown.leftMs(nowMs)).toBeGreaterThanOrEqual(500);
      expect(cooldown.leftMs(nowMs)).toBeLessThanOrEqual(1500);
      expect(cooldown.leftMs(nowMs + 1500)).toBe(0);
    }),
  );
});

test("those who fail together come back apart", () => {
  const pauses = [0, 0.25, 0.5, 0.75].map((chance) => {
    const cooldown = new Cooldown(1000);
    cooldown.begin(0, () => chance);
    return cooldown.leftMs(0);
  });
  expect(pauses).toEqual([500, 750, 1000, 1250]);
});
