/**
 * Prequal's client (NSDI'24): asynchronous probes fill a pool; hot–cold lexicographic chooses from it. Here only to be compared
 * with; the product has no use for it.
 */
import type { Rng } from "../src/shared/rng.ts";
import type { Edge, RequestEnd } from "./edge.ts";
import type { Network, SimRequest } from "./network.ts";
import type { Timeline } from "./timeline.ts";

/** The paper's parameters: probes a query, pool size, longest use of a probe, removals a query, Q_RIF, δ of the reuse formula. */
const probesPerQuery = 3;
const poolSize = 16;
const probeAgeMs = 1000;
const removalsPerQuery = 1;
const hotQuantile = 0.84;
const reuseDelta = 1;
/** Probes that the client estimates the distribution of requests in flight from. */
const rifWindow = 128;

/** What a server says when it is probed. */
export interface ServerReading {
  readonly inFlight: number;
  readonly latencyMs: number;
}

/** Recent latencies kept for one server and one number in flight. */
const latencyWindow = 15;

/** Keeps, for each server, recent latencies by the requests in flight at arrival: their median is its latency estimate. */
export class ServerLatencies {
  readonly #byServer = new Map<string, Map<number, number[]>>();

  record(server: string, rif: number, latencyMs: number): void {
    let byRif = this.#byServer.get(server);
    if (byRif === undefined) this.#byServer.set(server, (byRif = new Map()));
    let samples = byRif.get(rif);
    if (samples === undefined) byRif.set(rif, (samples = []));
    samples.push(latencyMs);
    if (samples.length > latencyWindow) samples.shift();
  }

  /** The median of the latencies seen at the number in flight nearest to the present one; 0 without any. */
  estimate(server: string, rif: number): number {
    const byRif = this.#byServer.get(server);
    if (byRif === undefined) return 0;
    for (let distance = 0; distance <= rifWindow; distance += 1) {
      const samples = byRif.get(rif - distance) ?? byRif.get(rif + distance);
      if (samples !== undefined) return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
    }
    return 0;
  }
}

interface Probe {
  readonly server: string;
  inFlight: number;
  readonly latencyMs: number;
  readonly receivedMs: number;
  usesLeft: number;
}

export class ProbingEdge implements Edge {
  readonly #servers: readonly string[];
  readonly #network: Network;
  readonly #timeline: Timeline;
  readonly #probeMs: number;
  readonly #latencies: ServerLatencies;
  readonly #rng: Rng;
  readonly #pool: Probe[] = [];
  readonly #rifs: number[] = [];
  readonly #reuse: number;
  #hotAbove = 0;
  #removeWorst = false;

  constructor(
    servers: readonly string[],
    network: Network,
    timeline: Timeline,
    latencies: ServerLatencies,
    probeMs: number,
    rng: Rng,
  ) {
    this.#servers = servers;
    this.#network = network;
    this.#timeline = timeline;
    this.#latencies = latencies;
    this.#probeMs = probeMs;
    this.#rng = rng;
    const gain = (1 - Math.min(poolSize, servers.length) / servers.length) * probesPerQuery - removalsPerQuery;
    this.#reuse = gain > 0 ? Math.max(1, (1 + reuseDelta) / gain) : Infinity;
  }

  send(request: SimRequest, ended: (end: RequestEnd) => void): void {
    for (let count = 0; count < probesPerQuery; count += 1) this.#probe(this.#randomServer());
    const name = this.#choose();
    for (let count = 0; count < removalsPerQuery; count += 1) this.#removeOne();
    const server = this.#network.server(name);
    const rif = server.inFlight;
    this.#network.attempt(name, request, (last) => {
      this.#latencies.record(name, rif, last.latencyMs);
      ended({ kind: "answered", last });
    });
  }

  #randomServer(): string {
    return this.#servers[Math.floor(this.#rng() * this.#servers.length)]!;
  }

  #probe(name: string): void {
    this.#timeline.after(this.#probeMs / 2, () => {
      const { inFlight } = this.#network.server(name);
      const latencyMs = this.#latencies.estimate(name, inFlight);
      this.#timeline.after(this.#probeMs / 2, () => this.#receive(name, inFlight, latencyMs));
    });
  }

  #receive(server: string, inFlight: number, latencyMs: number): void {
    this.#rifs.push(inFlight);
    if (this.#rifs.length > rifWindow) this.#rifs.shift();
    const usesLeft = Math.floor(this.#reuse) + (this.#rng() < this.#reuse % 1 ? 1 : 0);
    this.#pool.push({ server, inFlight, latencyMs, receivedMs: this.#timeline.nowMs, usesLeft });
    if (this.#pool.length > poolSize) this.#pool.shift();
  }

  #measureHot(): void {
    const sorted = Float64Array.from(this.#rifs).sort();
    this.#hotAbove = sorted[Math.floor(hotQuantile * (sorted.length - 1))] ?? 0;
  }

  /** The best of the pool; a random server while the pool has fewer than two. */
  #choose(): string {
    const youngest = this.#timeline.nowMs - probeAgeMs;
    while (this.#pool[0] !== undefined && this.#pool[0].receivedMs < youngest) this.#pool.shift();
    if (this.#pool.length < 2) return this.#randomServer();
    this.#measureHot();
    const limit = this.#hotAbove;
    const best = this.#pool.reduce((one, other) => (isBetter(other, one, limit) ? other : one));
    best.inFlight += 1;
    best.usesLeft -= 1;
    if (best.usesLeft <= 0) this.#pool.splice(this.#pool.indexOf(best), 1);
    return best.server;
  }

  /** Removes the oldest and the worst by turns, so that neither stale nor bad probes pile up. */
  #removeOne(): void {
    if (this.#pool.length === 0) return;
    this.#removeWorst = !this.#removeWorst;
    if (!this.#removeWorst) {
      this.#pool.shift();
      return;
    }
    const limit = this.#hotAbove;
    const worst = this.#pool.reduce((one, other) => (isBetter(one, other, limit) ? other : one));
    this.#pool.splice(this.#pool.indexOf(worst), 1);
  }
}

function isBetter(a: Probe, b: Probe, hotAbove: number): boolean {
  const hotA = a.inFlight > hotAbove;
  const hotB = b.inFlight > hotAbove;
  if (hotA !== hotB) return hotB;
  return hotA ? a.inFlight < b.inFlight : a.latencyMs < b.latencyMs;
}
