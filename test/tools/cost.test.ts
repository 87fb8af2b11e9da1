import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { report } from "../../tools/cost.ts";
import { measuredCpu, mixes, rates, usualFleet } from "../../tools/cost/mixes.ts";
import { dollarsPerM, naiveUsage, ourUsage, registryRps } from "../../tools/cost/model.ts";
import type { Mix } from "../../tools/cost/model.ts";
import { listPrices } from "../../tools/cost/prices.ts";

const root = join(import.meta.dirname, "..", "..");
const mixOf = (name: string): Mix => mixes.find((mix) => mix.name === name) as Mix;

test("docs/cost.md shows what the script prints", async () => {
  const squeeze = (text: string): string => text.replaceAll(/[ -]+/g, " ").trim();
  const doc = await readFile(join(root, "docs", "cost.md"), "utf8");
  const shown = /<!-- node tools\/cost\.ts -->([\s\S]*)<!-- end -->/.exec(doc)?.[1] ?? "";
  expect(squeeze(shown)).toBe(squeeze(report([])));
});

test("each mix is whole", () => {
  for (const mix of mixes) expect(mix.table + mix.hit + mix.exact + mix.blocked, mix.name).toBeCloseTo(1);
});

describe("by hand", () => {
  const nothing = { perClientRps: 1, isolateRps: 1000, dataCentres: 1, backends: 0 };

  test("a million hits of busy clients: Worker, CPU, one call each, a write in 0.9 s", () => {
    const hits: Mix = { name: "hits", table: 0, hit: 1, exact: 0, blocked: 0, floodRps: 1, generationS: 0 };
    const fleet = { ...nothing, perClientRps: 10 };
    const { objectRequests, rowsWritten, gbSeconds } = ourUsage(hits, 1000, fleet, measuredCpu);
    expect(objectRequests).toBeCloseTo(1 + 1 / 1000, 6);
    // 100 clients: 133.3 writes a second, an alarm a minute each, the registry's six a minute.
    expect(rowsWritten).toBeCloseTo((100 / 0.9 + 100 / 60 + 0.1) / 1000, 6);
    expect(gbSeconds).toBeCloseTo((101 * 0.128) / 1000, 6);
  });

  test("a million naive generations: three calls and three rows each", () => {
    const all: Mix = { name: "generations", table: 0, hit: 0, exact: 1, blocked: 0, floodRps: 1, generationS: 60 };
    const usage = naiveUsage(all, 1000, nothing, measuredCpu);
    expect([usage.objectRequests, usage.rowsWritten]).toEqual([3, 3]);
  });

  test("prices are for a million, and add up", () => {
    const one = { workerRequests: 1, workerCpuMs: 1, objectRequests: 1, rowsWritten: 1, rowsRead: 1, gbSeconds: 1 };
    expect(dollarsPerM(one, listPrices)).toBeCloseTo(0.3 + 0.02 + 0.15 + 1 + 0.001 + 12.5);
  });
});

test("cheap traffic's registry load doesn't grow with the rate while the isolates are the same", () => {
  const monitoring = mixOf("monitoring");
  const calls = [100, 1000, 10_000].map((rps) => registryRps(monitoring, rps, usualFleet).ours);
  expect(new Set(calls)).toEqual(new Set([usualFleet.dataCentres]));
});

test("no part of any bill is negative or endless, whatever the mix", () => {
  fc.assert(
    fc.property(
      fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100), fc.nat(100)).filter((parts) => parts.some((part) => part > 0)),
      fc.double({ min: 1, max: 1_000_000, noNaN: true }),
      fc.double({ min: 0.001, max: 1000, noNaN: true }),
      ([table, hit, exact, blocked], rps, perClientRps) => {
        const sum = table + hit + exact + blocked;
        const mix = {
          name: "any",
          table: table / sum,
          hit: hit / sum,
          exact: exact / sum,
          blocked: blocked / sum,
          floodRps: 50,
          generationS: 60,
        };
        const fleet = { ...usualFleet, perClientRps };
        for (const usage of [naiveUsage(mix, rps, fleet, measuredCpu), ourUsage(mix, rps, fleet, measuredCpu)]) {
          for (const part of Object.values(usage)) expect(part >= 0 && Number.isFinite(part)).toBe(true);
        }
      },
    ),
  );
});

test.each([
  ["--rows-written-per-m", "cheap", "a number of at least 0"],
  ["--object-requests-per-m", "-1", "a number of at least 0"],
  ["--isolate-rps", "0", "a number above 0"],
  ["--per-client-rps", "0", "a number above 0"],
  ["--backends", "Infinity", "a number of at least 0"],
])("%s %s is refused by name", (option, value, allowed) => {
  expect(() => report([`${option}=${value}`])).toThrow(`${option}: ${allowed}; received "${value}"`);
});

test("all the rates are there", () => {
  for (const rate of rates) expect(report([])).toContain(`${rate.toLocaleString("en")} rps`);
});
