/**
 * `npm run ip-test -- [servers] [options]`: measures servers from this machine, ranks them, compares with the edge and, if told to,
 * gives the edge new weights. Importing it starts nothing: call `main`, or `test` for the measurement alone.
 *
 * Exit codes: 0, every server is good; 1, some server is unavailable or degraded; 2, bad usage, no server reachable, or the
 * edge did not do what was asked of it.
 */
import { SingleBar } from "cli-progress";
import { defineCommand, parseArgs, renderUsage } from "citty";
import type { ArgsDef, CommandDef } from "citty";
import { EdgeError, readPreference, readTargets, setWeight } from "./edge.ts";
import type { Edge, EdgePreference } from "./edge.ts";
import { chinese, english } from "./language.ts";
import type { Language, OptionName } from "./language.ts";
import { probe } from "./probe.ts";
import type { Probe, ProbeResult, Target } from "./probe.ts";
import { rank } from "./ranking.ts";
import type { Ranked } from "./ranking.ts";
import { appliedLines, jsonReport, onEdge, textReport } from "./report.ts";
import type { AppliedWeight, RunReport } from "./report.ts";
import { rotate, systemClock } from "./rotation.ts";
import type { Clock, Plan } from "./rotation.ts";
import { UsageError } from "../flags.ts";
import { askedWithout, listServers, readEnvironment } from "./servers.ts";
import { summarize } from "./summary.ts";

/** Every result is kept, so that the percentiles are exact. */
const maxRequests = 100_000;
const maxServers = 200;

export interface TestSettings extends Plan {
  readonly timeoutMs: number;
  /** null: "pong" where the path is `/ping`, otherwise any 2xx answer. */
  readonly expect: string | null;
}

export interface TestRun {
  readonly clock?: Clock;
  readonly probe?: Probe;
  readonly signal?: AbortSignal;
  readonly onResult?: (target: Target, result: ProbeResult) => void;
}

/** Measures the targets in turn and ranks them, best first. */
export async function test(
  targets: readonly Target[],
  settings: TestSettings,
  run: TestRun = {},
): Promise<Ranked<Target>[]> {
  const measured = targets.map((server) => ({ server, results: [] as ProbeResult[] }));
  const send = run.probe ?? probe;
  await rotate({
    servers: measured,
    plan: settings,
    clock: run.clock ?? systemClock,
    signal: run.signal ?? new AbortController().signal,
    probe: ({ server }) =>
      send(server, { timeoutMs: settings.timeoutMs, expect: expectedBody(server, settings.expect) }),
    onResult: ({ server, results }, result) => {
      results.push(result);
      run.onResult?.(server, result);
    },
  });
  return rank(measured.map(({ server, results }) => ({ server, summary: summarize(results) })));
}

function expectedBody(target: Target, expect: string | null): string | null {
  if (expect === null) return target.path === "/ping" ? "pong" : null;
  return expect === "" ? null : expect;
}

// ── The command ──────────────────────────────────────────────────────────────────────────────────

export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** File of `NAME=value` lines that fills the environment up. */
  readonly variablesFile: string;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** A terminal to draw the progress on; null: none is drawn. */
  readonly terminal: NodeJS.WriteStream | null;
  /** Ends the measurement early; what was measured is reported. */
  readonly signal: AbortSignal;
}

interface Options extends TestSettings {
  readonly urls: readonly string[];
  readonly file: string | null;
  readonly edge: Edge | null;
  readonly region: string | null;
  readonly path: string | null;
  readonly apply: boolean;
  readonly json: boolean;
}

/** Runs the command and returns its exit code. */
export async function main(argv: readonly string[], around: Surroundings): Promise<0 | 1 | 2> {
  const language = argv.includes("--zh") ? chinese : english;
  try {
    if (argv.includes("--help") || argv.includes("-h")) {
      around.out(`${await renderUsage(command(language))}\n${language.exitCodes}`);
      return 0;
    }
    const environment = await readEnvironment(around.variablesFile, around.environment);
    return await run(readOptions(argv, environment, language), environment, language, around);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof EdgeError)) throw error;
    around.err(error.message);
    return 2;
  }
}

async function run(
  options: Options,
  environment: Surroundings["environment"],
  language: Language,
  around: Surroundings,
): Promise<0 | 1 | 2> {
  if (options.edge !== null && travelsInClear(options.edge)) around.err(language.plainToken(options.edge.url));
  const edge = options.edge === null ? null : await readPreference(options.edge, options.region);
  const there = options.edge === null ? null : await readTargets(options.edge);
  const targets = await listServers({ ...options, edge: there, environment });
  if (targets === null) throw new UsageError(language.noServers);
  if (targets.length > maxServers) throw new UsageError(language.tooManyServers(targets.length, maxServers));
  const unfair = there === null ? [] : askedWithout(there, targets);
  if (unfair.length > 0) around.err(language.askedWithout(unfair.join(", ")));
  around.err(language.testing(targets.length, options.durationMs / 1000));
  const servers = await testWithProgress(targets, options, language, around);
  const nothing = servers.every(({ summary }) => summary.status === "unavailable");
  if (nothing) around.err(language.nothingReachable);
  const isFair = ({ server }: Ranked<Target>): boolean => !unfair.includes(server.name);
  const applied =
    options.apply && options.edge !== null && edge !== null
      ? await applyWeights(options.edge, edge, nothing ? [] : servers.filter(isFair), language)
      : null;
  const refused = applied?.some(({ error }) => error !== null) ?? false;
  const good = servers.every(({ summary }) => summary.status === "good");
  const report: RunReport = { servers, edge, applied, exitCode: nothing || refused ? 2 : good ? 0 : 1 };
  around.out(options.json ? JSON.stringify(jsonReport(report), null, 2) : textReport(report, language));
  if (applied !== null && !options.json) around.out(appliedLines(applied, language).join("\n"));
  return report.exitCode;
}

async function testWithProgress(
  targets: readonly Target[],
  options: Options,
  language: Language,
  { terminal, signal }: Surroundings,
): Promise<Ranked<Target>[]> {
  if (terminal === null) return test(targets, options, { signal });
  const bar = new SingleBar({ format: language.progress, stream: terminal, clearOnComplete: true, hideCursor: true });
  const startedAt = systemClock.now();
  let done = 0;
  let failed = 0;
  const figures = () => ({ done, failed });
  bar.start(options.durationMs, 0, figures());
  const tick = setInterval(
    () => bar.update(Math.min(options.durationMs, systemClock.now() - startedAt), figures()),
    200,
  );
  try {
    return await test(targets, options, {
      signal,
      onResult: (_target, result) => {
        done += 1;
        failed += result.ok ? 0 : 1;
      },
    });
  } finally {
    clearInterval(tick);
    bar.stop();
  }
}

/** One server after the other; a refusal does not keep the rest from being told. */
async function applyWeights(
  edge: Edge,
  preference: EdgePreference,
  servers: readonly Ranked<Target>[],
  language: Language,
): Promise<AppliedWeight[]> {
  const applied: AppliedWeight[] = [];
  for (const { server, suggestedWeight } of servers) {
    const there = onEdge(server, preference);
    if (there === null) {
      applied.push({ name: server.name, from: 0, to: suggestedWeight, error: `${server.name}: ${language.notOnEdge}` });
      continue;
    }
    const change = { name: there.name, from: there.weight, to: suggestedWeight };
    try {
      if (there.weight !== suggestedWeight) await setWeight(edge, there.name, suggestedWeight);
      applied.push({ ...change, error: null });
    } catch (error) {
      if (!(error instanceof EdgeError)) throw error;
      applied.push({ ...change, error: error.message });
    }
  }
  return applied;
}

function travelsInClear(edge: Edge): boolean {
  const { protocol, hostname } = new URL(edge.url);
  return protocol === "http:" && !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}

// ── Options ──────────────────────────────────────────────────────────────────────────────────────

function argumentsOf({ argument, options }: Language) {
  return {
    servers: { type: "positional", required: false, description: argument },
    file: { type: "string", valueHint: "path", description: options.file },
    edge: { type: "string", valueHint: "url", description: options.edge },
    token: { type: "string", valueHint: "token", description: options.token },
    region: { type: "string", valueHint: "code", description: options.region },
    concurrency: { type: "string", valueHint: "n", default: "10", description: options.concurrency },
    duration: { type: "string", valueHint: "s", default: "60", description: options.duration },
    timeout: { type: "string", valueHint: "s", default: "5", description: options.timeout },
    interval: { type: "string", valueHint: "ms", default: "100", description: options.interval },
    path: { type: "string", valueHint: "path", description: options.path },
    expect: { type: "string", valueHint: "text", description: options.expect },
    apply: { type: "boolean", description: options.apply },
    json: { type: "boolean", description: options.json },
    zh: { type: "boolean", description: options.zh },
    help: { type: "boolean", alias: "h", description: options.help },
  } as const satisfies ArgsDef & Record<OptionName | "servers", unknown>;
}

function command(language: Language): CommandDef {
  return defineCommand({
    meta: { name: "npm run ip-test --", description: language.description },
    args: argumentsOf(language) as ArgsDef,
  });
}

function readOptions(argv: readonly string[], environment: Surroundings["environment"], language: Language): Options {
  const definitions = argumentsOf(language);
  const args = parseArgs<typeof definitions>([...argv], definitions);
  for (const name of Object.keys(args)) {
    if (name !== "_" && name !== "h" && !(name in definitions)) throw new UsageError(language.unknownOption(name));
  }
  const number = (
    option: "concurrency" | "duration" | "timeout" | "interval",
    kind: "whole" | "any",
    min: number,
    max: number,
  ) => {
    const text = args[option];
    const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max && (kind === "any" || Number.isInteger(value))) return value;
    throw new UsageError(language.badNumber(option, kind, min, max, JSON.stringify(text)));
  };
  const settings: TestSettings = {
    concurrency: number("concurrency", "whole", 1, 200),
    durationMs: number("duration", "any", 0.01, 3600) * 1000,
    timeoutMs: number("timeout", "any", 0.01, 60) * 1000,
    intervalMs: number("interval", "any", 1, 60_000),
    expect: args.expect ?? null,
  };
  const requests = Math.ceil(settings.durationMs / settings.intervalMs);
  if (requests > maxRequests) throw new UsageError(language.tooManyRequests(requests, maxRequests));
  const edge = readEdge(args.edge, args.token, environment, language);
  if (edge === null && (args.apply === true || args.region !== undefined)) throw new UsageError(language.needsEdge);
  return {
    ...settings,
    edge,
    urls: args._,
    file: args.file ?? null,
    region: args.region ?? null,
    path: readPath(args.path, language),
    apply: args.apply === true,
    json: args.json === true,
  };
}

function readEdge(
  text: string | undefined,
  token: string | undefined,
  environment: Surroundings["environment"],
  language: Language,
): Edge | null {
  if (text === undefined) return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== "" ||
    url.password !== "" ||
    url.search !== ""
  ) {
    throw new UsageError(language.badValue("edge", "https://host", url === null ? JSON.stringify(text) : url.origin));
  }
  const secret = token ?? environment["ADMIN_TOKEN"] ?? "";
  if (secret === "") throw new UsageError(language.needsToken);
  // Told here, since the error that a header's check throws would hold the token.
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new UsageError(language.badToken);
  return { url: (url.origin + url.pathname).replace(/\/+$/, ""), token: secret };
}

function readPath(text: string | undefined, language: Language): string | null {
  if (text === undefined) return null;
  if (/^\/[\x21-\x7e]*$/.test(text) && !text.startsWith("//") && !text.includes("#")) return text;
  throw new UsageError(language.badValue("path", "/path", JSON.stringify(text)));
}

if (import.meta.main) {
  const interrupted = new AbortController();
  // The first Ctrl-C ends the measurement and reports it; a second one ends the program.
  process.once("SIGINT", () => interrupted.abort());
  process.exitCode = await main(process.argv.slice(2), {
    environment: process.env,
    variablesFile: ".dev.vars",
    out: (text) => process.stdout.write(`${text}\n`),
    err: (text) => process.stderr.write(`${text}\n`),
    terminal: process.stderr.isTTY ? process.stderr : null,
    signal: interrupted.signal,
  });
}
