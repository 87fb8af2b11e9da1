/**
 * The health of a pool of backends: one pure step for each thing that is heard. Active probes and the outcomes of requests come in;
 * who may be picked, what changed and whom to probe now come out.
 *
 * - `healthy → suspect`: a request failed, or a probe did and nobody else has been shown to be better. Still picked, probed at once. (One
 *   broken connection alone only has it probed.)
 * - `→ ejected`: a probe failed while another backend's passed; or requests alone accuse it, for `accusationMs`: failures in a row, or
 *   a success rate far below the rest's. By requests alone never more than `maxShare` of the pool. What befalls all ejects none.
 * - `ejected → recovering`: by a passing probe, where a probe could have seen the failures, after `base` × (n − 1).
 * - `ejected → trial → recovering | ejected`: otherwise, after `base` × n, by one real request that went as far as those that failed.
 * - `recovering → healthy`: after the slow start.
 */
import type { HealthState } from "../contract.ts";
import type { Reach } from "../route.ts";
import { reaches, vouchesFor } from "../route.ts";
import {
  accusationMs,
  ejectedHealth,
  isUp,
  returnedHealth,
  stateDueMs,
  testimonies,
  unprovenHealth,
  withTestimony,
} from "./backend-health.ts";
import type { BackendHealth, Ejection, HealthSettings, Testimony } from "./backend-health.ts";
import { failureRate, isOutlier, isSurprisingStreak } from "./comparison.ts";
import { addOutcomes, slotWidthMs, totalSince } from "./outcome-counts.ts";
import type { OutcomeTotals } from "./outcome-counts.ts";

export { mayBePicked, nextDueMs, weightShare } from "./backend-health.ts";
export type { BackendHealth, HealthSettings } from "./backend-health.ts";

/** By name. JSON-safe; never changed in place. */
export type PoolHealth = Readonly<Record<string, BackendHealth>>;

export type HealthEvent =
  /** The end of an active probe, all its tries included. */
  | { readonly kind: "probe"; readonly backend: string; readonly ok: boolean; readonly reason: string }
  /**
   * Successes and backend faults, of one request or merged; other outcomes say nothing about a backend. `trailingFailures`: at the end, with no
   * success after them. `seenByProbe` and `reason` are those of the last failure.
   */
  | {
      readonly kind: "outcomes";
      readonly backend: string;
      /** How far these requests go; those of one reach are compared with their like. */
      readonly reach: Reach;
      readonly successes: number;
      readonly failures: number;
      readonly trailingFailures: number;
      readonly seenByProbe: boolean;
      readonly reason: string;
    }
  /** A request went out to a backend on trial. */
  | { readonly kind: "assigned"; readonly backend: string }
  /** Who is in the pool now. Those who stay keep what is known of them. */
  | { readonly kind: "members"; readonly names: readonly string[] }
  | { readonly kind: "tick" };

export interface Transition {
  readonly backend: string;
  readonly from: HealthState;
  readonly to: HealthState;
  readonly reason: string;
}

export interface Step {
  /** The same object if nothing changed. */
  readonly pool: PoolHealth;
  readonly transitions: readonly Transition[];
  /** Backends to be probed at once, out of turn. */
  readonly probeNow: readonly string[];
}

const msPerS = 1000;

/** While it fails request after request, a backend is probed out of turn this often. */
const askAgainMs = 1_000;
/** Parts of the window over which success rates are compared: a good past must not hide a bad present for long. */
const comparedShares = [1, 0.5];
/** A failed probe older than this is repeated before it ejects: a slow proof of another's life takes as long. */
const freshProbeMs = 5_000;
/** Others asked for proof that not all fail: one that passes suffices. */
const othersAsked = 3;

export function step(pool: PoolHealth, event: HealthEvent, nowMs: number, settings: HealthSettings): Step {
  const round = new Round(pool, nowMs, settings);
  switch (event.kind) {
    case "probe":
      if (event.ok) round.probePassed(event.backend);
      else round.probeFailed(event.backend, event.reason);
      break;
    case "outcomes":
      round.outcomes(event);
      break;
    case "assigned":
      round.assigned(event.backend);
      break;
    case "members":
      round.members(event.names);
      break;
    case "tick":
      for (const name of Object.keys(pool)) round.settle(name);
      break;
  }
  return { pool: round.pool, transitions: round.transitions, probeNow: [...round.probeNow] };
}

/** One step under way: the pool so far, and what has followed. */
class Round {
  pool: PoolHealth;
  readonly transitions: Transition[] = [];
  readonly probeNow = new Set<string>();
  readonly #nowMs: number;
  readonly #settings: HealthSettings;
  readonly #windowMs: number;

  constructor(pool: PoolHealth, nowMs: number, settings: HealthSettings) {
    this.pool = pool;
    this.#nowMs = nowMs;
    this.#settings = settings;
    this.#windowMs = settings.EJECTION.window * msPerS;
  }

  // ── What is heard ─────────────────────────────────────────────────────────────────────────────

  probePassed(name: string): void {
    const health = this.#of(name);
    if (health === null) return;
    this.#put(name, { ...health, probe: "passed", probedMs: this.#nowMs, probeFailedMs: null });
    this.settle(name);
    for (const [other, its] of this.#others(name)) {
      if (!isUp(its) || its.probe !== "failed") continue;
      // The failure is its own, unless it is an old one, or an outage of both has just ended.
      const isFresh = health.probe !== "failed" && this.#nowMs - (its.probedMs ?? 0) <= freshProbeMs;
      if (isFresh) this.#ejectByProbe(other, its.reason);
      else this.#ask(other);
    }
  }

  probeFailed(name: string, reason: string): void {
    const health = this.#of(name);
    if (health === null) return;
    const failedMs = health.probeFailedMs ?? this.#nowMs;
    const told = `probe_failed:${reason}`;
    this.#put(name, {
      ...health,
      probe: "failed",
      probedMs: this.#nowMs,
      probeFailedMs: failedMs,
      reason: isUp(health) ? told : health.reason,
    });
    if (health.state === "trial") this.#move(name, "ejected", told);
    else if (isUp(health)) this.#ejectOrSuspect(name, told, failedMs);
    this.#reinstateIfAllFail();
  }

  #ejectOrSuspect(name: string, reason: string, failedMs: number): void {
    const others = this.#others(name);
    if (others.some(([, its]) => its.probe === "passed" && (its.probedMs ?? 0) >= failedMs)) {
      this.#ejectByProbe(name, reason);
      return;
    }
    if (this.#of(name)?.state !== "suspect") this.#move(name, "suspect", reason);
    // Those that failed are not asked, or in an outage each failure would bring on the next.
    const likely = others.filter(([, its]) => its.probe !== "failed");
    likely.sort(([, a], [, b]) => heardOfMs(b) - heardOfMs(a));
    for (const [other] of likely.slice(0, othersAsked)) this.#ask(other);
  }

  /** With every probe failing, the fault is common or ours, and an ejection only narrows the choice. */
  #reinstateIfAllFail(): void {
    const all = Object.entries(this.pool);
    if (!all.every(([, health]) => health.probe === "failed")) return;
    for (const [name, health] of all) {
      if (health.state !== "ejected" || health.ejection === null || !health.ejection.visible) continue;
      // It is taken back, so it doesn't count towards the next one's length.
      this.#put(name, { ...health, ejection: null, ejections: health.ejections.slice(0, -1) });
      this.#move(name, "suspect", "all_fail_alike");
    }
  }

  /** With every such request failing at all that are up, those ejected on the word of the same are no worse, and perhaps well again. */
  #reinstateIfAllFailInRow(reach: Reach): void {
    const all = Object.entries(this.pool);
    const { consecutive } = this.#settings.EJECTION;
    if (all.some(([, its]) => isUp(its) && its.testimony[reach].consecutiveFailures < consecutive)) return;
    for (const [name, health] of all) {
      if (!isOutByRequests(health) || health.ejection?.reach !== reach) continue;
      this.#put(name, { ...health, ejection: null, trialMs: null });
      this.#move(name, "suspect", "all_fail_alike");
    }
  }

  outcomes(told: HealthEvent & { kind: "outcomes" }): void {
    const name = told.backend;
    const before = this.#of(name);
    if (before === null || told.successes + told.failures <= 0) return;
    // Where nothing succeeded, all failures stand at the end, whatever was told of them.
    const trailing = told.successes === 0 ? told.failures : Math.min(told.trailingFailures, told.failures);
    const event = { ...told, trailingFailures: trailing };
    const health = this.#counted(before, event);
    this.#put(name, health);
    switch (health.state) {
      case "ejected":
        // In panic, or of a request sent before; neither ends nor prolongs it.
        return;
      case "trial":
        this.#judgeTrial(name, health, event);
        return;
      default:
        if (event.failures > 0) this.#doubt(name, health, event, before.testimony[event.reach]);
        if (event.trailingFailures > 0) this.#reinstateIfAllFailInRow(event.reach);
        this.#weighAccusation(name, event.reach);
        this.settle(name);
    }
  }

  #counted(health: BackendHealth, event: HealthEvent & { kind: "outcomes" }): BackendHealth {
    const nowMs = this.#nowMs;
    const { reach, successes, failures, trailingFailures, seenByProbe, reason } = event;
    const said = health.testimony[reach];
    const fresh = successes > 0 || said.consecutiveFailures === 0;
    return withTestimony(health, reach, {
      consecutiveFailures: trailingFailures + (successes > 0 ? 0 : said.consecutiveFailures),
      streakMs: trailingFailures === 0 ? null : fresh ? nowMs : said.streakMs,
      lastSuccessMs: successes > 0 && trailingFailures === 0 ? nowMs : said.lastSuccessMs,
      lastFailure: failures > 0 ? { atMs: nowMs, seenByProbe, reason } : said.lastFailure,
      lastUnseenMs: failures > 0 && !seenByProbe ? nowMs : said.lastUnseenMs,
      counts: isUp(health) ? addOutcomes(said.counts, successes, failures, this.#windowMs, nowMs) : said.counts,
    });
  }

  #doubt(name: string, health: BackendHealth, event: HealthEvent & { kind: "outcomes" }, said: Testimony): void {
    if (health.state === "healthy") {
      if (!this.#mayBeIdleConnection(event, said)) this.#move(name, "suspect", `request_failed:${event.reason}`);
      this.#ask(name);
      return;
    }
    const lastMs = Math.max(health.askedMs ?? 0, health.probedMs ?? 0);
    if (event.seenByProbe && this.#nowMs - lastMs >= askAgainMs) this.#ask(name);
  }

  /**
   * Servers close connections that are idle, and a request may be what finds out: one broken connection in a window is no suspicion.
   * The probe that it brings about tells whether there is more to it.
   */
  #mayBeIdleConnection(event: HealthEvent & { kind: "outcomes" }, said: Testimony): boolean {
    if (!event.seenByProbe || event.failures > 1 || event.reach !== "server") return false;
    return said.lastFailure === null || this.#nowMs - said.lastFailure.atMs >= this.#windowMs;
  }

  #judgeTrial(name: string, health: BackendHealth, event: HealthEvent & { kind: "outcomes" }): void {
    const doubted = health.ejection?.reach ?? "server";
    if (event.trailingFailures === 0) {
      if (vouchesFor(event.reach, doubted)) this.#return(name, "trial_succeeded");
      return;
    }
    const reach = vouchesFor(event.reach, doubted) ? event.reach : doubted;
    const cause = { visible: false, passive: health.ejection?.passive ?? true, reach };
    this.#put(name, ejectedHealth(health, cause, this.#nowMs, this.#settings.EJECTION));
    this.#move(name, "ejected", `trial_failed:${event.reason}`);
  }

  assigned(name: string): void {
    const health = this.#of(name);
    if (health?.state === "trial") this.#put(name, { ...health, trialMs: this.#nowMs });
  }

  members(names: readonly string[]): void {
    const known = names.every((name) => this.#of(name) !== null);
    if (known && new Set(names).size === Object.keys(this.pool).length) return;
    for (const name of names) if (this.#of(name) === null) this.probeNow.add(name);
    this.pool = Object.fromEntries(names.map((name) => [name, this.#of(name) ?? unprovenHealth(this.#nowMs)]));
    this.#returnExcess();
    this.#reinstateIfAllFail();
  }

  /** A pool that has shrunk may have more of its backends out than requests alone may eject: those out longest come back. */
  #returnExcess(): void {
    const out = Object.entries(this.pool).filter(([, health]) => isOutByRequests(health));
    out.sort(([, a], [, b]) => (a.ejection?.atMs ?? 0) - (b.ejection?.atMs ?? 0));
    const excess = Math.max(0, out.length - this.#spared());
    for (const [name] of out.slice(0, excess)) this.#return(name, "pool_shrank");
  }

  // ── What time does ────────────────────────────────────────────────────────────────────────────

  /** Makes the changes of one backend that are due by now. */
  settle(name: string): void {
    const health = this.#of(name);
    if (health === null) return;
    const dueMs = stateDueMs(health, this.#settings);
    if (dueMs !== null && dueMs <= this.#nowMs) this.#passOn(name, health);
    for (const reach of reaches) this.#judgeAccusation(name, reach);
  }

  #passOn(name: string, health: BackendHealth): void {
    switch (health.state) {
      case "suspect":
        this.#move(name, "healthy", "suspicion_over");
        break;
      case "ejected":
        if (health.ejection?.visible === false) this.#move(name, "trial", "ejection_over");
        else this.#return(name, "probe_passed");
        break;
      case "trial":
        this.#put(name, { ...health, trialMs: null });
        break;
      case "recovering": {
        const failing = testimonies(health).find(({ consecutiveFailures }) => consecutiveFailures > 0);
        if (failing === undefined) this.#move(name, "healthy", "slow_start_over");
        else this.#move(name, "suspect", `request_failed:${failing.lastFailure?.reason ?? "unknown"}`);
        break;
      }
      case "healthy":
        break;
    }
  }

  // ── Accusations ───────────────────────────────────────────────────────────────────────────────

  /** Raises, keeps or withdraws the accusation that a backend's own requests make. */
  #weighAccusation(name: string, reach: Reach): void {
    const health = this.#of(name);
    if (health === null) return;
    const charged = this.#charge(name, health, reach) !== null;
    if (charged === (health.testimony[reach].accusedMs !== null)) return;
    this.#put(name, withTestimony(health, reach, { accusedMs: charged ? this.#nowMs : null }));
  }

  #judgeAccusation(name: string, reach: Reach): void {
    const health = this.#of(name);
    if (health === null || !isUp(health)) return;
    const { accusedMs, lastFailure } = health.testimony[reach];
    if (accusedMs === null || this.#nowMs < accusedMs + accusationMs) return;
    const charge = this.#charge(name, health, reach);
    if (charge === null || !this.#maySpare(name)) {
      // Its next failure accuses it anew.
      this.#put(name, withTestimony(health, reach, { accusedMs: null }));
      return;
    }
    const cause = { visible: this.#isVisible(health.testimony[reach]), passive: true, reach };
    this.#put(name, ejectedHealth(health, cause, this.#nowMs, this.#settings.EJECTION));
    this.#move(name, "ejected", `${charge}:${lastFailure?.reason ?? "unknown"}`);
  }

  /** Whether a probe could have seen all that is held against it: one answer among the failures, and a passing probe proves nothing. */
  #isVisible({ lastFailure, lastUnseenMs }: Testimony): boolean {
    const unseen = lastUnseenMs !== null && this.#nowMs - lastUnseenMs < this.#windowMs;
    return lastFailure?.seenByProbe === true && !unseen;
  }

  /** What its own requests of one reach say against it, compared with those of the others that are up. */
  #charge(name: string, health: BackendHealth, reach: Reach): "consecutive_failures" | "success_rate" | null {
    const { consecutive, minOutcomes } = this.#settings.EJECTION;
    const said = health.testimony[reach];
    const isStreak = said.consecutiveFailures >= consecutive;
    if (said.counts.length === 0) return null;
    if (!isStreak && totalSince(said.counts, this.#windowMs, this.#nowMs - this.#windowMs).failures === 0) return null;
    const rest = this.#others(name).flatMap(([, its]) => (isUp(its) ? [its.testimony[reach]] : []));
    if (isStreak && this.#failsAlone(said, rest)) return "consecutive_failures";
    // One that no longer fails is not to be ejected: after an outage of all, those that are asked less keep the worse figures longer.
    if (this.#nowMs - (said.lastFailure?.atMs ?? 0) > slotWidthMs(this.#windowMs)) return null;
    for (const share of comparedShares) {
      const sinceMs = this.#nowMs - this.#windowMs * share;
      const own = totalSince(said.counts, this.#windowMs, sinceMs);
      if (isOutlier(own, this.#sum(rest, sinceMs), minOutcomes)) return "success_rate";
    }
    return null;
  }

  /**
   * Whether its failures in a row are its own. The rest is judged over the window and since the streak began, with and without the slot in which
   * it began: what has just begun to befall all would be lost in a better past.
   */
  #failsAlone(said: Testimony, rest: readonly Testimony[]): boolean {
    if (failsInCompany(said, rest)) return false;
    const windowAgoMs = this.#nowMs - this.#windowMs;
    const streakMs = Math.max(windowAgoMs, said.streakMs ?? this.#nowMs);
    const times = [windowAgoMs, streakMs - slotWidthMs(this.#windowMs), streakMs];
    const rates = times.map((sinceMs) => failureRate(this.#sum(rest, sinceMs)));
    return isSurprisingStreak(said.consecutiveFailures, Math.max(...rates));
  }

  #sum(rest: readonly Testimony[], sinceMs: number): OutcomeTotals {
    let outcomes = 0;
    let failures = 0;
    for (const { counts } of rest) {
      const total = totalSince(counts, this.#windowMs, sinceMs);
      outcomes += total.outcomes;
      failures += total.failures;
    }
    return { outcomes, failures };
  }

  /** Whether the pool can do without it on the word of requests alone: within the share, and with another left whose probe hasn't failed. */
  #maySpare(name: string): boolean {
    const out = Object.values(this.pool).filter(isOutByRequests).length;
    return out < this.#spared() && this.#others(name).some(([, its]) => isUp(its) && its.probe !== "failed");
  }

  /** So many may be out by requests alone. */
  #spared(): number {
    return Math.floor(Object.keys(this.pool).length * this.#settings.EJECTION.maxShare);
  }

  // ── The small steps ───────────────────────────────────────────────────────────────────────────

  #ejectByProbe(name: string, reason: string): void {
    const health = this.#of(name);
    if (health === null) return;
    const cause: Pick<Ejection, "visible" | "passive" | "reach"> = { visible: true, passive: false, reach: "server" };
    this.#put(name, ejectedHealth(health, cause, this.#nowMs, this.#settings.EJECTION));
    this.#move(name, "ejected", reason);
  }

  #return(name: string, reason: string): void {
    const health = this.#of(name);
    if (health === null) return;
    this.#put(name, returnedHealth(health));
    this.#move(name, "recovering", reason);
    // A slow start of no length is over at once.
    this.settle(name);
  }

  #ask(name: string): void {
    const health = this.#of(name);
    if (health === null) return;
    this.#put(name, { ...health, askedMs: this.#nowMs });
    this.probeNow.add(name);
  }

  #move(name: string, to: HealthState, reason: string): void {
    const health = this.#of(name);
    if (health === null) return;
    this.transitions.push({ backend: name, from: health.state, to, reason });
    this.#put(name, { ...health, state: to, sinceMs: this.#nowMs, reason });
  }

  #of(name: string): BackendHealth | null {
    return Object.hasOwn(this.pool, name) ? (this.pool[name] as BackendHealth) : null;
  }

  #put(name: string, health: BackendHealth): void {
    this.pool = { ...this.pool, [name]: health };
  }

  #others(name: string): Member[] {
    return Object.entries(this.pool).filter(([other]) => other !== name);
  }
}

type Member = readonly [string, BackendHealth];

function isOutByRequests(health: BackendHealth): boolean {
  return !isUp(health) && health.ejection?.passive === true;
}

/** When it last succeeded, or was last asked how it is. */
function heardOfMs(health: BackendHealth): number {
  const successes = testimonies(health).flatMap(({ lastSuccessMs }) => lastSuccessMs ?? []);
  return successes.length > 0 ? Math.max(...successes) : (health.probedMs ?? 0);
}

/**
 * Whether others have begun to fail with it and none has succeeded since: then it isn't this backend. Silence of the others is no
 * company: a backend that alone is asked and alone fails is ejected.
 */
function failsInCompany(said: Testimony, rest: readonly Testimony[]): boolean {
  const sinceMs = said.streakMs ?? 0;
  const succeeds = rest.some((its) => its.consecutiveFailures === 0 && (its.lastSuccessMs ?? -1) >= sinceMs);
  return !succeeds && rest.some((its) => its.lastFailure !== null && its.lastFailure.atMs >= sinceMs);
}
