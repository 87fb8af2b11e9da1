/** `--all`: runs everything, holds the promises against it and writes `docs/balancing.md` with its plots. */
import { readFile, writeFile } from "node:fs/promises";
import { format } from "prettier";
import { policyNames } from "../src/shared/config/config.ts";
import { claims, holds, type Claim } from "./claims.ts";
import { globeMarkdown, globeOptions, globePlots } from "./globe.ts";
import { barChart, lineChart, short, type Chart } from "./plot.ts";
import { performGlobe, performRuns } from "./pool.ts";
import type { RunOptions } from "./run.ts";
import { findScenario, scenarioNames } from "./scenarios.ts";
import { measureSpeed, speedMarkdown } from "./speed.ts";
import { shareStepS, type Outcome } from "./task.ts";

const seeds = [1, 2, 3, 4, 5];
const documents = new URL("../docs/", import.meta.url);
const loads: Readonly<Record<string, readonly number[]>> = { prequal: [0.7, 0.9] };

/** Who is compared where: everybody in the small scenarios, and in Prequal's the paper's rows and ours. */
const compared: Readonly<Record<string, readonly string[]>> = {
  prequal: ["round-robin", "random", "least-requests-local", "prequal", "least-requests", "lowest-latency", "hot-cold"],
  "small-fleet": [...policyNames, "least-requests-local", "lowest-latency-local", "round-robin"],
};
const everywhere = [...policyNames, "weighted-round-robin-table", "least-requests-table"];

type Options = Omit<RunOptions, "seed">;

class Results {
  readonly #byKey: ReadonlyMap<string, readonly Outcome[]>;

  constructor(outcomes: readonly Outcome[]) {
    this.#byKey = Map.groupBy(outcomes, (outcome) => keyOf(outcome.options));
  }

  /** One outcome a seed. */
  of(options: Options): readonly Outcome[] {
    const found = this.#byKey.get(keyOf(options));
    if (found === undefined) throw new Error(`not run: ${keyOf(options)}`);
    return found;
  }

  figure(options: Options, read: (outcome: Outcome) => number | null): number | null {
    return median(this.of(options).map(read));
  }
}

/** @returns whether every promise held. */
export async function writeReport(say: (line: string) => void): Promise<boolean> {
  const runs = seeded([...everyOption(), ...claimed()]);
  const startedMs = Date.now();
  const outcomes = await performRuns(runs, (done) => {
    if (done % 50 === 0 || done === runs.length) say(`${done} of ${runs.length} runs, ${seconds(startedMs)} s`);
  });
  const results = new Results(outcomes);
  const judged = claims.map((claim) => judge(claim, results));
  say("the globe");
  const globe = await performGlobe(globeOptions(1));
  const speed = measureSpeed();
  const plots = { ...plotsOf(results), ...globePlots(globe) };
  for (const [name, svg] of Object.entries(plots)) await writeFile(new URL(name, documents), svg);
  const preface = await readFile(new URL("preface.md", import.meta.url), "utf8");
  const text = [preface, promisesText(judged), scenariosText(results), globeMarkdown(globe), speedMarkdown(speed)].join(
    "\n",
  );
  await writeFile(new URL("balancing.md", documents), await format(text, { parser: "markdown", printWidth: 120 }));
  for (const { claim, values } of judged.filter((one) => !one.held))
    say(`does not hold: ${claim.text}: ${values.join(" ")}`);
  say(`docs/balancing.md, ${seconds(startedMs)} s`);
  return judged.every((one) => one.held);
}

/** Holds the promises alone against what they need, and writes nothing. */
export async function judgeClaims(): Promise<Judged[]> {
  const results = new Results(await performRuns(seeded(claimed()), () => undefined));
  return claims.map((claim) => judge(claim, results));
}

function everyOption(): Options[] {
  return scenarioNames.flatMap((scenario) =>
    variants(scenario).flatMap((load) => policiesIn(scenario).map((policy) => optionsOf(scenario, policy, load))),
  );
}

function claimed(): Options[] {
  return claims.flatMap((claim) => (claim.over === null ? [claim.run] : [claim.run, claim.over]));
}

/** Each once, with every seed. */
function seeded(wanted: readonly Options[]): RunOptions[] {
  const distinct = new Map(wanted.map((options) => [keyOf(options), options]));
  return [...distinct.values()].flatMap((options) => seeds.map((seed) => Object.assign({ seed }, options)));
}

function variants(scenario: string): readonly (number | undefined)[] {
  return loads[scenario] ?? [undefined];
}

function policiesIn(scenario: string): readonly string[] {
  return compared[scenario] ?? everywhere;
}

function optionsOf(scenario: string, policy: string, load: number | undefined): Options {
  return load === undefined ? { scenario, policy } : { scenario, policy, load };
}

function keyOf({ scenario, policy, load }: Options): string {
  return [scenario, policy, load ?? "default"].join(" ");
}

// ── Promises ─────────────────────────────────────────────────────────────────────────────────────

export interface Judged {
  readonly claim: Claim;
  /** One a seed. */
  readonly values: readonly number[];
  readonly held: boolean;
}

/** Held is what holds with every seed. */
function judge(claim: Claim, results: Results): Judged {
  const over = claim.over === null ? null : results.of(claim.over);
  const values = results.of(claim.run).map((outcome, index) => {
    const value = outcome.figures[claim.figure];
    return over === null ? value : value / over[index]!.figures[claim.figure];
  });
  return { claim, values, held: values.every((value) => holds(claim, value)) };
}

function promisesText(judged: readonly Judged[]): string {
  const word = { below: "<", above: ">", "at most": "≤" } as const;
  const rows = judged.map(({ claim, values, held }) => {
    const sorted = [...values].sort((a, b) => a - b);
    const range = `${short(sorted[0]!)} – ${short(sorted.at(-1)!)}`;
    const bound = `${word[claim.holds]} ${claim.bound}${claim.unit === "" ? "" : ` ${claim.unit}`}`;
    return `| ${claim.text} | ${bound} | ${short(median(sorted)!)} | ${range} | ${held ? "yes" : "**no**"} |`;
  });
  return [
    "## What is promised, and what came out",
    "",
    `Median and range over ${seeds.length} seeds; "holds" means with every one of them. A registry's figure contains the way to it and back.`,
    "",
    "| promise | bound | median | range | holds |",
    "| --- | --- | --: | --: | --- |",
    ...rows,
    "",
  ].join("\n");
}

// ── Scenarios ────────────────────────────────────────────────────────────────────────────────────

const plotted: Readonly<Record<string, string>> = {
  prequal: "balancing-prequal.svg",
  "small-fleet": "balancing-small-fleet.svg",
  "slow-backend": "balancing-slow-backend.svg",
  dead: "balancing-dead.svg",
  recovering: "balancing-recovering.svg",
};

function scenariosText(results: Results): string {
  const sections = scenarioNames.map((scenario) => {
    const plot = plotted[scenario];
    return [
      `### ${scenario}`,
      "",
      `${capitalized(findScenario(scenario).about)}.`,
      "",
      ...(plot === undefined ? [] : [`![${scenario}](${plot})`, ""]),
      ...variants(scenario).map(
        (load) => (load === undefined ? "" : `At ${load * 100} % load:\n\n`) + tableOf(scenario, load, results) + "\n",
      ),
    ].join("\n");
  });
  const intro =
    "Latencies in milliseconds, as the client waits: medians over the seeds. The share is of the requests that each server was sent.";
  return ["## Policies × scenarios", "", intro, "", ...sections].join("\n");
}

function tableOf(scenario: string, load: number | undefined, results: Results): string {
  const rows = policiesIn(scenario).map((policy) => {
    const options = optionsOf(scenario, policy, load);
    const figure = (read: (outcome: Outcome) => number | null): string => {
      const value = results.figure(options, read);
      return value === null ? "–" : short(value);
    };
    const latencies = (["p50_ms", "p90_ms", "p99_ms", "p999_ms"] as const).map((name) =>
      figure((one) => one.summary[name]),
    );
    const requests = figure((one) => one.summary.requests);
    const errors = figure((one) => one.summary.errors);
    const timeouts = figure((one) => one.summary.timeouts);
    return `| ${[policy, ...latencies, requests, errors, timeouts, shareText(results.of(options))].join(" | ")} |`;
  });
  return [
    "| policy | p50 | p90 | p99 | p99.9 | requests | errors | timeouts | share per server |",
    "| --- | --: | --: | --: | --: | --: | --: | --: | --- |",
    ...rows,
  ].join("\n");
}

function shareText(outcomes: readonly Outcome[]): string {
  const servers = Object.keys(outcomes[0]!.summary.share);
  const shares = servers.map((server) => median(outcomes.map((outcome) => outcome.summary.share[server]!))!);
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  if (shares.length > 8) return `${percent(Math.min(...shares))} – ${percent(Math.max(...shares))} each`;
  return shares.map(percent).join(" · ");
}

// ── Plots ────────────────────────────────────────────────────────────────────────────────────────

function plotsOf(results: Results): Record<string, string> {
  return {
    "balancing-prequal.svg": barChart(prequalChart(results)),
    "balancing-small-fleet.svg": barChart(smallFleetChart(results)),
    "balancing-slow-backend.svg": lineChart(
      victimChart("slow-backend", "Share of a server that is 10× slower from 0 s to 30 s", results),
    ),
    "balancing-dead.svg": lineChart(victimChart("dead", "Share of a server that is dead from 0 s to 60 s", results)),
    "balancing-recovering.svg": lineChart(
      victimChart("recovering", "Share of a server that is dead from 0 s to 30 s, then cold until 60 s", results),
    ),
  };
}

function prequalChart(results: Results): Chart {
  const policies = policiesIn("prequal");
  const row = (load: number, name: "p90_ms" | "p99_ms") => ({
    name: `${name.slice(0, 3)} at ${load * 100} %`,
    values: policies.map((policy) => results.figure(optionsOf("prequal", policy, load), (one) => one.summary[name])),
  });
  return {
    title: "Prequal's experiment: latency by policy (5,000 ms is the timeout)",
    xLabel: "",
    yLabel: "milliseconds",
    x: policies,
    series: [row(0.7, "p90_ms"), row(0.7, "p99_ms"), row(0.9, "p90_ms"), row(0.9, "p99_ms")],
    scale: "log",
  };
}

function smallFleetChart(results: Results): Chart {
  const policies = policiesIn("small-fleet");
  const row = (name: "p50_ms" | "p90_ms" | "p99_ms") => ({
    name: name.slice(0, 3),
    values: policies.map((policy) =>
      inSeconds(results.figure({ scenario: "small-fleet", policy }, (one) => one.summary[name])),
    ),
  });
  return {
    title: "Small fleet of generators: latency by policy",
    xLabel: "",
    yLabel: "seconds",
    x: policies,
    series: [row("p50_ms"), row("p90_ms"), row("p99_ms")],
    scale: "log",
  };
}

function victimChart(scenario: string, title: string, results: Results): Chart {
  const policies = [
    "weighted-round-robin",
    "least-requests",
    "lowest-latency",
    "hot-cold",
    "weighted-round-robin-table",
  ];
  const steps = results.of({ scenario, policy: policies[0]! })[0]!.victimShare.length;
  return {
    title,
    xLabel: "seconds since the fault began",
    yLabel: "share of the requests",
    x: Array.from({ length: steps }, (_, index) => String(index * shareStepS - 20)),
    series: policies.map((policy) => ({
      name: policy,
      values: Array.from({ length: steps }, (_, index) =>
        median(results.of({ scenario, policy }).map((one) => one.victimShare[index]!)),
      ),
    })),
    scale: "linear",
  };
}

// ── Numbers ──────────────────────────────────────────────────────────────────────────────────────

function median(values: readonly (number | null)[]): number | null {
  const present = values.filter((value) => value !== null).sort((a, b) => a - b);
  return present[(present.length - 1) >> 1] ?? null;
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

function seconds(sinceMs: number): string {
  return ((Date.now() - sinceMs) / 1000).toFixed(0);
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
