/** One simulated run: so many edges send so many requests to so many servers under one policy. */
import type { BackendConfig, Config } from "../src/shared/config/config.ts";
import { backendDefaults, defaults } from "../src/shared/config/defaults.ts";
import { routeClasses } from "../src/shared/route.ts";
import { seededRng, type Rng } from "../src/shared/rng.ts";
import { exponential } from "./distribution.ts";
import { ExactEdge, type Edge, type RequestEnd } from "./edge.ts";
import { Network, type SimRequest } from "./network.ts";
import { parsePolicy, type SimPolicy } from "./policies.ts";
import { ProbingEdge, ServerLatencies } from "./probing-edge.ts";
import { Registry, type StateChange } from "./registry.ts";
import { findScenario, type Scenario } from "./scenarios.ts";
import { Server } from "./server.ts";
import { TableEdge } from "./table-edge.ts";
import { Timeline } from "./timeline.ts";

export interface RunOptions {
  readonly scenario: string;
  readonly policy: string;
  readonly seed: number;
  readonly servers?: number | undefined;
  readonly clients?: number | undefined;
  readonly edges?: number | undefined;
  readonly load?: number | undefined;
  readonly rttMs?: number | undefined;
  /** Requests to measure, where the scenario counts them. */
  readonly requests?: number | undefined;
}

/** What became of one request that began in the measured time. */
export interface Finished {
  readonly startMs: number;
  readonly latencyMs: number;
  /** The last server it was sent to; null: none would take it. */
  readonly server: string | null;
  readonly end: "ok" | "error" | "timeout" | "refused" | "invalid";
}

export interface Run {
  readonly options: RunOptions;
  readonly scenario: Scenario;
  readonly servers: readonly string[];
  readonly finished: readonly Finished[];
  /** Of the one registry, or of the first edge's own. */
  readonly changes: readonly StateChange[];
  readonly registryCalls: number;
  readonly untilMs: number;
}

export function simulate(options: RunOptions): Run {
  const scenario = withOptions(findScenario(options.scenario), options);
  const policy = parsePolicy(options.policy);
  const timeline = new Timeline();
  const chance = streams(options.seed);
  const names = Array.from({ length: scenario.servers }, (_, index) => `s${index + 1}`);
  const servers = names.map(
    (name, index) => new Server({ name, discipline: scenario.discipline, speed: scenario.speed(index) }, timeline),
  );
  const network = new Network(servers, timeline, scenario.hopMs, chance.faults);
  const { edges, registries } = buildEdges(scenario, policy, names, network, timeline, chance.choices);
  scenario.happens({ timeline, servers, rng: chance.world });

  const ratePerMs = (scenario.load * capacity(scenario)) / scenario.work.mean;
  const measuredMs = scenario.measuredMs ?? scenario.requests / ratePerMs;
  const untilMs = scenario.warmupMs + measuredMs;
  const finished: Finished[] = [];
  const open = new Set<SimRequest>();
  const launch = (request: SimRequest): void => {
    open.add(request);
    edges[request.edge]!.send(request, (end) => {
      open.delete(request);
      if (request.startMs >= scenario.warmupMs) finished.push(finish(request, end, timeline.nowMs));
    });
  };
  planArrivals(scenario, ratePerMs, untilMs, timeline, chance.arrivals, launch);
  planInvalid(scenario, measuredMs, timeline, launch);
  timeline.run(untilMs + drainMs(scenario));
  for (const request of open) {
    if (request.startMs >= scenario.warmupMs) finished.push(leftOver(request, network.sentTo(request), timeline.nowMs));
  }
  return {
    options,
    scenario,
    servers: names,
    finished,
    changes: registries[0]?.changes ?? [],
    registryCalls: registries.reduce((sum, registry) => sum + registry.calls, 0),
    untilMs,
  };
}

function withOptions(scenario: Scenario, options: RunOptions): Scenario {
  return {
    ...scenario,
    servers: options.servers ?? scenario.servers,
    clients: options.clients ?? scenario.clients,
    edges: options.edges ?? (scenario.edges === scenario.clients ? options.clients : undefined) ?? scenario.edges,
    load: options.load ?? scenario.load,
    rttMs: options.rttMs ?? scenario.rttMs,
    requests: options.requests ?? scenario.requests,
  };
}

/** Sources of chance of their own, so that every policy meets the same requests and the same faults. */
function streams(seed: number): { arrivals: Rng; choices: Rng; faults: Rng; world: Rng } {
  const rng = seededRng(seed);
  const next = (): Rng => seededRng(Math.floor(rng() * 2 ** 32));
  return { arrivals: next(), choices: next(), faults: next(), world: next() };
}

/** Work per millisecond that all servers do together at nominal speed. */
function capacity({ servers, speed, discipline }: Scenario): number {
  const width = discipline.kind === "fifo" ? discipline.slots : discipline.cores;
  return Array.from({ length: servers }, (_, index) => speed(index) * width).reduce((sum, one) => sum + one, 0);
}

/** Long enough that what began in the measured time can end, unless its queue grew without bound. */
function drainMs(scenario: Scenario): number {
  return scenario.timeoutMs < Infinity ? scenario.timeoutMs + 1000 : 4 * 3_600_000;
}

function leftOver(request: SimRequest, server: string | null, nowMs: number): Finished {
  return { startMs: request.startMs, latencyMs: nowMs - request.startMs, server, end: "timeout" };
}

function planArrivals(
  scenario: Scenario,
  ratePerMs: number,
  untilMs: number,
  timeline: Timeline,
  rng: Rng,
  launch: (request: SimRequest) => void,
): void {
  const next = (): void => {
    const startMs = timeline.nowMs + exponential(1 / ratePerMs, rng);
    if (startMs >= untilMs) return;
    const client = Math.floor(rng() * scenario.clients);
    const work = scenario.work.draw(rng);
    timeline.at(startMs, () => {
      launch(requestOf(scenario, client, work, false, startMs));
      next();
    });
  };
  next();
}

function planInvalid(
  scenario: Scenario,
  measuredMs: number,
  timeline: Timeline,
  launch: (request: SimRequest) => void,
): void {
  for (let index = 0; index < scenario.invalidRequests; index += 1) {
    const startMs = scenario.warmupMs + (measuredMs * index) / scenario.invalidRequests;
    timeline.at(startMs, () => launch(requestOf(scenario, 0, 0, true, startMs)));
  }
}

function requestOf(scenario: Scenario, client: number, work: number, invalid: boolean, startMs: number): SimRequest {
  return {
    edge: client % scenario.edges,
    client: `client-${client}`,
    work,
    invalid,
    startMs,
    deadlineMs: startMs + scenario.timeoutMs,
  };
}

function finish(request: SimRequest, end: RequestEnd, nowMs: number): Finished {
  const latencyMs = nowMs - request.startMs;
  const { startMs } = request;
  if (end.kind === "refused") return { startMs, latencyMs, server: null, end: "refused" };
  const { server, outcome, timedOut } = end.last;
  if (timedOut) return { startMs, latencyMs, server, end: "timeout" };
  if (outcome.kind === "client_fault") return { startMs, latencyMs, server, end: "invalid" };
  return { startMs, latencyMs, server, end: outcome.kind === "success" ? "ok" : "error" };
}

// ── The edges ────────────────────────────────────────────────────────────────────────────────────

export function configFor(policy: SimPolicy, names: readonly string[]): Config {
  const backends: BackendConfig[] = names.map((name) => ({ ...backendDefaults, name, url: `https://${name}.invalid` }));
  const policies = Object.fromEntries(routeClasses.map((routeClass) => [routeClass, policy.policy]));
  return {
    ...defaults,
    BACKENDS: backends,
    // Renewals are left out: they keep a lease alive while its request is open, which a long expiry does as well.
    WATCH: { ...defaults.WATCH, leaseExpiry: 30 * 86_400 },
    BALANCE: { ...defaults.BALANCE, policies: policies as Config["BALANCE"]["policies"] },
  };
}

function buildEdges(
  scenario: Scenario,
  policy: SimPolicy,
  names: readonly string[],
  network: Network,
  timeline: Timeline,
  rng: Rng,
): { edges: Edge[]; registries: Registry[] } {
  const config = configFor(policy, names);
  const numbers = Array.from({ length: scenario.edges }, (_, index) => index);
  const registry = (): Registry => new Registry(config, timeline, network, rng, scenario.tickMs);
  const { routeClass, rttMs, retry } = scenario;
  const exact = { routeClass, retry, useAffinity: policy.useAffinity };
  switch (policy.knowledge) {
    case "probing": {
      const latencies = new ServerLatencies();
      return {
        edges: numbers.map(() => new ProbingEdge(names, network, timeline, latencies, rttMs, rng)),
        registries: [],
      };
    }
    case "local": {
      const registries = numbers.map(registry);
      const edges = registries.map((own) => new ExactEdge(own, network, timeline, { ...exact, rttMs: 0 }));
      return { edges, registries };
    }
    case "exact": {
      const shared = registry();
      return {
        edges: numbers.map(() => new ExactEdge(shared, network, timeline, { ...exact, rttMs })),
        registries: [shared],
      };
    }
    case "table": {
      const shared = registry();
      const settings = { config, routeClass, rttMs, retry, useAffinity: policy.useAffinity };
      const edges = numbers.map(
        (index) => new TableEdge(shared, network, timeline, { ...settings, name: `edge-${index}` }, rng),
      );
      return { edges, registries: [shared] };
    }
  }
}
