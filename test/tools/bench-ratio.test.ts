import { expect, test } from "vitest";
import { cases } from "../../bench/cases.ts";
import type { Sample } from "../../bench/measure.ts";
import { summaryOf } from "../../bench/ratio.ts";

test("the JSON has the noise, five ratios and the registry's calls at three rates, and nothing else", () => {
  const sample = (cpuUs: number): Sample => ({ cpuUs, rps: 1, p50Ms: cpuUs / 100, p99Ms: 1, generatorCpuUs: 1 });
  // The product costs twice, three times and four times in the three rounds.
  const rounds = cases.map(({ name, worker }) => [
    name,
    [2, 4, 3].map((times) => sample(worker.startsWith("product") ? 100 * times : 100)),
  ]);
  const samples = Object.fromEntries(rounds) as Record<string, Sample[]>;
  const at = (registry: number) => ({ calls: { registry, limiter: 1000 }, sample: sample(1) });
  const summary = summaryOf({
    closed: samples,
    open: samples,
    latencyRate: 500,
    calls: { 50: at(20), 500: at(2), 2000: at(0.5) },
    startup: { productMs: 1, nothingMs: 1 },
    rounds: 3,
    requests: 1,
    load: [],
  });
  const spread = { min: 2, median: 3, max: 4 };
  expect(JSON.parse(JSON.stringify(summary))).toEqual({
    noise: { min: 1, median: 1, max: 1 },
    ratios: {
      table_get_vs_two_calls: spread,
      exact_vs_two_calls_report: spread,
      blocked_vs_nothing: spread,
      hit_vs_pass: spread,
      p50_table_get_vs_two_calls: spread,
    },
    registry_calls_per_1000: { "50": 20, "500": 2, "2000": 0.5 },
  });
});
