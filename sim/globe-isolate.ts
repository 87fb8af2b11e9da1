/**
 * One isolate of the edge with so many cheap requests a second. It follows the product's rules for the table and the reports
 * (`src/worker/edge.ts`) with the real table; its requests are reckoned by their rate.
 */
import type { Config } from "../src/shared/config/config.ts";
import type { ReportLine, RoutingTable } from "../src/shared/contract.ts";
import type { Rng } from "../src/shared/rng.ts";
import {
  LocalTable,
  refreshFromMs,
  refreshPatienceMs,
  freshMs,
  tableOfConfiguration,
  type EdgeMember,
} from "../src/worker/table.ts";
import { noCounters } from "../src/shared/fleet/counters.ts";
import { exponential } from "./distribution.ts";
import type { Line } from "./globe-lines.ts";
import type { Timeline } from "./timeline.ts";

const reportEveryMs = 1000;
/** A failure is told at once, but not more often than this. */
const urgentEveryMs = 100;
/** Mean pause after the registry has turned a call away. */
const backOffMs = 1000;
/** Below this rate every single request is played. */
const densePerMs = 2 / 1000;

export class GlobeIsolate {
  /** When it had a table without the dead backend; null: not yet. */
  knowsAtMs: number | null = null;
  /** When it last sent a request to the dead backend; null: never. */
  metDeadAtMs: number | null = null;
  failedOver = 0;
  readonly #name: string;
  readonly #region: string;
  readonly #ratePerMs: number;
  readonly #line: Line;
  readonly #timeline: Timeline;
  readonly #rng: Rng;
  readonly #table: LocalTable;
  #madeAtMs: number | null = null;
  #reporting = false;
  /** When what was seen is told; null: nothing has been seen since it was. */
  #flushDueMs: number | null = null;
  /** A report is wanted as soon as the one under way has ended. */
  #isMore = false;
  #requestsSinceMs = 0;
  #ages: number[] = [];
  #dead: string | null = null;
  #failures = 0;
  #urgentAtMs = -Infinity;
  #backOffUntilMs = -Infinity;

  constructor(name: string, region: string, rps: number, config: Config, line: Line, timeline: Timeline, rng: Rng) {
    this.#name = name;
    this.#region = region;
    this.#ratePerMs = rps / 1000;
    this.#line = line;
    this.#timeline = timeline;
    this.#rng = rng;
    this.#table = new LocalTable(tableOfConfiguration(config.BACKENDS));
    this.#table.confirmedMs = -Infinity;
    this.#arrivalAfter(0);
  }

  get members(): readonly EdgeMember[] {
    return this.#table.members;
  }

  /** How old its knowledge was: now, where requests are dense; else at each request since the last question. */
  agesSinceLastSample(): readonly number[] {
    if (this.#ratePerMs >= densePerMs) return this.#madeAtMs === null ? [] : [this.#timeline.nowMs - this.#madeAtMs];
    const ages = this.#ages;
    this.#ages = [];
    return ages;
  }

  backendDied(name: string): void {
    this.#dead = name;
    this.#failAfter(this.#timeline.nowMs);
  }

  /** The next request that matters: those that come between two of them change nothing. */
  #arrivalAfter(fromMs: number): void {
    const atMs = Math.max(fromMs, this.#timeline.nowMs) + exponential(1 / this.#ratePerMs, this.#rng);
    this.#timeline.at(atMs, () => this.#arrive());
  }

  #arrive(): void {
    const { nowMs } = this.#timeline;
    const ageMs = this.#table.ageMs(nowMs);
    if (ageMs >= refreshFromMs) this.#report(false);
    const flushDueMs = this.#flushSoon(nowMs);
    if (this.#ratePerMs >= densePerMs) {
      const mattersMs = Math.min(flushDueMs, this.#table.confirmedMs + refreshFromMs);
      return this.#arrivalAfter(Math.max(nowMs + urgentEveryMs, mattersMs));
    }
    if (ageMs < freshMs) this.#noteAge();
    else this.#timeline.after(refreshPatienceMs, () => this.#noteAge());
    this.#arrivalAfter(nowMs);
  }

  /** The first request after each report sets the next one. */
  #flushSoon(nowMs: number): number {
    if (this.#flushDueMs !== null) return this.#flushDueMs;
    this.#timeline.after(reportEveryMs, () => {
      this.#flushDueMs = null;
      this.#tell(false);
    });
    this.#flushDueMs = nowMs + reportEveryMs;
    return this.#flushDueMs;
  }

  #noteAge(): void {
    if (this.#madeAtMs !== null) this.#ages.push(this.#timeline.nowMs - this.#madeAtMs);
  }

  #believesInTheDead(): boolean {
    const state = this.#table.members.find((member) => member.name === this.#dead)?.state;
    return state === "healthy" || state === "suspect" || state === "recovering";
  }

  #shareOfTheDead(): number {
    const total = this.#table.members.reduce((sum, member) => sum + member.weight, 0);
    return (this.#table.members.find((member) => member.name === this.#dead)?.weight ?? 0) / total;
  }

  /** The next request that this isolate would send to the dead backend. An old table is refreshed first. */
  #failAfter(fromMs: number): void {
    const pauseMs = exponential(1 / (this.#ratePerMs * this.#shareOfTheDead()), this.#rng);
    const atMs = Math.max(fromMs, this.#timeline.nowMs) + pauseMs;
    this.#timeline.at(atMs, () => {
      if (this.#table.ageMs(atMs) < freshMs) return this.#meetTheDead();
      this.#report(false);
      this.#timeline.after(refreshPatienceMs, () => this.#meetTheDead());
    });
  }

  /** It fails and goes on to another backend, and so do those that come until something may be said again. */
  #meetTheDead(): void {
    if (!this.#believesInTheDead()) return;
    const { nowMs } = this.#timeline;
    const waitMs = Math.max(0, this.#urgentAtMs + urgentEveryMs - nowMs);
    const met = 1 + waitMs * this.#ratePerMs * this.#shareOfTheDead();
    this.#failures += met;
    this.failedOver += met;
    this.metDeadAtMs = nowMs;
    if (waitMs === 0) {
      this.#urgentAtMs = nowMs;
      this.#tell(true);
    }
    this.#failAfter(nowMs + waitMs);
  }

  /** Now, or when the report under way has ended. */
  #tell(urgent: boolean): void {
    if (this.#reporting) this.#isMore = true;
    else this.#report(urgent);
  }

  /** One at a time; after one that was turned away, none for about a second. */
  #report(urgent: boolean): void {
    if (this.#reporting || this.#timeline.nowMs < this.#backOffUntilMs) return;
    this.#reporting = true;
    const { nowMs } = this.#timeline;
    const lines = this.#takeLines(nowMs);
    const failures = this.#failures;
    this.#failures = 0;
    const tableVersion = this.#table.source === "registry" ? this.#table.table.version : -1;
    const counters = { ...noCounters, requests: Math.round((nowMs - this.#requestsSinceMs) * this.#ratePerMs) };
    this.#requestsSinceMs = nowMs;
    const report = { isolate: this.#name, edgeRegion: this.#region, lines, inFlight: {}, counters, tableVersion };
    this.#line.call(report, urgent, (answer) => {
      this.#reporting = false;
      if (answer.kind === "overloaded") {
        this.#failures += failures;
        this.#backOffUntilMs = this.#timeline.nowMs + backOffMs * (0.5 + this.#rng());
      } else this.#take(answer.table, this.#timeline.nowMs);
      const isMore = this.#isMore;
      this.#isMore = false;
      if (isMore) this.#report(true);
    });
  }

  #take(table: RoutingTable | null, atMs: number): void {
    if (table === null) this.#table.confirm(atMs);
    else this.#table.adopt(table, "registry", atMs, {});
    this.#madeAtMs = this.#table.table.madeAtMs;
    if (this.#dead !== null && this.knowsAtMs === null && !this.#believesInTheDead()) this.knowsAtMs = atMs;
  }

  /** What it saw since the last report, reckoned. */
  #takeLines(nowMs: number): ReportLine[] {
    const periodMs = nowMs - this.#requestsSinceMs;
    const total = this.#table.members.reduce((sum, member) => sum + member.weight, 0);
    return this.#table.members.map((member) => {
      const isDead = member.name === this.#dead;
      const successes = isDead ? 0 : Math.round((periodMs * this.#ratePerMs * member.weight) / total);
      const failures = isDead ? Math.round(this.#failures) : 0;
      return {
        backend: member.name,
        routeClass: "query",
        outcomes: { success: successes, backend_fault: failures },
        trailingFailures: failures,
        lastFailure: failures > 0 ? { seenByProbe: true, reason: "refused" } : null,
        latencies: {},
        responseBytes: 0,
        learned: null,
      };
    });
  }
}
