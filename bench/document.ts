/** Puts a run's figures into docs/performance.md, between its markers, and draws the chart beside it. */
import { readFile, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { cases, moreRatios, ratios } from "./cases.ts";
import { barChart } from "./chart.ts";
import { spreadOf } from "./figures.ts";
import type { Spread } from "./figures.ts";
import { ratioOf } from "./ratio.ts";
import type { Findings, Samples } from "./ratio.ts";
import type { Sample } from "./measure.ts";

/** What is asked for; shown beside what came out. */
const targets: Readonly<Record<string, number>> = {
  table_get_vs_two_calls: 1,
  exact_vs_two_calls_report: 1.25,
  blocked_vs_nothing: 2,
  hit_vs_pass: 1.05,
  hit_unlimited_vs_pass: 0.75,
  p50_table_get_vs_two_calls: 1.1,
};

const begin = "<!-- npm run bench -- --write -->";
const end = "<!-- end -->";

export async function writeDocument(root: string, findings: Findings): Promise<void> {
  const file = join(root, "docs", "performance.md");
  const text = await readFile(file, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/performance.md has lost its markers ${begin} and ${end}`);
  const written = `${text.slice(0, from + begin.length)}\n\n${figures(findings)}\n\n${text.slice(to)}`;
  await writeFile(file, await format(written, { ...(await resolveConfig(file)), filepath: file }));
  await writeFile(join(root, "docs", "performance.svg"), chart(findings));
}

function chart({ closed }: Findings): string {
  const bars = measured(closed).map(({ name, label, worker, samples }) =>
    Object.assign({ name, label, isProduct: worker.startsWith("product") }, spreadOf(samples.map((one) => one.cpuUs))),
  );
  return barChart("CPU of workerd for each request, median and spread of the rounds", "µs", bars);
}

function measured(found: Samples) {
  return cases.flatMap((one) => {
    const samples = found[one.name];
    return samples === undefined ? [] : [{ ...one, samples }];
  });
}

function figures(findings: Findings): string {
  const { closed, open, calls, startup, rounds, requests } = findings;
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  const load = findings.load.map((value) => value.toFixed(1)).join(" – ");
  const median = (samples: readonly Sample[], figure: keyof Sample): number =>
    spreadOf(samples.map((one) => one[figure])).median;
  const cpuRows = measured(closed).map(({ name, label, samples }) => {
    const steady = open[name] ?? [];
    const { min, median: middle, max } = spreadOf(samples.map((one) => one.cpuUs));
    const shown = [min, middle, max].map((value) => value.toFixed(0)).join(" – ");
    return [
      label,
      shown,
      median(samples, "rps").toFixed(0),
      median(steady, "p50Ms").toFixed(1),
      median(steady, "p99Ms").toFixed(1),
    ];
  });
  const noise = ratioOf(closed, "two_calls_again", "two_calls", "cpuUs");
  const ratioRows = Object.entries({ ...ratios, ...moreRatios }).map(([name, [over, under]]) =>
    ratioRow(name, ratioOf(closed, over, under, "cpuUs")),
  );
  const p50 = ratioOf(open, "table_get", "two_calls", "p50Ms");
  const callRows = Object.entries(calls).map(([rate, one]) => [
    rate,
    one.sample.rps.toFixed(0),
    one.calls.registry.toFixed(2),
    one.calls.limiter.toFixed(0),
  ]);
  return [
    `Machine: ${machine}; load average ${load} during the run (the bench itself makes about 1). ${rounds} rounds of ${requests} requests for each case, 500 clients; each round with processes of its own, since two of the same code differ.`,
    `**Noise**: the skeleton (d) against itself, a second process of the same code: ${spread(noise)}.`,
    `rps: as many as a closed loop gets. p50 and p99: at ${findings.latencyRate} requests a second, from when each was due.`,
    table(["", "CPU µs/request, min – median – max", "rps", "p50 ms", "p99 ms"], cpuRows),
    "![CPU for each request](performance.svg)",
    table(
      ["product / skeleton", "min – median – max", "asked", ""],
      [...ratioRows, ratioRow("p50_table_get_vs_two_calls", p50)],
    ),
    `Start-up: a process with the bundle has used ${startup.productMs.toFixed(0)} ms of CPU when it listens, one with a Worker that does nothing ${startup.nothingMs.toFixed(0)} ms.`,
    table(["rps asked", "rps reached", "registry calls per 1,000 table requests", "limiter calls per 1,000"], callRows),
  ].join("\n\n");
}

function ratioRow(name: string, value: Spread): readonly string[] {
  const target = targets[name];
  if (target === undefined) return [`\`${name}\``, spread(value), "", ""];
  return [`\`${name}\``, spread(value), `≤ ${target}`, value.median <= target ? "reached" : "**missed**"];
}

function spread({ min, median, max }: Spread): string {
  return `${min.toFixed(2)} – ${median.toFixed(2)} – ${max.toFixed(2)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}
