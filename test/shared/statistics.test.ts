import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketOf } from "../../src/shared/histogram.ts";
import { outcomeKinds } from "../../src/shared/outcome.ts";
import type { OutcomeKind } from "../../src/shared/outcome.ts";
import { Statistics, statisticsWindows } from "../../src/shared/statistics.ts";
import type { StatisticsWindow, StoredSlot } from "../../src/shared/statistics.ts";

/** A whole multiple of every slot's width. */
const start = 1_795_000_000_000 - (1_795_000_000_000 % 1_800_000);
const minute = 60_000;
const hour = 60 * minute;

const lengths: Record<StatisticsWindow, { windowMs: number; slotMs: number }> = {
  minute: { windowMs: minute, slotMs: 5_000 },
  hour: { windowMs: hour, slotMs: minute },
  day: { windowMs: 24 * hour, slotMs: 30 * minute },
};

interface Sample {
  readonly kind: OutcomeKind;
  readonly latencyMs: number | null;
  readonly atMs: number;
}

/** The samples that the window's slots hold: the slot of now, and as many before it as fit into the window. */
function standing(samples: readonly Sample[], window: StatisticsWindow, nowMs: number): Sample[] {
  const { windowMs, slotMs } = lengths[window];
  const firstMs = Math.floor(nowMs / slotMs) * slotMs + slotMs - windowMs;
  return samples.filter((sample) => sample.atMs >= firstMs && sample.atMs <= nowMs);
}

function countBy(samples: readonly Sample[]): Partial<Record<OutcomeKind, number>> {
  const counts: Partial<Record<OutcomeKind, number>> = {};
  for (const { kind } of samples) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

const sample = fc.record({
  kind: fc.constantFrom(...outcomeKinds),
  latencyMs: fc.option(fc.integer({ min: 1, max: 100_000 })),
  // From requests in the same millisecond to silences longer than a day.
  afterMs: fc.oneof(fc.nat(50), fc.nat(10_000), fc.nat(10 * minute), fc.nat(30 * hour)),
});

function timed(samples: readonly { kind: OutcomeKind; latencyMs: number | null; afterMs: number }[]): Sample[] {
  let atMs = start;
  return samples.map(({ kind, latencyMs, afterMs }) => {
    atMs += afterMs;
    return { kind, latencyMs, atMs };
  });
}

describe("the last minute, hour and day", () => {
  test("count exactly what a list of all requests says, whatever the gaps", () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 120, size: "max" }), fc.nat(2 * hour), (drawn, laterMs) => {
        const samples = timed(drawn);
        const statistics = new Statistics();
        for (const [index, { kind, latencyMs, atMs }] of samples.entries()) {
          statistics.record(kind, latencyMs, atMs);
          const nowMs = index === samples.length - 1 ? atMs + laterMs : atMs;
          for (const window of statisticsWindows) {
            const expected = standing(samples.slice(0, index + 1), window, nowMs);
            expect(statistics.outcomes(window, nowMs)).toEqual(countBy(expected));
            const measured = expected.filter((one) => one.latencyMs !== null).length;
            expect(statistics.histogram(window, nowMs).count).toBe(measured);
          }
        }
      }),
      { numRuns: 80 },
    );
  });

  test("nothing older than a window ever counts, and nothing younger than it by a slot is missing", () => {
    for (const window of statisticsWindows) {
      const { windowMs, slotMs } = lengths[window];
      for (let offsetMs = 0; offsetMs < slotMs; offsetMs += Math.ceil(slotMs / 13)) {
        const statistics = new Statistics();
        statistics.record("success", 10, start + offsetMs);
        expect(statistics.summary(window, start + offsetMs + windowMs - slotMs).requests).toBe(1);
        expect(statistics.summary(window, start + offsetMs + windowMs).requests).toBe(0);
      }
    }
  });

  test("latencies come with p50, p95, p99 and mean, and without any as null", () => {
    const statistics = new Statistics();
    expect(statistics.summary("hour", start)).toEqual({
      requests: 0,
      successRate: null,
      avgMs: null,
      p50Ms: null,
      p95Ms: null,
      p99Ms: null,
    });
    for (let ms = 1; ms <= 1000; ms += 1) statistics.record("success", ms, start + ms);
    const summary = statistics.summary("hour", start + 1000);
    const truths = [summary.p50Ms, summary.p95Ms, summary.p99Ms, summary.avgMs].map((value) => value ?? 0);
    for (const [index, truth] of [500, 950, 990, 500.5].entries()) {
      expect(Math.abs((truths[index] as number) - truth) / truth).toBeLessThanOrEqual(0.02);
    }
  });

  test("only a backend's fault and the unknown lower the success rate", () => {
    const statistics = new Statistics();
    for (const kind of outcomeKinds) statistics.record(kind, null, start);
    expect(statistics.summary("minute", start).requests).toBe(7);
    expect(statistics.summary("minute", start).successRate).toBeCloseTo(5 / 7, 12);
  });

  test("a merged line counts like its requests one by one", () => {
    const one = new Statistics();
    const merged = new Statistics();
    const latencies: Record<number, number> = {};
    for (let index = 0; index < 40; index += 1) {
      const kind: OutcomeKind = index % 4 === 0 ? "backend_fault" : "success";
      one.record(kind, 20 + index, start);
      const bucket = bucketOf(20 + index);
      latencies[bucket] = (latencies[bucket] ?? 0) + 1;
    }
    merged.addLine({ success: 30, backend_fault: 10 }, latencies, start);
    for (const window of statisticsWindows) expect(merged.summary(window, start)).toEqual(one.summary(window, start));
  });
});

describe("memory", () => {
  test("reading changes nothing", () => {
    const statistics = new Statistics();
    statistics.record("success", 10, start);
    const before = JSON.stringify(statistics.snapshot());
    statistics.summary("minute", start + 400 * hour);
    statistics.histogram("day", start + hour).record(5);
    expect(JSON.stringify(statistics.snapshot())).toBe(before);
    expect(statistics.summary("minute", start).requests).toBe(1);
  });

  test("a month of requests keeps no more rows than the windows have slots", () => {
    const statistics = new Statistics();
    for (let atMs = start; atMs < start + 30 * 24 * hour; atMs += 7 * minute) statistics.record("success", 10, atMs);
    expect(statistics.snapshot().length).toBeLessThanOrEqual(1 + 60 + 48);
  });

  test("slots that have left their window are freed", () => {
    const statistics = new Statistics();
    statistics.record("success", 10, start);
    statistics.rotate(start + 25 * hour);
    expect(statistics.snapshot()).toEqual([]);
  });

  test("a clock set back a little loses nothing", () => {
    const statistics = new Statistics();
    statistics.record("success", 10, start + 5_001);
    statistics.record("success", 10, start + 4_990);
    expect(statistics.summary("minute", start + 4_991).requests).toBe(2);
    expect(statistics.summary("minute", start + 5_002).requests).toBe(2);
  });

  test("a clock that was a week ahead for a moment does not stop the count", () => {
    const statistics = new Statistics();
    statistics.record("success", 10, start + 7 * 24 * hour);
    statistics.record("success", 10, start);
    for (const window of statisticsWindows) expect(statistics.summary(window, start).requests).toBe(1);
  });
});

describe("storage", () => {
  /** What a table of rows by name holds after these writes. */
  function write(table: Map<string, unknown>, rows: readonly StoredSlot[]): void {
    for (const { slot, value } of rows) {
      if (value === null) table.delete(slot);
      else table.set(slot, JSON.parse(JSON.stringify(value)));
    }
  }

  const rowsOf = (table: Map<string, unknown>): StoredSlot[] => Array.from(table, ([slot, value]) => ({ slot, value }));

  test("drains, whenever they come, reproduce every window; the table never outgrows the windows", () => {
    const steps = fc.array(fc.tuple(sample, fc.boolean()), { maxLength: 100, size: "max" });
    fc.assert(
      fc.property(steps, (drawn) => {
        const statistics = new Statistics();
        const table = new Map<string, unknown>();
        let nowMs = start;
        for (const [{ kind, latencyMs, afterMs }, drained] of drawn) {
          nowMs += afterMs;
          statistics.record(kind, latencyMs, nowMs);
          if (drained) write(table, statistics.drainChanges(nowMs));
        }
        write(table, statistics.drainChanges(nowMs));
        const restored = Statistics.restore(rowsOf(table));
        for (const window of statisticsWindows) {
          expect(restored.summary(window, nowMs)).toEqual(statistics.summary(window, nowMs));
        }
        expect(table.size).toBe(statistics.snapshot().length);
      }),
      { numRuns: 300 },
    );
  });

  test("a second drain without a request in between writes nothing", () => {
    const statistics = new Statistics();
    statistics.record("success", 10, start);
    expect(statistics.drainChanges(start + 1).map((row) => row.slot)).toEqual([
      "minute",
      expect.stringMatching(/^hour\//),
      expect.stringMatching(/^day\//),
    ]);
    expect(statistics.drainChanges(start + 2)).toEqual([]);
  });

  test("steady traffic writes three rows a minute, and two when the half hour turns", () => {
    const statistics = new Statistics();
    let rows = 0;
    for (let drain = 1; drain <= 24 * 60; drain += 1) {
      for (let request = 0; request < 6; request += 1) {
        statistics.record("success", 10, start + (drain - 1) * minute + request * 10_000);
      }
      rows += statistics.drainChanges(start + drain * minute - 1).length;
    }
    expect(rows).toBeLessThanOrEqual(24 * 60 * 3 + 48);
  });

  test("a series that has gone silent leaves no row behind", () => {
    const statistics = new Statistics();
    const table = new Map<string, unknown>();
    statistics.record("success", 10, start);
    write(table, statistics.drainChanges(start));
    write(table, statistics.drainChanges(start + 25 * hour));
    expect(table.size).toBe(0);
  });

  test("a restart goes on where it was", () => {
    const statistics = new Statistics();
    for (let index = 0; index < 100; index += 1) statistics.record("success", 10 + index, start + index * 1000);
    const restored = Statistics.restore(JSON.parse(JSON.stringify(statistics.snapshot())) as StoredSlot[]);
    restored.record("backend_fault", null, start + 100_000);
    statistics.record("backend_fault", null, start + 100_000);
    for (const window of statisticsWindows) {
      expect(restored.summary(window, start + 100_000)).toEqual(statistics.summary(window, start + 100_000));
    }
  });

  test("rows of another shape's names are ignored", () => {
    expect(Statistics.restore([{ slot: "week/3", value: [1, {}, {}] }]).snapshot()).toEqual([]);
  });
});
