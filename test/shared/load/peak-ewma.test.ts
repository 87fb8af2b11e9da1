import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { costAt, observe, observeAtLeast } from "../../../src/shared/load/peak-ewma.ts";
import type { LoadSample } from "../../../src/shared/contract.ts";

const latencies = fc.double({ min: 0, max: 1_200_000, noNaN: true });
const pauses = fc.integer({ min: 0, max: 600_000 });

describe("Peak EWMA", () => {
  it("has no cost without history", () => {
    expect(costAt(null, 5)).toBeNull();
  });

  it("takes a peak in full at once", () => {
    const sample = observe(observe(null, 100, 0), 900, 1);
    expect(costAt(sample, 1)).toBe(900);
  });

  it("is raised by what must at least be reckoned with, never lowered", () => {
    expect(observeAtLeast(null, 70, 5)).toEqual({ costMs: 70, atMs: 5 });
    expect(observeAtLeast(null, 0, 5)).toBeNull();
    fc.assert(
      fc.property(latencies, latencies, pauses, pauses, (seen, least, pause, after) => {
        const sample = observe(null, seen, 0);
        const raised = observeAtLeast(sample, least, pause)!;
        expect(costAt(raised, pause)).toBe(Math.max(least, costAt(sample, pause)!));
        expect(costAt(raised, pause + after)).toBeGreaterThanOrEqual(costAt(sample, pause + after)! * (1 - 1e-9));
      }),
    );
  });

  it("is Finagle's arithmetic with a decay of 10 s for latencies below a second", () => {
    const events = fc.array(fc.tuple(fc.integer({ min: 0, max: 1000 }), pauses), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(events, (given) => {
        let sample: LoadSample | null = null;
        let cost = 0;
        let stamp = 0;
        let nowMs = 0;
        for (const [rtt, pause] of given) {
          nowMs += pause;
          if (rtt > cost) cost = rtt;
          else {
            const kept = Math.exp(-(nowMs - stamp) / 10_000);
            cost = cost * kept + rtt * (1 - kept);
          }
          stamp = nowMs;
          sample = observe(sample, rtt, nowMs);
          expect(costAt(sample, nowMs)).toBeCloseTo(cost, 9);
        }
      }),
    );
  });

  it("stays between what was observed, and fades without ever rising", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(latencies, pauses), { minLength: 1, maxLength: 30 }), pauses, (events, rest) => {
        let sample: LoadSample | null = null;
        let nowMs = 0;
        for (const [latency, pause] of events) {
          nowMs += pause;
          sample = observe(sample, latency, nowMs);
        }
        const cost = costAt(sample, nowMs)!;
        const seen = events.map(([latency]) => latency);
        expect(cost).toBeGreaterThanOrEqual(Math.min(...seen) * (1 - 1e-12));
        expect(cost).toBeLessThanOrEqual(Math.max(...seen));
        expect(costAt(sample, nowMs + rest)!).toBeLessThanOrEqual(cost);
      }),
    );
  });

  it("still reckons with most of a two-minute generation when the next one has taken as long", () => {
    const sample = observe(null, 120_000, 0);
    expect(costAt(sample, 120_000)!).toBeGreaterThan(0.7 * 120_000);
  });

  it("takes a clock that runs backwards for one that stands", () => {
    const sample = observe(null, 100, 1000);
    expect(costAt(sample, 0)).toBe(100);
    expect(observe(sample, 50, 0)).toEqual({ costMs: 100, atMs: 1000 });
  });

  it("changes neither the sample it is given nor its own answer", () => {
    const sample = Object.freeze(observe(null, 100, 0));
    observe(sample, 500, 10);
    expect(costAt(sample, 10)).toBe(costAt(sample, 10));
  });
});
