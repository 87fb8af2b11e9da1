/**
 * `npm run sim -- --scenario small-fleet --policy lowest-latency`: one run, or with `--all` the whole report.
 * Exit codes: 0, done; 1, a promise of the report didn't hold; 2, bad usage.
 */
import { defineCommand, parseArgs, renderUsage, type ArgsDef } from "citty";
import Table from "cli-table3";
import { globeOptions, globeTable } from "./globe.ts";
import { performGlobe } from "./pool.ts";
import { policyLabels } from "./policies.ts";
import { writeReport } from "./report.ts";
import { simulate, type RunOptions } from "./run.ts";
import { scenarioNames } from "./scenarios.ts";
import { summarize, type Summary } from "./summary.ts";

const args = {
  scenario: { type: "string", description: `One of ${[...scenarioNames, "globe"].join(", ")}`, default: "small-fleet" },
  policy: { type: "string", description: `One of ${policyLabels.join(", ")}`, default: "lowest-latency" },
  servers: { type: "string", description: "Backends" },
  clients: { type: "string", description: "Clients, spread over the edges" },
  edges: { type: "string", description: "Isolates of the edge that choose" },
  load: { type: "string", description: "Requests' work as a share of what the servers can do, as 0.9" },
  rtt: { type: "string", description: "Milliseconds from an edge to the registry and back" },
  seed: { type: "string", description: "The same seed gives the same run", default: "1" },
  json: { type: "boolean", description: "One JSON object on stdout", default: false },
  all: {
    type: "boolean",
    description: "Every scenario and policy, five seeds: writes docs/balancing.md with its plots",
    default: false,
  },
  help: { type: "boolean", description: "Show this", default: false },
} as const satisfies ArgsDef;

const command = defineCommand({
  meta: {
    name: "npm run sim --",
    description: "Simulates the balance: real policies, health and tables under a virtual clock",
  },
  args,
});

/** A wrong flag: told in one line, without a stack. */
class UsageError extends Error {}

export async function main(given: readonly string[]): Promise<number> {
  try {
    const parsed = parse(given);
    if (parsed.help) {
      console.log(await renderUsage(command));
      return 0;
    }
    if (parsed.all) return (await writeReport((line) => console.error(line))) ? 0 : 1;
    if (parsed.scenario === "globe") await printGlobe(parsed.json, whole("seed", parsed.seed, 0, 2 ** 32 - 1));
    else printRun(parsed.json, summarize(simulate(optionsOf(parsed))));
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof RangeError)) throw error;
    console.error(error.message);
    return 2;
  }
}

function parse(given: readonly string[]) {
  const parsed = parseArgs<typeof args>([...given], args);
  for (const name of Object.keys(parsed)) {
    if (name !== "_" && !(name in args)) {
      throw new UsageError(
        `--${name}: expected one of ${Object.keys(args)
          .map((flag) => `--${flag}`)
          .join(" ")}`,
      );
    }
  }
  const [stray] = parsed._;
  if (stray !== undefined) throw new UsageError(`expected flags only, received ${JSON.stringify(stray)}`);
  return parsed;
}

function optionsOf(parsed: ReturnType<typeof parse>): RunOptions {
  return {
    scenario: parsed.scenario,
    policy: parsed.policy,
    seed: whole("seed", parsed.seed, 0, 2 ** 32 - 1),
    servers: optional(parsed.servers, (text) => whole("servers", text, 1, 1000)),
    clients: optional(parsed.clients, (text) => whole("clients", text, 1, 1_000_000)),
    edges: optional(parsed.edges, (text) => whole("edges", text, 1, 10_000)),
    load: optional(parsed.load, (text) => number("load", text, 0.001, 2)),
    rttMs: optional(parsed.rtt, (text) => number("rtt", text, 0, 10_000)),
  };
}

function optional<T>(text: string | undefined, read: (text: string) => T): T | undefined {
  return text === undefined ? undefined : read(text);
}

function number(name: string, text: string, low: number, high: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!(value >= low && value <= high)) {
    throw new UsageError(`--${name}: expected a number from ${low} to ${high}, received ${JSON.stringify(text)}`);
  }
  return value;
}

function whole(name: string, text: string, low: number, high: number): number {
  const value = number(name, text, low, high);
  if (!Number.isInteger(value)) {
    throw new UsageError(`--${name}: expected a whole number from ${low} to ${high}, received ${JSON.stringify(text)}`);
  }
  return value;
}

function printRun(json: boolean, summary: Summary): void {
  if (json) {
    console.log(JSON.stringify(summary));
    return;
  }
  const table = new Table({ head: ["", summary.policy] });
  for (const [name, value] of Object.entries(summary)) {
    if (name !== "share" && name !== "policy") table.push([name, String(value)]);
  }
  const shares = Object.entries(summary.share);
  for (const [server, share] of shares.length > 16 ? [] : shares) table.push([`share of ${server}`, String(share)]);
  console.log(table.toString());
}

async function printGlobe(json: boolean, seed: number): Promise<void> {
  const rows = await performGlobe(globeOptions(seed));
  console.log(json ? JSON.stringify({ scenario: "globe", seed, rows }) : globeTable(rows));
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
