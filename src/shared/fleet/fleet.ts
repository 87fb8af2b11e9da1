/**
 * The whole state of the fleet and every rule that moves it, without clock, chance or storage. The registry object
 * feeds it what it hears and stores what has changed; the simulation runs the same class under a virtual clock.
 */
import type { Config } from "../config/config.ts";
import type {
  AttemptReport,
  ConfigOverrides,
  EdgeCounters,
  Learned,
  ModelEntry,
  MoveReply,
  MoveRequest,
  PickReply,
  PickRequest,
  RenewReply,
  Report,
  ReportLine,
  RoutingTable,
  Settlement,
} from "../contract.ts";
import { hasRoom } from "../balance/member.ts";
import { isOpen, isUp } from "../balance/membership.ts";
import { createSelectionMemory, forgetBackends, select } from "../balance/select.ts";
import { mayBePicked, nextDueMs, step, weightShare } from "../health/health.ts";
import type { BackendHealth, HealthEvent, PoolHealth, Transition } from "../health/health.ts";
import { valueOf } from "../histogram.ts";
import { LeaseBook } from "../lease.ts";
import type { Lease } from "../lease.ts";
import { mergeModels, servedModels } from "../jimeng/models.ts";
import { observe, observeAtLeast } from "../load/peak-ewma.ts";
import { RetryBudget } from "../retry/budget.ts";
import type { Rng } from "../rng.ts";
import { reachOf } from "../route.ts";
import type { Reach, RouteClass } from "../route.ts";
import type { Outcome, OutcomeKind } from "../outcome.ts";
import {
  forgetOldRefusals,
  heard,
  learnDialect,
  learnModels,
  learnRefusedRoute,
  liveBackend,
  nothingLearned,
} from "./backend.ts";
import type { LearnedFacts, LiveBackend } from "./backend.ts";
import { Isolates } from "./isolates.ts";
import { emptyOverlay, layOver } from "./overlay.ts";
import type { EndedChange, Overlay } from "./overlay.ts";
import type { Records } from "./records.ts";
import { nextProbeMs } from "./schedule.ts";
import { tableBackend } from "./table.ts";
import { BackendTotals } from "./totals.ts";
import { addCounters, noCounters } from "./counters.ts";

const msPerS = 1000;

/** Longest that a table may stand while only load has changed: the edge asks about once a second. */
const loadTableMs = 250;
/** Medians are worked out again after so long: they move slowly and cost a merge of slots each. */
const medianMs = 10_000;
/** How long an abandoned request is counted on a backend of which no history is known: a typical picture. */
const unknownOrphanMs = 60_000;
/** Settlements whose lease is gone are told apart from repeated ones by the last so many ids. */
const settledIds = 2_000;
/** Failures in a row that say that a server isn't working. Where one request in ten fails at all alike, that is one in a thousand: fewer would blur who is fast. */
const tellingFailures = 3;
/** Never more than this in `Retry-After` of ours: the SDKs obey up to 60 s. */
const maxRetryAfterS = 30;

/** The table carries the generation of each: an operator who purges more paths than this means everything. */
export const maxPurgedPaths = 256;
/** Its answer is composed by the prober's reading, which a purge must make anew. */
const modelsPath = "/v1/models";

/** What a change asks of the owner. */
export interface Effects {
  readonly transitions: readonly Transition[];
  readonly probeNow: readonly string[];
}

const noEffects: Effects = { transitions: [], probeNow: [] };

export interface ProbeFact {
  readonly backend: string;
  readonly ok: boolean;
  /** `ok`, `refused`, `timeout`, `http_503`, … */
  readonly reason: string;
  readonly latencyMs: number | null;
  /** A process answered, even if not as it should. */
  readonly alive: boolean;
}

export interface FleetMemory {
  readonly learned: Readonly<Record<string, LearnedFacts>>;
  readonly health: Readonly<Record<string, BackendHealth>>;
  readonly leases: readonly Lease[];
  readonly overlay: Overlay;
  readonly overrides: ConfigOverrides;
  readonly cacheGenerations: Readonly<Record<string, number>>;
  readonly tableVersion: number;
}

export const emptyMemory: FleetMemory = {
  learned: {},
  health: {},
  leases: [],
  overlay: emptyOverlay,
  overrides: { version: 0, values: {} },
  cacheGenerations: {},
  tableVersion: 0,
};

export class Fleet {
  config: Config;
  overlay: Overlay;
  overrides: ConfigOverrides;
  cacheGenerations: Record<string, number>;
  readonly records: Records;
  readonly isolates = new Isolates();
  readonly leases: LeaseBook;
  counters: EdgeCounters = noCounters;
  #backends: LiveBackend[] = [];
  #byName = new Map<string, LiveBackend>();
  #pool: PoolHealth;
  #selection = createSelectionMemory();
  #budget: RetryBudget;
  #settled = new Set<string>();
  #table: RoutingTable | null = null;
  #tableVersion: number;
  #stale: "no" | "load" | "substance" = "substance";
  #regionMediansMs = 0;
  #usual = new Map<RouteClass, { readonly usualMs: number | null; readonly atMs: number }>();
  #totals = new Map<string, BackendTotals>();
  /** When a disabled backend was put to work again: until then nobody expected a probe of it. */
  #enabledMs = new Map<string, number>();
  #ended: readonly EndedChange[] = [];
  readonly #bornMs: number;

  constructor(config: Config, memory: FleetMemory, records: Records, nowMs: number) {
    this.#bornMs = nowMs;
    this.config = config;
    this.overlay = memory.overlay;
    this.overrides = memory.overrides;
    this.cacheGenerations = { ...memory.cacheGenerations };
    this.records = records;
    this.leases = LeaseBook.restore([...memory.leases]);
    this.#pool = memory.health;
    this.#tableVersion = memory.tableVersion;
    this.#budget = new RetryBudget(config.RETRY);
    this.#muster(memory.learned, nowMs);
  }

  // ── Who is in it ──────────────────────────────────────────────────────────────────────────────

  get backends(): readonly LiveBackend[] {
    return this.#backends;
  }

  backend(name: string): LiveBackend | null {
    return this.#byName.get(name) ?? null;
  }

  health(name: string): BackendHealth | null {
    return this.#pool[name] ?? null;
  }

  /** Changes of operators that the configuration has overtaken since the last call. */
  takeEnded(): readonly EndedChange[] {
    const ended = this.#ended;
    this.#ended = [];
    return ended;
  }

  /** Puts another configuration or overlay in force; what was learned of those who stay is kept. */
  reform(config: Config, overlay: Overlay, overrides: ConfigOverrides, nowMs: number): Effects {
    const { budgetRatio, budgetPerSecond } = this.config.RETRY;
    const sameBudget = budgetRatio === config.RETRY.budgetRatio && budgetPerSecond === config.RETRY.budgetPerSecond;
    for (const [name, state] of Object.entries(this.overlay.states)) {
      if (state === "disabled" && overlay.states[name] !== "disabled") this.#enabledMs.set(name, nowMs);
    }
    this.config = config;
    this.overlay = overlay;
    this.overrides = overrides;
    if (!sameBudget) this.#budget = new RetryBudget(config.RETRY);
    const learned = Object.fromEntries(this.#backends.map((backend) => [backend.name, backend.learned]));
    return this.#muster(learned, nowMs);
  }

  #muster(learned: Readonly<Record<string, LearnedFacts>>, nowMs: number): Effects {
    const { backends, overlay, ended } = layOver(this.config.BACKENDS, this.overlay);
    this.overlay = overlay;
    this.#ended = [...this.#ended, ...ended];
    this.#backends = backends.map((config) =>
      liveBackend(config, overlay.states[config.name] ?? "active", learned[config.name] ?? nothingLearned()),
    );
    this.#byName = new Map(this.#backends.map((backend) => [backend.name, backend]));
    for (const name of this.#totals.keys()) if (!this.#byName.has(name)) this.#totals.delete(name);
    forgetBackends(this.#selection, (name) => this.#byName.has(name));
    this.#measureRegions(nowMs);
    this.#stale = "substance";
    // A disabled backend is never probed: it must not stand for one that could be better, nor count in any share.
    const names = this.#backends.filter((backend) => backend.operatorState !== "disabled").map(({ name }) => name);
    const effects = this.#step({ kind: "members", names }, nowMs);
    for (const backend of this.#backends) this.#refresh(backend, nowMs);
    return effects;
  }

  // ── Picks and leases ──────────────────────────────────────────────────────────────────────────

  pick(request: PickRequest, leaseId: string, home: string | null, now: { nowMs: number; rng: Rng }): PickReply {
    const { nowMs } = now;
    if (home !== null) return this.#pickHome(request, leaseId, home, nowMs);
    for (const backend of this.#backends) this.#refresh(backend, nowMs);
    const choice = select(this.#backends, request, this.config.BALANCE, this.#selection, now);
    if (choice.kind === "none")
      return { kind: "none", reason: choice.reason, retryAfterS: this.#retryAfterS(request.routeClass, nowMs) };
    return this.#assign(request, leaseId, choice.ordered, nowMs);
  }

  /** A task is known only to the server that made it, so its health is not asked. */
  #pickHome(request: PickRequest, leaseId: string, home: string, nowMs: number): PickReply {
    const backend = this.#byName.get(home);
    if (backend === undefined) return { kind: "none", reason: "task_home_gone", retryAfterS: 0 };
    return this.#assign(request, leaseId, [backend], nowMs);
  }

  #assign(request: PickRequest, leaseId: string, ordered: readonly LiveBackend[], nowMs: number): PickReply {
    const first = ordered[0] as LiveBackend;
    this.#grant(leaseId, first.name, request.routeClass, nowMs);
    if (first.state === "trial") this.#step({ kind: "assigned", backend: first.name }, nowMs);
    this.#refresh(first, nowMs);
    this.#spoil("load");
    const candidates = ordered.map((backend) => ({
      name: backend.name,
      url: backend.url,
      dialect: backend.dialect,
      needsProof: !this.#isProven(backend, nowMs),
    }));
    return { kind: "picked", leaseId, candidates };
  }

  #grant(id: string, backend: string, routeClass: RouteClass, nowMs: number): void {
    const expiresMs = nowMs + this.config.WATCH.leaseExpiry * msPerS;
    this.leases.grant({ id, backend, routeClass, grantedMs: nowMs, expiresMs, orphanedUntilMs: null });
  }

  #isProven(backend: LiveBackend, nowMs: number): boolean {
    const { proofMs } = backend.learned;
    return proofMs !== null && nowMs - proofMs <= this.config.WATCH.proofOfLife * msPerS;
  }

  /** When a place will probably be free: a tenth of a typical answer's time, within what clients obey. */
  #retryAfterS(routeClass: RouteClass, nowMs: number): number {
    const typical = this.#usualMs(routeClass, nowMs) ?? unknownOrphanMs;
    return Math.min(maxRetryAfterS, Math.max(1, Math.ceil(typical / 10 / msPerS)));
  }

  settle(settlement: Settlement, nowMs: number): Effects {
    const { leaseId, report, orphaned } = settlement;
    if (this.#settled.has(leaseId)) return noEffects;
    const held = this.leases.get(leaseId)?.backend ?? report.backend;
    const effects = this.#attemptEnded(report, nowMs);
    if (orphaned) this.#orphan(leaseId, report, nowMs);
    else this.#end(leaseId);
    this.#refreshNamed(report.backend, nowMs);
    // The move there never arrived.
    if (held !== report.backend) this.#refreshNamed(held, nowMs);
    this.#spoil("load");
    return effects;
  }

  #end(leaseId: string): void {
    this.leases.release(leaseId);
    this.#rememberSettled(leaseId);
  }

  /** The bound holds here as at a pick: a request that fails over has no more right to a server than one that comes. */
  move(
    { leaseId, routeClass, report, candidates, gone }: MoveRequest,
    nowMs: number,
  ): MoveReply & { effects: Effects } {
    const effects = report === null ? noEffects : this.#attemptEnded(report, nowMs);
    for (const backend of this.#backends) this.#refresh(backend, nowMs);
    this.#spoil("load");
    const held = this.leases.get(leaseId)?.backend;
    const open = candidates
      .flatMap((name) => this.#byName.get(name) ?? [])
      .filter((one) => isOpen(one) || one.name === held);
    const backend = gone ? candidates[0] : open.find((one) => one.name === held || hasRoom(one))?.name;
    if (backend === undefined) this.#end(leaseId);
    else this.#place(leaseId, backend, routeClass, nowMs);
    if (held !== undefined) this.#refreshNamed(held, nowMs);
    if (backend !== undefined) return { kind: "moved", backend, effects };
    const reason = open.length === 0 ? "no_backend" : "no_capacity";
    return { kind: "none", reason, retryAfterS: this.#retryAfterS(routeClass, nowMs), effects };
  }

  /** Also of a lease that had ended: its request lives. */
  #place(leaseId: string, name: string, routeClass: RouteClass, nowMs: number): void {
    const backend = this.#byName.get(name);
    if (!this.leases.move(leaseId, name, nowMs) && backend !== undefined) this.#grant(leaseId, name, routeClass, nowMs);
    this.#settled.delete(leaseId);
    if (backend?.state === "trial") this.#step({ kind: "assigned", backend: name }, nowMs);
    this.#refreshNamed(name, nowMs);
  }

  #orphan(leaseId: string, report: AttemptReport, nowMs: number): void {
    // Of a stream only the first byte is measured; the work behind it is a generation's.
    const worked = report.routeClass === "stream" ? "generate" : report.routeClass;
    const busyMs = this.records.quantileMs(report.backend, worked, 0.95, nowMs) ?? unknownOrphanMs;
    const openMs = report.latencyMs ?? 0;
    this.leases.orphan(leaseId, nowMs + Math.max(0, busyMs - openMs));
  }

  #rememberSettled(leaseId: string): void {
    this.#settled.add(leaseId);
    if (this.#settled.size <= settledIds) return;
    for (const oldest of this.#settled) {
      this.#settled.delete(oldest);
      return;
    }
  }

  renew(leaseId: string, backendName: string, routeClass: RouteClass, nowMs: number): RenewReply {
    const known = this.leases.renew(leaseId, nowMs, nowMs + this.config.WATCH.leaseExpiry * msPerS);
    const backend = this.#byName.get(backendName);
    if (!known && backend !== undefined && !this.#settled.has(leaseId))
      this.#grant(leaseId, backendName, routeClass, nowMs);
    return { known, lost: backend !== undefined && this.#isLost(backend, leaseId, nowMs) };
  }

  #isLost(backend: LiveBackend, leaseId: string, nowMs: number): boolean {
    const granted = this.leases.get(leaseId)?.grantedMs ?? nowMs;
    // Silence before this life of the object says nothing: nobody was listening.
    const heardMs = Math.max(backend.learned.lastAliveMs ?? 0, granted, this.#bornMs);
    return nowMs - heardMs >= this.config.WATCH.lostAfter * msPerS;
  }

  // ── What is heard ─────────────────────────────────────────────────────────────────────────────

  report(report: Report, nowMs: number): Effects {
    const moved = this.isolates.report(report.isolate, report.inFlight, nowMs);
    this.counters = addCounters(this.counters, report.counters);
    this.#fundRetries(report.counters, nowMs);
    const all = report.lines.map((line) => this.#lineHeard(line, report.edgeRegion, nowMs));
    if (moved || report.lines.length > 0) this.#spoil("load");
    return joinEffects(all);
  }

  /** Isolates count all requests and retries, picked here or not. A client that is refused earns nobody a retry. */
  #fundRetries({ requests, retries, limiter }: EdgeCounters, nowMs: number): void {
    const refused = (limiter["refused"] ?? 0) + (limiter["remembered"] ?? 0);
    this.#budget.record(Math.max(0, requests - refused), retries, nowMs);
  }

  #lineHeard(line: ReportLine, edgeRegion: string, nowMs: number): Effects {
    const backend = this.#byName.get(line.backend);
    if (backend === undefined) return noEffects;
    this.records.addLine(line, edgeRegion, nowMs);
    this.#countLine(line, edgeRegion);
    this.#learn(backend, line.learned, nowMs);
    const successes = line.outcomes.success ?? 0;
    const failures = line.outcomes.backend_fault ?? 0;
    if (successes > 0) {
      heard(backend, nowMs);
      for (const bucket of Object.keys(line.latencies))
        this.#feedLoad(backend, line.routeClass, valueOf(Number(bucket)), nowMs);
    }
    const kinds = Object.entries(line.outcomes) as [OutcomeKind, number][];
    const nothing = kinds.reduce((sum, [kind, count]) => sum + (cameToNothing(kind) ? count : 0), 0);
    if (successes === 0 && nothing > 0) this.#feedFailures(backend, line.routeClass, nothing, 0, nowMs);
    if (successes + failures === 0) return noEffects;
    const seenByProbe = line.lastFailure?.seenByProbe ?? false;
    if (line.trailingFailures > 0) backend.learned.proofMs = null;
    return this.#outcomes(
      backend,
      {
        kind: "outcomes",
        backend: backend.name,
        reach: reachOf(line.routeClass),
        successes,
        failures,
        trailingFailures: line.trailingFailures,
        seenByProbe,
        reason: line.lastFailure?.reason ?? "ok",
      },
      nowMs,
    );
  }

  #countLine(line: ReportLine, edgeRegion: string): void {
    const totals = this.totals(line.backend);
    for (const [kind, count] of Object.entries(line.outcomes) as [OutcomeKind, number][])
      totals.ended(line.routeClass, kind, count);
    const latencies = Object.entries(line.latencies).map(
      ([bucket, count]) => [valueOf(Number(bucket)), count] as const,
    );
    totals.measured(line.routeClass, edgeRegion, latencies);
    totals.responseBytes += line.responseBytes;
  }

  #countAttempt(report: AttemptReport): void {
    const totals = this.totals(report.backend);
    totals.ended(report.routeClass, report.outcome.kind, 1);
    totals.responseBytes += report.responseBytes;
    if (report.outcome.kind === "success" && report.latencyMs !== null)
      totals.measured(report.routeClass, report.edgeRegion, [[report.latencyMs, 1]]);
  }

  #attemptEnded(report: AttemptReport, nowMs: number): Effects {
    const backend = this.#byName.get(report.backend);
    if (backend === undefined) return noEffects;
    const { outcome } = report;
    this.records.record(report, nowMs);
    this.#countAttempt(report);
    this.#learn(backend, report.learned, nowMs);
    if (outcome.kind === "success" && report.latencyMs !== null)
      this.#feedLoad(backend, report.routeClass, report.latencyMs, nowMs);
    if (cameToNothing(outcome.kind)) this.#feedFailures(backend, report.routeClass, 1, report.latencyMs ?? 0, nowMs);
    this.#noteLife(backend, outcome, nowMs);
    if (outcome.kind !== "success" && outcome.kind !== "backend_fault") return noEffects;
    const failed = outcome.kind === "backend_fault" ? 1 : 0;
    return this.#outcomes(
      backend,
      {
        kind: "outcomes",
        backend: backend.name,
        reach: reachOf(report.routeClass),
        successes: 1 - failed,
        failures: failed,
        trailingFailures: failed,
        seenByProbe: outcome.seenByProbe,
        reason: outcome.reason,
      },
      nowMs,
    );
  }

  #noteLife(backend: LiveBackend, outcome: Outcome, nowMs: number): void {
    const answered = outcome.kind === "success" || outcome.kind === "client_fault" || outcome.kind === "token_fault";
    if (answered) heard(backend, nowMs);
    // Also one that was told: a proxy's 502 is a connection that broke behind it, and a ping costs next to nothing.
    else if (outcome.kind === "backend_fault") backend.learned.proofMs = null;
  }

  #outcomes(backend: LiveBackend, event: HealthEvent & { kind: "outcomes" }, nowMs: number): Effects {
    const { learned } = backend;
    learned.consecutiveFailures =
      event.trailingFailures === 0
        ? 0
        : event.successes > 0
          ? event.trailingFailures
          : learned.consecutiveFailures + event.trailingFailures;
    return this.#step(event, nowMs);
  }

  #learn(backend: LiveBackend, learned: Learned | null, nowMs: number): void {
    if (learned === null) return;
    if (learned.dialect !== null && learnDialect(backend, learned.dialect)) this.#spoil("substance");
    // A pattern stands for many paths: that one of them is unknown says nothing about the others.
    if (learned.refusedRouteId !== null && !learned.refusedRouteId.endsWith("*")) {
      learnRefusedRoute(backend, learned.refusedRouteId, nowMs);
      this.#spoil("substance");
    }
  }

  #feedLoad(backend: LiveBackend, routeClass: RouteClass, latencyMs: number, nowMs: number): void {
    const failed = (backend.nothingInRow[routeClass] ?? 0) >= tellingFailures;
    backend.nothingInRow[routeClass] = 0;
    // The wait that stood for its failures was none of its latencies.
    backend.load[routeClass] = observe(failed ? null : (backend.load[routeClass] ?? null), latencyMs, nowMs);
  }

  /**
   * How fast a server fails says nothing of how fast it works, and it must not draw the requests of those that are busy working: one that
   * fails again and again counts as the wait that an answer takes elsewhere.
   */
  #feedFailures(backend: LiveBackend, routeClass: RouteClass, count: number, latencyMs: number, nowMs: number): void {
    const inRow = (backend.nothingInRow[routeClass] ?? 0) + count;
    backend.nothingInRow[routeClass] = inRow;
    if (inRow < tellingFailures) return;
    const waitMs = Math.max(latencyMs, this.#waitElsewhere(backend, routeClass, nowMs));
    const sample = observeAtLeast(backend.load[routeClass] ?? null, waitMs, nowMs);
    if (sample !== null) backend.load[routeClass] = sample;
  }

  /** Of a stream only the first byte is measured; how long it takes shows in the age of those that are open. */
  #waitElsewhere(backend: LiveBackend, routeClass: RouteClass, nowMs: number): number {
    const others = this.#backends.filter((one) => one !== backend && one.operatorState === "active" && isUp(one));
    if (others.length === 0) return 0;
    let inFlight = 0;
    let openAgeMs = 0;
    for (const other of others) {
      inFlight += this.inFlight(other);
      openAgeMs += this.leases.openAgeMs(other.name, nowMs);
    }
    const usualMs = Math.max(this.#usualMs(routeClass, nowMs) ?? 0, openAgeMs / others.length);
    return usualMs * (1 + inFlight / others.length);
  }

  /** The median of a class; null without a success in the last hour. */
  #usualMs(routeClass: RouteClass, nowMs: number): number | null {
    const known = this.#usual.get(routeClass);
    if (known !== undefined && nowMs - known.atMs < medianMs) return known.usualMs;
    const usualMs = this.records.medianMs(routeClass, nowMs);
    this.#usual.set(routeClass, { usualMs, atMs: nowMs });
    return usualMs;
  }

  probed(fact: ProbeFact, nowMs: number): Effects {
    const backend = this.#byName.get(fact.backend);
    if (backend === undefined) return noEffects;
    const { learned } = backend;
    this.totals(backend.name).probed(fact.ok);
    learned.lastCheckMs = nowMs;
    if (fact.alive) heard(backend, nowMs);
    // A process that may be a proxy's is a sign of life, and no proof of it.
    if (!fact.ok) learned.proofMs = null;
    learned.consecutiveFailures = fact.ok ? 0 : learned.consecutiveFailures + 1;
    if (forgetOldRefusals(backend, nowMs)) this.#spoil("substance");
    this.#spoil("load");
    return this.#step({ kind: "probe", backend: fact.backend, ok: fact.ok, reason: fact.reason }, nowMs);
  }

  modelsRead(name: string, models: readonly ModelEntry[], nowMs: number): void {
    const backend = this.#byName.get(name);
    if (backend === undefined) return;
    learnModels(backend, models, nowMs);
    this.#spoil("substance");
  }

  /** Time passes: ejections end, leases expire, isolates are forgotten. */
  tick(nowMs: number): Effects {
    const expired = this.leases.expire(nowMs);
    const moved = this.isolates.forgetSilent(nowMs);
    const effects = this.#step({ kind: "tick" }, nowMs);
    if (moved || expired.length > 0) this.#spoil("load");
    if (nowMs - this.#regionMediansMs >= medianMs) this.#measureRegions(nowMs);
    return effects;
  }

  #measureRegions(nowMs: number): void {
    this.#regionMediansMs = nowMs;
    const medians = this.records.mediansByRegion(nowMs);
    for (const backend of this.#backends) backend.regionMs = medians.get(backend.name) ?? {};
  }

  #step(event: HealthEvent, nowMs: number): Effects {
    const { pool, transitions, probeNow } = step(this.#pool, event, nowMs, this.config);
    this.#pool = pool;
    if (transitions.length > 0) this.#spoil("substance");
    for (const transition of transitions) {
      if (transition.to === "ejected") this.totals(transition.backend).ejections += 1;
      const backend = this.#byName.get(transition.backend);
      if (backend !== undefined) this.#refresh(backend, nowMs);
    }
    return { transitions, probeNow };
  }

  // ── What is shown ─────────────────────────────────────────────────────────────────────────────

  /** Brings the figures that choosers read up to now. */
  #refresh(backend: LiveBackend, nowMs: number): void {
    const health = this.#pool[backend.name];
    if (health !== undefined) {
      backend.state = health.state;
      backend.weightShare = health.state === "recovering" ? weightShare(health, nowMs, this.config) : 1;
    }
    backend.trialFor = health === undefined ? null : this.#trialFor(backend, health);
    backend.inFlight = this.inFlight(backend);
    backend.openAgeMs = this.leases.openAgeMs(backend.name, nowMs);
  }

  #refreshNamed(name: string, nowMs: number): void {
    const backend = this.#byName.get(name);
    if (backend !== undefined) this.#refresh(backend, nowMs);
  }

  /** What was sent before the trial is no part of it, and may run for minutes yet. */
  #trialFor(backend: LiveBackend, health: BackendHealth): Reach | null {
    if (health.state !== "trial") return null;
    const sent = this.leases.leases(backend.name).some(({ grantedMs }) => grantedMs >= health.sinceMs);
    return sent || this.isolates.inFlight(backend.name) > 0 ? null : (health.ejection?.reach ?? "server");
  }

  #spoil(what: "load" | "substance"): void {
    if (this.#stale !== "substance") this.#stale = what;
  }

  table(nowMs: number): RoutingTable {
    const table = this.#table;
    const fresh =
      table !== null && (this.#stale === "no" || (this.#stale === "load" && nowMs - table.madeAtMs < loadTableMs));
    if (fresh) return table;
    for (const backend of this.#backends) this.#refresh(backend, nowMs);
    // A version never repeats, also after a restart that lost the latest: it is at least the time.
    this.#tableVersion = Math.max(this.#tableVersion + 1, nowMs);
    this.#stale = "no";
    this.#table = {
      version: this.#tableVersion,
      madeAtMs: nowMs,
      backends: this.#backends.map((backend) => tableBackend(backend, this.isHealthy(backend))),
      retryAllowance: this.#budget.share(Math.max(1, this.isolates.count), nowMs),
      cacheGenerations: { ...this.cacheGenerations },
      models: this.#models(),
      overrides: this.overrides,
    };
    return this.#table;
  }

  isHealthy(backend: LiveBackend): boolean {
    const health = this.#pool[backend.name];
    if (backend.operatorState !== "active") return false;
    return backend.state === "trial" ? backend.trialFor !== null : health === undefined || mayBePicked(health);
  }

  /** Of those that take requests; with all of them ejected, of all the same: a mere suspicion must not change the list. */
  #models(): RoutingTable["models"] {
    const open = this.#backends.filter((backend) => isOpen(backend) && backend.learned.modelsReadMs !== null);
    const usable = open.filter((backend) => backend.state !== "ejected");
    const listed = usable.length > 0 ? usable : open;
    if (listed.length === 0) return null;
    return {
      entries: mergeModels(listed.map(({ learned, config }) => servedModels(learned.models ?? [], config.models))),
      readAtMs: Math.max(...listed.map(({ learned }) => learned.modelsReadMs ?? 0)),
    };
  }

  /** Since this life of the fleet began. */
  totals(name: string): BackendTotals {
    let totals = this.#totals.get(name);
    if (totals === undefined) {
      totals = new BackendTotals();
      this.#totals.set(name, totals);
    }
    return totals;
  }

  /** Requests on it now, of the whole edge. */
  inFlight(backend: LiveBackend): number {
    return this.leases.inFlight(backend.name) + this.isolates.inFlight(backend.name);
  }

  retryBudget(nowMs: number): number {
    return this.#budget.available(nowMs);
  }

  // ── What operators ask ────────────────────────────────────────────────────────────────────────

  /**
   * Makes what the cache holds of these paths, or of all, an older generation. Paths beyond so many are kept apart no
   * longer: then everything goes.
   */
  purge(paths: readonly string[] | null): void {
    const generations = { ...this.cacheGenerations };
    for (const path of paths ?? ["*"]) generations[path] = (generations[path] ?? 0) + 1;
    const folds = Object.keys(generations).length > maxPurgedPaths;
    const all = (generations["*"] ?? 0) + (folds ? 1 : 0);
    this.cacheGenerations = folds || paths === null ? { "*": all } : generations;
    if (folds || paths === null || paths.includes(modelsPath)) {
      for (const backend of this.#backends) backend.learned.modelsReadMs = null;
    }
    this.#spoil("substance");
  }

  /** How long the probe that waits longest has been overdue, leaving out those under way; 0 while all are on time. */
  overdueMs(probing: ReadonlySet<string>, nowMs: number): number {
    let overdue = 0;
    for (const backend of this.#backends) {
      const due = probing.has(backend.name) || backend.learned.lastCheckMs === null ? null : this.#nextProbeMs(backend);
      if (due === null) continue;
      overdue = Math.max(overdue, nowMs - Math.max(due, this.#enabledMs.get(backend.name) ?? 0));
    }
    return overdue;
  }

  // ── What is due ───────────────────────────────────────────────────────────────────────────────

  /** Names of the backends whose probe is due. */
  dueProbes(nowMs: number): string[] {
    return this.#backends
      .filter((backend) => (this.#nextProbeMs(backend) ?? Infinity) <= nowMs)
      .map((backend) => backend.name);
  }

  #nextProbeMs(backend: LiveBackend): number | null {
    const leases = this.leases.inFlight(backend.name);
    return nextProbeMs(backend, leases, this.config.HEALTH_CHECK, this.config.WATCH);
  }

  /** Whether the list of models would be older than what clients may be shown before there is another probe. */
  modelsDue(name: string, nowMs: number): boolean {
    const backend = this.#byName.get(name);
    if (backend === undefined) return false;
    const { modelsReadMs } = backend.learned;
    const { CACHE, HEALTH_CHECK } = this.config;
    return modelsReadMs === null || nowMs - modelsReadMs + HEALTH_CHECK.interval * msPerS >= CACHE.ttl.models * msPerS;
  }

  /** The next time at which anything is due, for the one alarm. What is `probing` is not due until that has ended. */
  nextDueMs(probing: ReadonlySet<string>): number {
    let due = this.leases.nextExpiryMs() ?? Infinity;
    for (const backend of this.#backends) {
      if (!probing.has(backend.name)) due = Math.min(due, this.#nextProbeMs(backend) ?? Infinity);
      const health = this.#pool[backend.name];
      if (health !== undefined) due = Math.min(due, nextDueMs(health, this.config) ?? Infinity);
    }
    return due;
  }

  // ── What is stored ────────────────────────────────────────────────────────────────────────────

  get tableVersion(): number {
    return this.#tableVersion;
  }
}

/** Nothing was done, for a reason that may be the server's; what is the client's or the token's fault would have been so anywhere. */
function cameToNothing(kind: OutcomeKind): boolean {
  return kind === "backend_fault" || kind === "capacity" || kind === "unknown";
}

export function joinEffects(all: readonly Effects[]): Effects {
  return {
    transitions: all.flatMap((effects) => effects.transitions),
    probeNow: all.flatMap((effects) => effects.probeNow),
  };
}
