/** The registry under a virtual clock: the real `Fleet`, with an alarm and probes. */
import type { Config } from "../src/shared/config/config.ts";
import type {
  MoveReply,
  MoveRequest,
  PickReply,
  PickRequest,
  Report,
  RoutingTable,
  Settlement,
} from "../src/shared/contract.ts";
import { emptyMemory, Fleet, type Effects } from "../src/shared/fleet/fleet.ts";
import { Records } from "../src/shared/fleet/records.ts";
import type { Rng } from "../src/shared/rng.ts";
import type { Network } from "./network.ts";
import type { Timeline } from "./timeline.ts";

export interface StateChange {
  readonly atMs: number;
  readonly server: string;
  readonly from: string;
  readonly to: string;
}

export class Registry {
  readonly fleet: Fleet;
  /** Every change of a backend's health, in order. */
  readonly changes: StateChange[] = [];
  /** Calls by edges. */
  calls = 0;
  readonly #timeline: Timeline;
  readonly #network: Network;
  readonly #rng: Rng;
  readonly #probing = new Set<string>();
  #leases = 0;

  /** @param tickMs how often its alarm looks for what is due. */
  constructor(config: Config, timeline: Timeline, network: Network, rng: Rng, tickMs: number) {
    this.#timeline = timeline;
    this.#network = network;
    this.#rng = rng;
    this.fleet = new Fleet(config, emptyMemory, new Records(), timeline.nowMs);
    timeline.every(tickMs, timeline.nowMs + tickMs, () => this.#alarm());
  }

  pick(request: PickRequest): PickReply {
    this.calls += 1;
    this.#leases += 1;
    const now = { nowMs: this.#timeline.nowMs, rng: this.#rng };
    return this.fleet.pick(request, `lease-${this.#leases}`, null, now);
  }

  settle(settlement: Settlement): void {
    this.calls += 1;
    this.#follow(this.fleet.settle(settlement, this.#timeline.nowMs));
  }

  move(request: MoveRequest): MoveReply {
    this.calls += 1;
    const { effects, ...reply } = this.fleet.move(request, this.#timeline.nowMs);
    this.#follow(effects);
    return reply;
  }

  renew(leaseId: string, backend: string, routeClass: PickRequest["routeClass"]): void {
    this.calls += 1;
    this.fleet.renew(leaseId, backend, routeClass, this.#timeline.nowMs);
  }

  report(report: Report): RoutingTable | null {
    this.calls += 1;
    this.#follow(this.fleet.report(report, this.#timeline.nowMs));
    const table = this.fleet.table(this.#timeline.nowMs);
    return table.version === report.tableVersion ? null : table;
  }

  #alarm(): void {
    this.#follow(this.fleet.tick(this.#timeline.nowMs));
    for (const name of this.fleet.dueProbes(this.#timeline.nowMs)) this.#probe(name);
  }

  #probe(name: string): void {
    if (this.#probing.has(name)) return;
    this.#probing.add(name);
    const sentMs = this.#timeline.nowMs;
    this.#network.probe(name, (ok) => {
      this.#probing.delete(name);
      const nowMs = this.#timeline.nowMs;
      const fact = {
        backend: name,
        ok,
        reason: ok ? "ok" : "refused",
        latencyMs: ok ? nowMs - sentMs : null,
        alive: ok,
      };
      this.#follow(this.fleet.probed(fact, nowMs));
    });
  }

  #follow(effects: Effects): void {
    for (const { backend, from, to } of effects.transitions) {
      this.changes.push({ atMs: this.#timeline.nowMs, server: backend, from, to });
    }
    for (const name of effects.probeNow) this.#probe(name);
  }
}
