import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Isolates, isolateSilenceMs } from "../../../src/shared/fleet/isolates.ts";

describe("the isolates' requests in flight", () => {
  test("are the sum of every living isolate's last word, whatever the order (against a list of all reports)", () => {
    const report = fc.record({
      name: fc.constantFrom("i", "j", "k"),
      inFlight: fc.dictionary(fc.constantFrom("a", "b"), fc.integer({ min: 1, max: 5 })),
      afterMs: fc.nat(6000),
    });
    fc.assert(
      fc.property(fc.array(report, { maxLength: 40 }), (reports) => {
        const isolates = new Isolates();
        const heard: { name: string; inFlight: Record<string, number>; atMs: number }[] = [];
        let nowMs = 0;
        for (const { name, inFlight, afterMs } of reports) {
          nowMs += afterMs;
          isolates.report(name, inFlight, nowMs);
          heard.push({ name, inFlight, atMs: nowMs });
          const last = new Map(heard.map((entry) => [entry.name, entry]));
          const living = [...last.values()].filter((entry) => nowMs - entry.atMs < isolateSilenceMs);
          expect(isolates.count).toBe(living.length);
          for (const backend of ["a", "b"]) {
            const sum = living.reduce((total, entry) => total + (entry.inFlight[backend] ?? 0), 0);
            expect(isolates.inFlight(backend)).toBe(sum);
          }
        }
      }),
    );
  });

  test("say whether anything has changed", () => {
    const isolates = new Isolates();
    expect(isolates.report("i", {}, 0)).toBe(false);
    expect(isolates.report("i", { a: 1 }, 1)).toBe(true);
    expect(isolates.report("i", {}, 2)).toBe(true);
    expect(isolates.forgetSilent(2 + isolateSilenceMs)).toBe(false);
  });
});
