/** The situations that policies are compared in, by name. */
import type { Rng } from "../src/shared/rng.ts";
import type { RouteClass } from "../src/shared/route.ts";
import { clampedLogNormal, exponential, truncatedNormal, type Distribution } from "./distribution.ts";
import type { RetryRule } from "./edge.ts";
import type { Discipline, Server } from "./server.ts";
import type { Timeline } from "./timeline.ts";

const second = 1000;
const minute = 60 * second;

/** What a scenario may do to the world while it runs. */
export interface World {
  readonly timeline: Timeline;
  readonly servers: readonly Server[];
  readonly rng: Rng;
}

export interface Scenario {
  readonly about: string;
  readonly servers: number;
  readonly edges: number;
  readonly clients: number;
  /** Share of the summed nominal speed that the requests ask for. */
  readonly load: number;
  readonly rttMs: number;
  /** From an edge to a backend and back. */
  readonly hopMs: number;
  readonly routeClass: RouteClass;
  readonly retry: RetryRule;
  readonly discipline: Discipline;
  /** Nominal speed of the server with this index. */
  readonly speed: (index: number) => number;
  readonly work: Distribution;
  /** A client waits so long. */
  readonly timeoutMs: number;
  /** Not counted. */
  readonly warmupMs: number;
  /** Counted, after the warm-up. null: as long as `requests` take. */
  readonly measuredMs: number | null;
  readonly requests: number;
  /** How often the registry's alarm looks for what is due. */
  readonly tickMs: number;
  readonly happens: (world: World) => void;
  /** Requests that one client gets wrong, sent at even intervals over the measured time. */
  readonly invalidRequests: number;
}

const paid: RetryRule = { maxAttempts: 3, cheap: false };
const cheap: RetryRule = { maxAttempts: 3, cheap: true };

const nothing = (): void => undefined;

/** Four servers, 20 requests a second each, 200 ms: where faults are easiest to read. */
const shortJobs: Scenario = {
  about: "four servers at 20 requests/s each, 200 ms jobs",
  servers: 4,
  edges: 8,
  clients: 200,
  load: 0.25,
  rttMs: 20,
  hopMs: 10,
  routeClass: "query",
  retry: cheap,
  discipline: { kind: "sharing", cores: 16 },
  speed: () => 1,
  work: { draw: (rng) => 100 + exponential(100, rng), mean: 200 },
  timeoutMs: 10 * second,
  warmupMs: 10 * second,
  measuredMs: 150 * second,
  requests: 0,
  tickMs: second,
  happens: nothing,
  invalidRequests: 0,
};

/** When the fault of a scenario begins, after the warm-up. */
export const faultStartMs = shortJobs.warmupMs + 30 * second;

function faulty(about: string, given: Partial<Scenario>): Scenario {
  return { ...shortJobs, ...given, about: `${shortJobs.about}; ${about}` };
}

export const scenarios = {
  prequal: {
    ...shortJobs,
    about:
      "Prequal's experiment: 100 clients × 100 servers, work N(μ, μ) truncated at 0, 5 s timeout, machines shared with others",
    servers: 100,
    edges: 100,
    clients: 100,
    load: 0.7,
    rttMs: 1,
    hopMs: 1,
    routeClass: "generate",
    discipline: { kind: "sharing", cores: 8 },
    work: truncatedNormal(70),
    timeoutMs: 5 * second,
    warmupMs: 1.5 * second,
    measuredMs: 1.5 * second,
    happens: sharedMachines,
  },
  "small-fleet": {
    ...shortJobs,
    about: "4 servers with FIFO queues and 2 slots each, one 3× slower, 16 edges, generations of 3 s – 10 min",
    edges: 16,
    load: 0.9,
    rttMs: 30,
    hopMs: 30,
    routeClass: "generate",
    retry: paid,
    discipline: { kind: "fifo", slots: 2 },
    speed: (index: number) => (index === 0 ? 1 / 3 : 1),
    work: clampedLogNormal(25 * second, 1, 3 * second, 10 * minute),
    timeoutMs: Infinity,
    warmupMs: 2 * 60 * minute,
    measuredMs: null,
    requests: 20_000,
    tickMs: 10 * minute,
  },
  "slow-backend": faulty("one ten times slower for 30 s", {
    happens: ({ timeline, servers }) => during(timeline, 30 * second, (on) => (servers[0]!.speed = on ? 0.1 : 1)),
  }),
  dead: faulty("one refuses connections for 60 s", {
    happens: ({ timeline, servers }) => during(timeline, 60 * second, (on) => (servers[0]!.dead = on)),
  }),
  failing: faulty("at 5 requests/s each; one answers 30 % of its requests with an error for 90 s", {
    load: 0.0625,
    happens: ({ timeline, servers }) => during(timeline, 90 * second, (on) => (servers[0]!.failing = on ? 0.3 : 0)),
  }),
  recovering: faulty("busy; one is dead for 30 s and comes back cold: half as fast, at full speed after 30 s more", {
    load: 0.6,
    happens: comesBackCold,
  }),
  flapping: faulty("one dies and returns every 20 s", {
    load: 0.0625,
    measuredMs: 15 * minute,
    happens: ({ timeline, servers }) =>
      timeline.every(20 * second, faultStartMs, () => {
        servers[0]!.dead = !servers[0]!.dead;
      }),
  }),
  "invalid-requests": faulty("one client sends 1,000 requests that any server refuses", {
    measuredMs: minute,
    invalidRequests: 1000,
  }),
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof scenarios;
export const scenarioNames = Object.keys(scenarios) as ScenarioName[];

export function findScenario(name: string): Scenario {
  const found = (scenarios as Record<string, Scenario>)[name];
  if (found === undefined) {
    throw new RangeError(
      `scenario: expected ${[...scenarioNames, "globe"].join(", ")}, received ${JSON.stringify(name)}`,
    );
  }
  return found;
}

function during(timeline: Timeline, lengthMs: number, set: (on: boolean) => void): void {
  timeline.at(faultStartMs, () => set(true));
  timeline.at(faultStartMs + lengthMs, () => set(false));
}

function comesBackCold({ timeline, servers }: World): void {
  const server = servers[0]!;
  during(timeline, 30 * second, (on) => {
    server.dead = on;
    server.speed = on ? 1 : 0.5;
  });
  timeline.at(faultStartMs + 60 * second, () => (server.speed = 1));
}

/**
 * The testbed's machines run other jobs too: a crowded one gives a server half the cores it was promised, most have some to
 * spare, and it changes every 20 s or so.
 */
function sharedMachines({ timeline, servers, rng }: World): void {
  for (const server of servers) {
    const change = (): void => {
      const chance = rng();
      server.allowance = chance < 0.15 ? 0.5 : chance < 0.5 ? 1 : 1.5;
      timeline.after(exponential(20 * second, rng), change);
    };
    change();
  }
}
