import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ProbeResult } from "../../tools/ip-tester/probe.ts";
import { rank, topWeight } from "../../tools/ip-tester/ranking.ts";
import { percentile, summarize } from "../../tools/ip-tester/summary.ts";
import type { ServerSummary } from "../../tools/ip-tester/summary.ts";

function answered(totalMs: number): ProbeResult {
  return { ok: true, timings: { dnsMs: 1, tcpMs: 2, tlsMs: null, firstByteMs: totalMs - 3, totalMs } };
}

function failed(cause: "refused" | "http_status" | "timeout", detail = ""): ProbeResult {
  return { ok: false, failure: { cause, phase: cause === "refused" ? "connect" : "first_byte", detail } };
}

describe("a server's summary", () => {
  test("100 answers of 1 to 100 ms: every figure is exact", () => {
    const results = Array.from({ length: 100 }, (_, index) => answered(100 - index));
    const summary = summarize(results);
    expect(summary.latencyMs).toEqual({ min: 1, avg: 50.5, p50: 50, p95: 95, p99: 99, max: 100 });
    expect(summary).toMatchObject({ requests: 100, successes: 100, availability: 1, status: "good", errors: [] });
    expect(summary.partsMs).toEqual({ dns: 1, tcp: 2, tls: null, firstByte: 47 });
  });

  test("failures count against availability and not in the latency", () => {
    const summary = summarize([answered(10), failed("timeout"), answered(30), failed("refused")]);
    expect(summary).toMatchObject({ availability: 0.5, status: "degraded", latencyMs: { avg: 20, max: 30 } });
  });

  test("99 of 100 is good, 98 of 100 is degraded, none is unavailable", () => {
    const some = (good: number) => [
      ...Array.from({ length: good }, () => answered(5)),
      ...Array.from({ length: 100 - good }, () => failed("timeout")),
    ];
    expect([99, 98, 0].map((good) => summarize(some(good)).status)).toEqual(["good", "degraded", "unavailable"]);
  });

  test("failures are counted by cause, each HTTP status apart, the most frequent first", () => {
    const statuses = ["500", "503", "500", "500"].map((status) => failed("http_status", status));
    const refusals = [failed("refused", "first"), failed("refused", "second")];
    expect(summarize([...statuses, ...refusals]).errors).toEqual([
      { cause: "http_status", phase: "first_byte", count: 3, detail: "500" },
      { cause: "refused", phase: "connect", count: 2, detail: "first" },
      { cause: "http_status", phase: "first_byte", count: 1, detail: "503" },
    ]);
  });

  test("nothing measured is unavailable, not a division by zero", () => {
    expect(summarize([])).toMatchObject({ requests: 0, availability: 0, status: "unavailable", latencyMs: null });
  });

  test("a percentile is the smallest value that enough of the others don't exceed", () => {
    const values = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 40 });
    const shares = fc.integer({ min: 1, max: 100 }).map((part) => part / 100);
    fc.assert(
      fc.property(values, shares, (unsorted, share) => {
        const sorted = [...unsorted].sort((a, b) => a - b);
        const enough = (value: number) => unsorted.filter((other) => other <= value).length >= share * unsorted.length;
        expect(percentile(sorted, share)).toBe(Math.min(...unsorted.filter(enough)));
      }),
    );
    expect(percentile([], 0.5)).toBeNull();
  });
});

function summaryOf(availability: number, avg: number | null, p95 = avg): ServerSummary {
  const latencyMs = avg === null || p95 === null ? null : { min: avg, avg, p50: avg, p95, p99: p95, max: p95 };
  const status = latencyMs === null ? "unavailable" : availability < 0.99 ? "degraded" : "good";
  const partsMs = { dns: null, tcp: null, tls: null, firstByte: null };
  return { requests: 100, successes: availability * 100, availability, status, latencyMs, partsMs, errors: [] };
}

describe("the recommended order", () => {
  test("availability comes before the average, the average before P95", () => {
    const ranked = rank([
      { server: "fast but flaky", summary: summaryOf(0.9, 10) },
      { server: "dead", summary: summaryOf(0, null) },
      { server: "long tail", summary: summaryOf(1, 50, 400) },
      { server: "slow", summary: summaryOf(1, 80) },
      { server: "steady", summary: summaryOf(1, 50, 60) },
    ]);
    expect(ranked.map(({ server }) => server)).toEqual(["steady", "long tail", "slow", "fast but flaky", "dead"]);
    expect(ranked.map(({ rank }) => rank)).toEqual([1, 2, 3, 4, 5]);
  });

  test("weights are in proportion to availability over average latency; a dead server gets none", () => {
    const ranked = rank([
      { server: "a", summary: summaryOf(1, 20) },
      { server: "b", summary: summaryOf(1, 40) },
      { server: "c", summary: summaryOf(0.6, 40) },
      { server: "d", summary: summaryOf(1, 2000) },
      { server: "e", summary: summaryOf(0.4, 20) },
      { server: "f", summary: summaryOf(0, null) },
    ]);
    const weights = Object.fromEntries(ranked.map(({ server, suggestedWeight }) => [server, suggestedWeight]));
    expect(weights).toEqual({ a: 10, b: 5, c: 3, d: 1, e: 0, f: 0 });
  });

  test("any fleet: whole weights from 0 to 10, a 10 unless nobody deserves one, the order of the list without effect", () => {
    const summaries = fc.array(
      fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.option(fc.double({ min: 0, max: 1e5, noNaN: true }))),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(summaries, (list) => {
        const fleet = list.map(([availability, avg], server) => ({ server, summary: summaryOf(availability, avg) }));
        const ranked = rank(fleet);
        const weights = ranked.map(({ suggestedWeight }) => suggestedWeight);
        expect(weights.every((weight) => Number.isInteger(weight) && weight >= 0 && weight <= topWeight)).toBe(true);
        const deserving = fleet.some(({ summary }) => summary.latencyMs !== null && summary.availability >= 0.5);
        expect(Math.max(0, ...weights)).toBe(deserving ? topWeight : 0);
        const byServer = (all: typeof ranked) =>
          new Map(all.map(({ server, suggestedWeight }) => [server, suggestedWeight]));
        expect(byServer(rank([...fleet].reverse()))).toEqual(byServer(ranked));
      }),
    );
  });
});
