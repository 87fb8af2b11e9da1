/** Picks from a table that it holds for a moment and tells once a second what it saw: the real `LocalTable` and `Findbook`. */
import { createSelectionMemory, select } from "../src/shared/balance/select.ts";
import type { Config } from "../src/shared/config/config.ts";
import type { RouteClass } from "../src/shared/route.ts";
import type { Rng } from "../src/shared/rng.ts";
import { Findbook } from "../src/worker/report.ts";
import { freshMs, LocalTable, refreshFromMs, refreshPatienceMs, tableOfConfiguration } from "../src/worker/table.ts";
import { mayGoOn, type Edge, type RequestEnd, type RetryRule } from "./edge.ts";
import type { AttemptEnd, Network, SimRequest } from "./network.ts";
import type { Registry } from "./registry.ts";
import type { Timeline } from "./timeline.ts";

/** What was seen is told after so long at the latest. */
const reportEveryMs = 1000;

export interface TableSettings {
  readonly name: string;
  readonly config: Config;
  readonly routeClass: RouteClass;
  readonly rttMs: number;
  readonly retry: RetryRule;
  readonly useAffinity: boolean;
}

export class TableEdge implements Edge {
  readonly #registry: Registry;
  readonly #network: Network;
  readonly #timeline: Timeline;
  readonly #settings: TableSettings;
  readonly #rng: Rng;
  readonly #table: LocalTable;
  readonly #findings = new Findbook();
  readonly #selection = createSelectionMemory();
  #reporting = false;
  #flushing = false;

  constructor(registry: Registry, network: Network, timeline: Timeline, settings: TableSettings, rng: Rng) {
    this.#registry = registry;
    this.#network = network;
    this.#timeline = timeline;
    this.#settings = settings;
    this.#rng = rng;
    this.#table = new LocalTable(tableOfConfiguration(settings.config.BACKENDS));
    this.#table.confirmedMs = -Infinity;
  }

  send(request: SimRequest, ended: (end: RequestEnd) => void): void {
    const ageMs = this.#table.ageMs(this.#timeline.nowMs);
    if (ageMs >= refreshFromMs) this.#report();
    if (ageMs < freshMs) return this.#pick(request, ended);
    this.#timeline.after(Math.min(this.#settings.rttMs, refreshPatienceMs), () => this.#pick(request, ended));
  }

  #pick(request: SimRequest, ended: (end: RequestEnd) => void): void {
    const { routeClass, config, useAffinity } = this.#settings;
    const choice = select(
      this.#table.members,
      {
        routeClass,
        routeId: "GET /v1/models",
        model: null,
        affinityKey: useAffinity ? request.client : null,
        edgeRegion: "local",
      },
      config.BALANCE,
      this.#selection,
      { nowMs: this.#timeline.nowMs, rng: this.#rng },
    );
    this.#findings.counters.requests += 1;
    this.#reportSoon();
    if (choice.kind === "none") return ended({ kind: "refused" });
    this.#walk(
      request,
      choice.ordered.map((member) => member.name),
      ended,
    );
  }

  #walk(request: SimRequest, candidates: readonly string[], ended: (end: RequestEnd) => void): void {
    let attempts = 0;
    const tryNext = (): void => {
      const name = candidates[attempts]!;
      attempts += 1;
      this.#table.opened(name);
      this.#network.attempt(name, request, (end) => {
        this.#table.closed(name);
        this.#note(end);
        if (mayGoOn(end, attempts, this.#settings.retry) && attempts < candidates.length) tryNext();
        else ended({ kind: "answered", last: end });
      });
    };
    tryNext();
  }

  #note(end: AttemptEnd): void {
    this.#findings.note(end.server, this.#settings.routeClass, end.outcome, end.latencyMs, 0, null);
    if (end.outcome.kind === "backend_fault") this.#report();
    else this.#reportSoon();
  }

  #reportSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#timeline.after(reportEveryMs, () => {
      this.#flushing = false;
      if (!this.#findings.isEmpty) this.#report();
    });
  }

  /** One at a time, as in the isolate. */
  #report(): void {
    if (this.#reporting) return;
    this.#reporting = true;
    const { rttMs, name } = this.#settings;
    const findings = this.#findings.take();
    const told = this.#table.open();
    const tableVersion = this.#table.source === "registry" ? this.#table.table.version : -1;
    this.#timeline.after(rttMs / 2, () => {
      const report = { isolate: name, edgeRegion: "local", ...findings, inFlight: told, tableVersion };
      const table = this.#registry.report(report);
      this.#timeline.after(rttMs / 2, () => {
        this.#reporting = false;
        if (table === null) this.#table.confirm(this.#timeline.nowMs);
        else this.#table.adopt(table, "registry", this.#timeline.nowMs, told);
      });
    });
  }
}
