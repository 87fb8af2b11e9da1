/** The ways from an isolate to the registry. */
import type { Report, RoutingTable } from "../src/shared/contract.ts";
import { Findbook } from "../src/worker/report.ts";
import type { Registry } from "./registry.ts";
import type { Timeline } from "./timeline.ts";

/** A simple call of a Durable Object: about a thousand a second. */
const callMs = 1;
/** Longer than this nobody waits: the runtime answers "overloaded". */
const patienceMs = 1000;
/** A relay tells what it has heard after so long at the latest. */
const relayEveryMs = 1000;

/** `null`: there is no newer table. */
export type LineReply =
  { readonly kind: "table"; readonly table: RoutingTable | null } | { readonly kind: "overloaded" };

export interface Line {
  /** @param urgent it tells of a failure: a relay passes it on at once. */
  call(report: Report, urgent: boolean, reply: (answer: LineReply) => void): void;
}

/** The registry with a queue: one thread, so much time a call. */
export class RegistryDesk {
  calls = 0;
  turnedAway = 0;
  readonly #registry: Registry;
  readonly #timeline: Timeline;
  #freeAtMs = 0;

  constructor(registry: Registry, timeline: Timeline) {
    this.#registry = registry;
    this.#timeline = timeline;
  }

  take(report: Report, reply: (answer: LineReply) => void): void {
    this.calls += 1;
    const { nowMs } = this.#timeline;
    if (this.#freeAtMs - nowMs > patienceMs) {
      this.turnedAway += 1;
      reply({ kind: "overloaded" });
      return;
    }
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + callMs;
    this.#timeline.at(this.#freeAtMs, () => reply({ kind: "table", table: this.#registry.report(report) }));
  }
}

export class DirectLine implements Line {
  readonly #desk: RegistryDesk;
  readonly #rttMs: number;
  readonly #timeline: Timeline;

  constructor(desk: RegistryDesk, rttMs: number, timeline: Timeline) {
    this.#desk = desk;
    this.#rttMs = rttMs;
    this.#timeline = timeline;
  }

  call(report: Report, _urgent: boolean, reply: (answer: LineReply) => void): void {
    this.#timeline.after(this.#rttMs / 2, () =>
      this.#desk.take(report, (answer) => this.#timeline.after(this.#rttMs / 2, () => reply(answer))),
    );
  }
}

/** Within a data centre, there and back. */
const nearbyMs = 2;

/** An object of one data centre: merges what its isolates tell, asks the registry once a second and hands its table on. */
export class Relay implements Line {
  calls = 0;
  readonly #name: string;
  readonly #line: DirectLine;
  readonly #timeline: Timeline;
  readonly #inFlight = new Map<string, Readonly<Record<string, number>>>();
  #findings = new Findbook();
  #table: RoutingTable | null = null;
  #waiting: ((answer: LineReply) => void)[] = [];
  #askedAtMs = -Infinity;
  #asking = false;

  constructor(name: string, desk: RegistryDesk, rttMs: number, timeline: Timeline) {
    this.#name = name;
    this.#line = new DirectLine(desk, rttMs, timeline);
    this.#timeline = timeline;
  }

  call(report: Report, urgent: boolean, reply: (answer: LineReply) => void): void {
    this.#timeline.after(nearbyMs / 2, () => {
      this.calls += 1;
      this.#findings.putBack(report);
      this.#inFlight.set(report.isolate, report.inFlight);
      const answer = (given: LineReply): void => this.#timeline.after(nearbyMs / 2, () => reply(given));
      const due = this.#timeline.nowMs - this.#askedAtMs >= relayEveryMs;
      if (!this.#asking && (due || urgent)) this.#ask();
      // Whoever comes while the question is under way gets what it brings; nobody is told something older than a second.
      if (this.#asking && (this.#table === null || urgent)) this.#waiting.push(answer);
      else answer({ kind: "table", table: this.#table?.version === report.tableVersion ? null : this.#table });
    });
  }

  #ask(): void {
    this.#asking = true;
    this.#askedAtMs = this.#timeline.nowMs;
    const inFlight: Record<string, number> = {};
    for (const counts of this.#inFlight.values()) {
      for (const [backend, count] of Object.entries(counts)) inFlight[backend] = (inFlight[backend] ?? 0) + count;
    }
    const findings = this.#findings.take();
    const report: Report = {
      isolate: `relay-${this.#name}`,
      edgeRegion: this.#name,
      ...findings,
      inFlight,
      tableVersion: this.#table?.version ?? -1,
    };
    this.#line.call(report, false, (answer) => {
      this.#asking = false;
      if (answer.kind === "table") this.#table = answer.table ?? this.#table;
      else this.#findings.putBack(findings);
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const tell of waiting) tell(answer.kind === "table" ? { kind: "table", table: this.#table } : answer);
    });
  }
}
