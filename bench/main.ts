/**
 * `npm run bench`: the product beside what it could be at its least, on plain workerd. CPU is what is compared: requests a
 * second and latency depend on what else the machine does, CPU for each request hardly does.
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import { defineCommand, runMain } from "citty";
import type { ArgsDef } from "citty";
import { prepareBundle } from "../demo/bundle.ts";
import { refuseUnknown, UsageError } from "../tools/flags.ts";
import { callsAt } from "./calls.ts";
import type { CallsAtRate } from "./calls.ts";
import { cases, moreRatios, ratios } from "./cases.ts";
import type { Case } from "./cases.ts";
import { spreadOf } from "./figures.ts";
import type { Spread } from "./figures.ts";
import { closedLoop, openLoop, ready, send } from "./measure.ts";
import type { Bench, Sample } from "./measure.ts";
import { ratioOf, summaryOf } from "./ratio.ts";
import type { Findings, Samples } from "./ratio.ts";
import { startGenerator } from "./process.ts";
import type { Generator } from "./process.ts";
import { writeDocument } from "./document.ts";
import { startups } from "./startup.ts";
import { startSystem } from "./system.ts";
import type { System } from "./system.ts";

const root = join(import.meta.dirname, "..");
/** What the dearest case can keep up with on one core. */
const latencyRate = 500;
const latencySeconds = 2;
const callRates = [50, 500, 2000] as const;
/** Long enough that a report a second is several reports. */
const callSeconds = 6;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function find(name: string): Case {
  const found = cases.find((one) => one.name === name);
  if (found === undefined)
    throw new UsageError(`--only: there is no case ${name}; there are ${cases.map((one) => one.name).join(", ")}`);
  return found;
}

/** Requests of each case before its process is measured: by then the engine has compiled what is hot. */
const warmUpRequests = 5000;

async function rounds(
  count: number,
  chosen: readonly Case[],
  isQuick: boolean,
  start: () => Promise<Bench>,
): Promise<{ closed: Samples; open: Samples }> {
  const closed: Record<string, Sample[]> = {};
  const open: Record<string, Sample[]> = {};
  for (let round = 1; round <= count; round += 1) {
    // Two processes of the same code differ by a tenth and more, by where their memory lies: no round inherits another's luck.
    const bench = await start();
    try {
      for (const one of chosen) await send(bench, one, warmUpRequests);
      for (const one of rotated(chosen, round)) {
        const sample = await closedLoop(bench, one);
        (closed[one.name] ??= []).push(sample);
        say(`round ${round}  ${one.name.padEnd(18)} ${sample.cpuUs.toFixed(0)} µs  ${sample.rps.toFixed(0)} rps`);
      }
      for (const one of isQuick ? [] : rotated(chosen, round)) {
        await ready(bench, one);
        const sample = await openLoop(bench, one, latencyRate, latencyRate * latencySeconds);
        (open[one.name] ??= []).push(sample);
        const quantiles = `p50 ${sample.p50Ms.toFixed(2)} ms  p99 ${sample.p99Ms.toFixed(2)} ms`;
        say(`round ${round}  ${one.name.padEnd(18)} ${quantiles} at ${latencyRate} rps`);
      }
    } finally {
      await bench.system.stop();
    }
  }
  return { closed, open };
}

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const at = list.length === 0 ? 0 : ((by % list.length) + list.length) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

const command = defineCommand({
  meta: { name: "bench", description: "The product's price beside that of a skeleton, on plain workerd" },
  args: {
    json: { type: "boolean", description: "print the ratios as JSON on stdout" },
    rounds: { type: "string", default: "5", description: "rounds, each of all cases" },
    requests: { type: "string", default: "4000", description: "requests of each case in each round" },
    connections: { type: "string", default: "24", description: "connections of the closed loop" },
    only: { type: "string", description: "names of cases, with commas: quick looks, no ratios" },
    write: { type: "boolean", description: "put the results into docs/performance.md" },
  },
  async run({ args, cmd }) {
    const { chosen, count, requests, connections } = read(args, cmd.args as ArgsDef);
    say("building…");
    const bundle = await prepareBundle(root);
    const generator = await startGenerator();
    const before = loadavg()[0] as number;
    let running: System | null = null;
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stopAll(running, generator));
    const start = async (): Promise<Bench> => {
      running = await startSystem(bundle, [...new Set(chosen.map((one) => one.worker))]);
      return { system: running, generator, requests, connections };
    };
    try {
      const measured = await rounds(count, chosen, args.only !== undefined, start);
      if (args.only !== undefined) return showMedians(measured.closed);
      const calls = await callsAtRates(await start());
      const load = [before, loadavg()[0] as number];
      const findings = {
        ...measured,
        latencyRate,
        calls,
        startup: await startups(bundle),
        rounds: count,
        requests,
        load,
      };
      if (args.write) await writeDocument(root, findings);
      if (args.json) console.log(JSON.stringify(summaryOf(findings), null, 2));
      else show(findings);
    } finally {
      generator.stop();
    }
  },
});

interface Asked {
  readonly chosen: readonly Case[];
  readonly count: number;
  readonly requests: number;
  readonly connections: number;
}

interface Given {
  readonly _: readonly string[];
  readonly only?: string | undefined;
  readonly json?: boolean | undefined;
  readonly write?: boolean | undefined;
  readonly rounds: string;
  readonly requests: string;
  readonly connections: string;
}

/** Before anything is built or started. A slip ends the program in one line. */
function read(given: Given & Readonly<Record<string, unknown>>, known: ArgsDef): Asked {
  try {
    refuseUnknown(given, known);
    const { only } = given;
    if (only !== undefined && (given.json || given.write))
      throw new UsageError("--only takes some of the cases, which give no ratios for --json or --write");
    return {
      chosen: only === undefined ? cases : only.split(",").map(find),
      count: whole("rounds", given.rounds),
      requests: whole("requests", given.requests),
      connections: whole("connections", given.connections),
    };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(error.message);
    process.exit(1);
  }
}

async function callsAtRates(bench: Bench): Promise<Record<string, CallsAtRate>> {
  const calls: Record<string, CallsAtRate> = {};
  try {
    for (const rate of callRates) {
      const at = await callsAtRate(bench, rate);
      calls[rate] = at;
      const { registry, limiter } = at.calls;
      say(`at ${rate} rps: ${registry.toFixed(2)} registry and ${limiter.toFixed(0)} limiter calls per 1,000`);
    }
  } finally {
    await bench.system.stop();
  }
  return calls;
}

/** The registry's with the limiter off, which lets a core come nearer to 2,000 rps; the limiter's with it on. */
async function callsAtRate(bench: Bench, rate: number): Promise<CallsAtRate> {
  const tableGet = find("table_get");
  const one = { ...tableGet, shape: { ...tableGet.shape, addresses: manyClients(rate) } };
  const unlimited = await callsAt(bench, { ...one, worker: "product-unlimited" }, rate, callSeconds);
  const limited = await callsAt(bench, one, rate, callSeconds);
  return { ...unlimited, calls: { registry: unlimited.calls.registry, limiter: limited.calls.limiter } };
}

async function stopAll(system: System | null, generator: Generator): Promise<never> {
  generator.stop();
  await system?.stop();
  process.exit(1);
}

/** So many that none of them reaches its limit. */
function manyClients(rate: number): string[] {
  return Array.from({ length: Math.max(50, rate) }, (_, index) => `10.100.${index >> 8}.${index & 255}`);
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`--${name}: a whole number of at least 1; received ${JSON.stringify(text)}`);
  return value;
}

function showMedians(closed: Samples): void {
  for (const [name, samples] of Object.entries(closed)) {
    const { min, median, max } = spreadOf(samples.map((sample) => sample.cpuUs));
    console.log(
      `${name.padEnd(18)} ${min.toFixed(0)} – ${median.toFixed(0)} – ${max.toFixed(0)} µs, ${spreadOf(samples.map((sample) => sample.rps)).median.toFixed(0)} rps`,
    );
  }
}

function show(findings: Findings): void {
  showMedians(findings.closed);
  const line = (name: string, { min, median, max }: Spread): void =>
    console.log(`${name.padEnd(28)} ${min.toFixed(2)} – ${median.toFixed(2)} – ${max.toFixed(2)}`);
  line("noise", ratioOf(findings.closed, "two_calls_again", "two_calls", "cpuUs"));
  for (const [name, [over, under]] of Object.entries({ ...ratios, ...moreRatios }))
    line(name, ratioOf(findings.closed, over, under, "cpuUs"));
  line("p50_table_get_vs_two_calls", ratioOf(findings.open, "table_get", "two_calls", "p50Ms"));
}

await runMain(command);
