import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawTier, shareLoad } from "../../../src/shared/balance/tiers.ts";
import { seededRng } from "../../../src/shared/rng.ts";

const tiers = (...list: [up: number, total: number][]) => list.map(([up, total]) => ({ up, total }));
const loads = (...list: [up: number, total: number][]) =>
  shareLoad(tiers(...list), 1.4, 0.5).map((share) => Math.round(share.load * 100));
const panics = (...list: [up: number, total: number][]) =>
  shareLoad(tiers(...list), 1.4, 0.5).map((share) => share.panic);

describe("tiers", () => {
  it("spill over as Envoy's priority levels do", () => {
    expect(loads([4, 4], [4, 4])).toEqual([100, 0]);
    expect(loads([72, 100], [100, 100])).toEqual([100, 0]);
    expect(loads([71, 100], [100, 100])).toEqual([99, 1]);
    expect(loads([2, 4], [2, 4])).toEqual([70, 30]);
    expect(loads([1, 4], [2, 2])).toEqual([35, 65]);
    expect(loads([0, 4], [4, 4])).toEqual([0, 100]);
    expect(loads([25, 100], [25, 100], [0, 100], [50, 100])).toEqual([35, 35, 0, 30]);
    expect(loads([50, 100], [25, 100], [0, 100])).toEqual([70, 30, 0]);
  });

  it("share by size and ignore health when all are in panic", () => {
    expect(loads([1, 4], [1, 4])).toEqual([50, 50]);
    expect(panics([1, 4], [1, 4])).toEqual([true, true]);
    expect(loads([0, 6], [0, 2])).toEqual([75, 25]);
  });

  it("do not panic while the tiers together can carry the load", () => {
    expect(panics([1, 4], [2, 2])).toEqual([false, false]);
    expect(panics([0, 4], [4, 4])).toEqual([false, false]);
  });

  it("panic one by one when the load can't be carried", () => {
    expect(panics([1, 4], [2, 4])).toEqual([false, false]);
    expect(panics([1, 10], [5, 10])).toEqual([true, false]);
  });

  it("always share the whole load", () => {
    const tier = fc
      .integer({ min: 1, max: 50 })
      .chain((total) => fc.record({ total: fc.constant(total), up: fc.nat(total) }));
    fc.assert(
      fc.property(fc.array(tier, { minLength: 1, maxLength: 6 }), (list) => {
        const shares = shareLoad(list, 1.4, 0.5);
        expect(shares.reduce((sum, share) => sum + share.load, 0)).toBeCloseTo(1, 9);
        for (const [index, share] of shares.entries()) {
          if (share.load > 1e-12 && !share.panic) expect(list[index]!.up).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("are drawn in proportion to their load", () => {
    const shares = shareLoad(tiers([2, 4], [2, 4]), 1.4, 0.5);
    const rng = seededRng(11);
    const first = Array.from({ length: 100_000 }, () => drawTier(shares, rng)).filter((tier) => tier === 0).length;
    expect(Math.abs(first / 100_000 - 0.7)).toBeLessThan(0.01);
  });
});
