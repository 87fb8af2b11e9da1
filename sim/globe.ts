/**
 * The whole edge and one registry: 300 data centres, real distances, up to ten thousand isolates. What a request does is
 * reckoned, not played (a million a second): what is played is every call to the registry, and what each isolate knows when.
 */
import Table from "cli-table3";
import { cities, roundTripMs, type City } from "./cities.ts";
import { GlobeIsolate } from "./globe-isolate.ts";
import { DirectLine, Relay, RegistryDesk } from "./globe-lines.ts";
import { Network } from "./network.ts";
import { barChart, lineChart, short } from "./plot.ts";
import { Registry } from "./registry.ts";
import { configFor } from "./run.ts";
import { parsePolicy } from "./policies.ts";
import { seededRng, type Rng } from "../src/shared/rng.ts";
import { Server } from "./server.ts";
import { balanceError } from "./table-shares.ts";
import { Timeline } from "./timeline.ts";

const second = 1000;

/** The registry stands near the backends. */
const home = "HKG";
const weights = [3, 2, 2, 1, 1, 1];
/** Steady state is measured from here… */
const steadyFromMs = 5 * second;
/** … to here, when a backend dies… */
const deathMs = 12 * second;
/** … and this is how long we watch the news spread. */
const endMs = 24 * second;
const sampleEveryMs = 250;

/** Who an isolate calls: the registry itself, or an object of its data centre that calls the registry for all of them. */
export type Layout = "one registry" | "a relay per data centre";

export interface GlobeRow {
  readonly layout: Layout;
  readonly isolates: number;
  readonly rps: number;
  /** Calls that the registry got, each second of the steady state. */
  readonly registryCallsPerS: number;
  /** Share of the calls to it that it had to turn away, over the whole run. */
  readonly turnedAway: number;
  /** Calls that the busiest relay got, each second. */
  readonly relayCallsPerS: number | null;
  /** How old what an isolate knew was when a request came. */
  readonly tableAgeP50Ms: number | null;
  readonly tableAgeP99Ms: number | null;
  /** The largest deviation of a backend's share from its weight's, in one second of all requests. */
  readonly balanceError: number;
  /** From a backend's death until the registry had ejected it. */
  readonly registryKnowsMs: number | null;
  /** … until half of the isolates had heard of it. */
  readonly halfKnowMs: number | null;
  /** … until the last request was sent to it: from then on everybody with traffic knew. null: not within the run. */
  readonly allKnowMs: number | null;
  /** Requests that met the dead backend and had to go on to another one. */
  readonly failedOver: number;
}

interface World {
  readonly timeline: Timeline;
  readonly registry: Registry;
  readonly desk: RegistryDesk;
  readonly relays: readonly Relay[];
  readonly isolates: readonly GlobeIsolate[];
  readonly victim: Server;
}

export const globeIsolates = [1, 10, 100, 1000, 10_000];
export const globeRates = [1000, 30_000, 1_000_000];

export interface GlobeOptions {
  readonly layout: Layout;
  readonly isolates: number;
  readonly rps: number;
  readonly seed: number;
}

/** Every combination; relays only for those who need them. */
export function globeOptions(seed: number): GlobeOptions[] {
  const layouts: readonly Layout[] = ["one registry", "a relay per data centre"];
  return layouts.flatMap((layout) =>
    globeIsolates
      .filter((isolates) => layout === "one registry" || isolates >= 1000)
      .flatMap((isolates) => globeRates.map((rps) => ({ layout, isolates, rps, seed }))),
  );
}

export function simulateGlobe({ layout, isolates: count, rps, seed }: GlobeOptions): GlobeRow {
  const world = build(layout, count, rps, seededRng(seed));
  const { timeline, registry, desk, relays, isolates, victim } = world;
  const ages: number[] = [];
  timeline.every(sampleEveryMs, steadyFromMs, () => {
    if (timeline.nowMs > deathMs) return;
    for (const isolate of isolates) ages.push(...isolate.agesSinceLastSample());
  });
  let before = { desk: 0, relays: relays.map(() => 0) };
  timeline.at(steadyFromMs, () => {
    before = { desk: desk.calls, relays: relays.map((relay) => relay.calls) };
  });
  let steady = { desk: 0, relay: 0 };
  timeline.at(deathMs, () => {
    const seconds = (deathMs - steadyFromMs) / second;
    const busiest = Math.max(0, ...relays.map((relay, index) => relay.calls - before.relays[index]!));
    steady = { desk: (desk.calls - before.desk) / seconds, relay: busiest / seconds };
    victim.dead = true;
    for (const isolate of isolates) isolate.backendDied(victim.name);
  });
  timeline.run(endMs);
  const known = isolates
    .map((isolate) => isolate.knowsAtMs)
    .filter((at) => at !== null)
    .sort((a, b) => a - b);
  const lastMetMs = Math.max(...isolates.map((isolate) => isolate.metDeadAtMs ?? deathMs));
  const ejected = registry.changes.find((change) => change.to === "ejected" && change.server === victim.name);
  const sorted = Float64Array.from(ages).sort();
  return {
    layout,
    isolates: count,
    rps,
    registryCallsPerS: round(steady.desk),
    turnedAway: desk.calls === 0 ? 0 : round(desk.turnedAway / desk.calls, 4),
    relayCallsPerS: relays.length === 0 ? null : round(steady.relay),
    tableAgeP50Ms: sorted.length === 0 ? null : Math.round(sorted[sorted.length >> 1]!),
    tableAgeP99Ms: sorted.length === 0 ? null : Math.round(sorted[Math.floor(sorted.length * 0.99)]!),
    balanceError: balanceError(
      isolates.map((isolate) => isolate.members),
      rps,
      seededRng(seed + 1),
    ),
    registryKnowsMs: ejected === undefined ? null : Math.round(ejected.atMs - deathMs),
    halfKnowMs: known.length * 2 < count ? null : Math.round(known[known.length >> 1]! - deathMs),
    allKnowMs: lastMetMs > endMs - 2 * second ? null : Math.round(lastMetMs - deathMs),
    failedOver: Math.round(isolates.reduce((sum, isolate) => sum + isolate.failedOver, 0)),
  };
}

function build(layout: Layout, count: number, rps: number, rng: Rng): World {
  const timeline = new Timeline();
  const names = weights.map((_, index) => `s${index + 1}`);
  const servers = names.map(
    (name) => new Server({ name, discipline: { kind: "sharing", cores: 1e9 }, speed: 1 }, timeline),
  );
  const network = new Network(servers, timeline, 10, rng);
  const plain = configFor(parsePolicy("weighted-round-robin"), names);
  const config = {
    ...plain,
    BACKENDS: plain.BACKENDS.map((backend, index) => Object.assign({}, backend, { weight: weights[index]! })),
  };
  const registry = new Registry(config, timeline, network, rng, second);
  const desk = new RegistryDesk(registry, timeline);
  const center = cities.find((city) => city.code === home)!;
  const relays =
    layout === "one registry"
      ? []
      : cities.map((city) => new Relay(city.code, desk, roundTripMs(city, center), timeline));
  const isolates = Array.from({ length: count }, (_, index) => {
    const place = placeOf(index, count);
    const line = relays[place] ?? new DirectLine(desk, roundTripMs(cities[place] as City, center), timeline);
    return new GlobeIsolate(`i${index}`, cities[place]!.code, rps / count, config, line, timeline, rng);
  });
  return { timeline, registry, desk, relays, isolates, victim: servers[0]! };
}

/** Spread over all data centres, however few there are. */
function placeOf(index: number, count: number): number {
  return Math.floor((index * cities.length) / Math.min(count, cities.length)) % cities.length;
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

// ── What is shown ────────────────────────────────────────────────────────────────────────────────

const heads = [
  "calls",
  "isolates",
  "requests/s",
  "registry calls/s",
  "turned away",
  "busiest relay calls/s",
  "table age p50",
  "table age p99",
  "balance error",
  "registry knows",
  "half know",
  "last request to it",
  "failed over",
];

function cells(row: GlobeRow): string[] {
  const ms = (value: number | null): string => (value === null ? "–" : `${value} ms`);
  const percent = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;
  return [
    row.layout,
    short(row.isolates),
    short(row.rps),
    short(row.registryCallsPerS),
    percent(row.turnedAway),
    row.relayCallsPerS === null ? "–" : short(row.relayCallsPerS),
    ms(row.tableAgeP50Ms),
    ms(row.tableAgeP99Ms),
    percent(row.balanceError),
    ms(row.registryKnowsMs),
    ms(row.halfKnowMs),
    ms(row.allKnowMs),
    short(row.failedOver),
  ];
}

export function globeTable(rows: readonly GlobeRow[]): string {
  const table = new Table({
    head: heads.map((head) => head.replaceAll(" ", "\n")),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push(cells(row));
  return table.toString();
}

export function globeMarkdown(rows: readonly GlobeRow[]): string {
  const line = (list: readonly string[]): string => `| ${list.join(" | ")} |`;
  return [
    "## The globe",
    "",
    `${cities.length} data centres at their real places, the registry at ${home}: a round trip is 2 ms and light in glass along 1.5 times the great circle. Isolates are spread evenly, requests evenly over the isolates, six backends of weights ${weights.join(", ")}. The registry takes 1 ms a call and turns calls away when a second's worth is waiting; an isolate that was turned away waits about a second. Then a backend with 30 % of the traffic dies.`,
    "",
    "- **Up to about 500 isolates at work one registry is enough**: its calls grow with isolates, one a second for each busy one, and not with requests, and take half of its time; what isolates know is mostly less than a second old.",
    "- **A thousand** busy ones take all of its time. Here it keeps up, since nothing else is asked of it; but picks and settlements of generations share that thread, so one has to stop before.",
    "- **Ten thousand** overload it. Tables age to ten seconds, calls are turned away, and a dead backend keeps getting requests, each of which costs an attempt that fails over.",
    "- **The next step** is an object in each data centre that merges what its isolates tell and hands its table on (`a relay per data centre`). The registry then hears one voice a data centre, about 300 a second however many isolates there are, and the busiest relay a few dozen. It costs about 0.7 s more age. The reports merge by addition already, so a relay needs no rule of its own. It is not built.",
    "- A small share of traffic over many isolates keeps to the weights only as well as chance does: 1,000 requests in a second over 1,000 isolates are one each.",
    "",
    "![registry calls](balancing-globe-calls.svg)",
    "",
    "![when everybody knows](balancing-globe-news.svg)",
    "",
    line(heads),
    line(heads.map((_, index) => (index === 0 ? "---" : "--:"))),
    ...rows.map((row) => line(cells(row))),
    "",
  ].join("\n");
}

export function globePlots(rows: readonly GlobeRow[]): Record<string, string> {
  const at = (layout: Layout, isolates: number, rps: number): GlobeRow | undefined =>
    rows.find((row) => row.layout === layout && row.isolates === isolates && row.rps === rps);
  const middle = globeRates[1]!;
  const layouts: readonly Layout[] = ["one registry", "a relay per data centre"];
  return {
    "balancing-globe-calls.svg": lineChart({
      title: "Registry calls a second: they grow with isolates, hardly with requests",
      xLabel: "isolates",
      yLabel: "calls/s",
      x: globeIsolates.map(String),
      series: layouts.flatMap((layout) =>
        [globeRates[0]!, middle].map((rps) => ({
          name: `${nickname(layout)}, ${short(rps)} rps`,
          values: globeIsolates.map((isolates) => at(layout, isolates, rps)?.registryCallsPerS ?? null),
        })),
      ),
      scale: "log",
    }),
    "balancing-globe-news.svg": barChart({
      title: `From a backend's death until it is known, at ${short(middle)} requests a second`,
      xLabel: "isolates",
      yLabel: "milliseconds",
      x: globeIsolates.map(String),
      series: layouts.flatMap((layout) => [
        {
          name: `half know, ${nickname(layout)}`,
          values: globeIsolates.map((isolates) => at(layout, isolates, middle)?.halfKnowMs ?? null),
        },
        {
          name: `last request to it, ${nickname(layout)}`,
          values: globeIsolates.map((isolates) => at(layout, isolates, middle)?.allKnowMs ?? null),
        },
      ]),
      scale: "linear",
    }),
  };
}

/** For a legend, which is one line. */
function nickname(layout: Layout): string {
  return layout === "one registry" ? layout : "relays";
}
