/** What is known of one backend's health: a JSON-safe value, and what can be read from it. */
import type { EjectionConfig, HealthCheckConfig } from "../config/config.ts";
import type { HealthState } from "../contract.ts";
import type { Reach } from "../route.ts";
import { reaches } from "../route.ts";
import type { OutcomeCounts } from "./outcome-counts.ts";

export interface HealthSettings {
  readonly EJECTION: EjectionConfig;
  readonly HEALTH_CHECK: HealthCheckConfig;
}

export interface Ejection {
  readonly atMs: number;
  /** It lasts at least until then. */
  readonly untilMs: number;
  /** Its failures can be seen by a probe, so a passing one ends it; otherwise only a successful request does. */
  readonly visible: boolean;
  /** Earned by requests alone, without a failed probe. */
  readonly passive: boolean;
  /** How far the requests went that earned it: what ends its trial must have gone as far. */
  readonly reach: Reach;
}

/**
 * What the requests of one reach say. They are kept apart, since those that a server answers by itself would outvote the generations that
 * fail behind it.
 */
export interface Testimony {
  /** Backend faults with no success after them, and when the first of them was heard of. */
  readonly consecutiveFailures: number;
  readonly streakMs: number | null;
  readonly lastSuccessMs: number | null;
  readonly lastFailure: { readonly atMs: number; readonly seenByProbe: boolean; readonly reason: string } | null;
  /** The last failure that a probe could not see. */
  readonly lastUnseenMs: number | null;
  readonly counts: OutcomeCounts;
  /** Since when these requests alone would have the backend ejected. */
  readonly accusedMs: number | null;
}

export interface BackendHealth {
  readonly state: HealthState;
  readonly sinceMs: number;
  /** A short stable word, after a colon what was observed: `consecutive_failures:http_502`. */
  readonly reason: string;
  /** The last active probe; a new backend is healthy until something says otherwise. */
  readonly probe: "unknown" | "passed" | "failed";
  readonly probedMs: number | null;
  /** The first of the failed probes that no passing one has followed. */
  readonly probeFailedMs: number | null;
  /** When a probe out of turn was asked for. */
  readonly askedMs: number | null;
  readonly testimony: Readonly<Record<Reach, Testimony>>;
  /** While `ejected` or on `trial`. */
  readonly ejection: Ejection | null;
  /** When the trial's request went out; null while it waits for one. */
  readonly trialMs: number | null;
  /** Times of the ejections of the last `ejectionMemoryMs`, oldest first. */
  readonly ejections: readonly number[];
}

const msPerS = 1000;

/** Ejections are counted over so long; what lies further back is forgiven. */
export const ejectionMemoryMs = 600_000;

/**
 * How long an accusation must stand. Reports of isolates are a second apart and a moment under way: after two seconds
 * whatever befalls all has reached everybody's counts, in whichever order the reports came.
 */
export const accusationMs = 2_000;

/** A trial whose request was given up by its client, or takes this long, makes room for another. */
export const trialPatienceMs = 60_000;

/** Envoy's `min_weight_percent`. */
const leastShare = 0.1;

const nothingSaid: Testimony = {
  consecutiveFailures: 0,
  streakMs: null,
  lastSuccessMs: null,
  lastFailure: null,
  lastUnseenMs: null,
  counts: [],
  accusedMs: null,
};

export function unprovenHealth(nowMs: number): BackendHealth {
  return {
    state: "healthy",
    sinceMs: nowMs,
    reason: "new",
    probe: "unknown",
    probedMs: null,
    probeFailedMs: null,
    askedMs: nowMs,
    testimony: { server: nothingSaid, jimeng: nothingSaid },
    ejection: null,
    trialMs: null,
    ejections: [],
  };
}

export function testimonies(health: BackendHealth): readonly Testimony[] {
  return reaches.map((reach) => health.testimony[reach]);
}

export function withTestimony(health: BackendHealth, reach: Reach, given: Partial<Testimony>): BackendHealth {
  return { ...health, testimony: { ...health.testimony, [reach]: { ...health.testimony[reach], ...given } } };
}

/** Takes its full share of requests, or with slow start a part of it. */
export function isUp(health: BackendHealth): boolean {
  return health.state !== "ejected" && health.state !== "trial";
}

/**
 * What `healthy` in `/health` means: it may be picked for its own sake. Not so an ejected one, one on trial whose request is out, and
 * one that is up only because every other fails as well: when all are dead, nobody is healthy, and the picks go on.
 */
export function mayBePicked(health: BackendHealth): boolean {
  if (health.state === "trial") return health.trialMs === null;
  return isUp(health) && !isLastResort(health);
}

/** Its probe fails, and no request has succeeded since; a success heard of at once may be older than the failure. */
function isLastResort(health: BackendHealth): boolean {
  if (health.probeFailedMs === null) return false;
  const sinceMs = health.probeFailedMs + accusationMs;
  return !testimonies(health).some(
    ({ consecutiveFailures, lastSuccessMs }) => consecutiveFailures === 0 && (lastSuccessMs ?? 0) >= sinceMs,
  );
}

/**
 * The part of its weight that a backend gets, 0–1. After an ejection it grows as Envoy's slow start with aggression 1; a new backend,
 * and a new process, start with all of it.
 */
export function weightShare(health: BackendHealth, nowMs: number, settings: HealthSettings): number {
  if (!isUp(health)) return 0;
  if (health.state !== "recovering" || settings.EJECTION.slowStart <= 0) return 1;
  const upS = Math.max(1, (nowMs - health.sinceMs) / msPerS);
  return Math.min(1, Math.max(leastShare, upS / settings.EJECTION.slowStart));
}

/** When a tick would change something; null: only an event can. */
export function nextDueMs(health: BackendHealth, settings: HealthSettings): number | null {
  const accused = testimonies(health).flatMap(({ accusedMs }) =>
    accusedMs === null ? [] : [accusedMs + accusationMs],
  );
  const stateMs = stateDueMs(health, settings);
  return accused.length === 0 ? stateMs : Math.min(stateMs ?? Number.POSITIVE_INFINITY, ...accused);
}

/** When time alone moves a backend out of its state, or opens its trial again. */
export function stateDueMs(health: BackendHealth, settings: HealthSettings): number | null {
  switch (health.state) {
    case "healthy":
      return null;
    case "suspect":
      return isCleared(health) ? suspicionEndMs(health, settings) : null;
    case "ejected":
      return isReadyToReturn(health) ? (health.ejection?.untilMs ?? health.sinceMs) : null;
    case "trial":
      return health.trialMs === null ? null : health.trialMs + trialPatienceMs;
    case "recovering":
      return health.sinceMs + settings.EJECTION.slowStart * msPerS;
  }
}

/** The last fault has been answered: by a success, or by a passing probe if a probe could have seen it. */
function isCleared(health: BackendHealth): boolean {
  if (health.probe === "failed") return false;
  return testimonies(health).every(({ consecutiveFailures, lastFailure }) => {
    if (consecutiveFailures === 0 || lastFailure === null) return true;
    return lastFailure.seenByProbe && health.probe === "passed" && (health.probedMs ?? 0) >= lastFailure.atMs;
  });
}

/** A suspicion lasts while the last fault stands in the window: a backend that fails now and then must not blink. */
function suspicionEndMs(health: BackendHealth, settings: HealthSettings): number {
  const faultMs = Math.max(...testimonies(health).map(({ lastFailure }) => lastFailure?.atMs ?? 0));
  return Math.max(health.sinceMs, faultMs) + settings.EJECTION.window * msPerS;
}

/** Nothing but time keeps an ejected backend from its return (visible failures) or from its trial (others). */
function isReadyToReturn(health: BackendHealth): boolean {
  if (health.ejection === null) return true;
  if (!health.ejection.visible) return health.probe !== "failed";
  return health.probe === "passed" && (health.probedMs ?? 0) > health.ejection.atMs;
}

/**
 * The ejection that starts now. Its length grows with each one within `ejectionMemoryMs` and shrinks as they are forgiven:
 * `base` × n where only a trial can tell; `base` × (n − 1) where a probe can, so that the first ends with the first passing probe.
 */
export function ejectedHealth(
  health: BackendHealth,
  cause: Pick<Ejection, "visible" | "passive" | "reach">,
  nowMs: number,
  settings: EjectionConfig,
): BackendHealth {
  const recent = health.ejections.filter((atMs) => nowMs - atMs < ejectionMemoryMs);
  // More of them than reach the maximum need not be remembered.
  const ejections = [...recent, nowMs].slice(-Math.ceil(settings.max / settings.base) - 1);
  const steps = cause.visible ? ejections.length - 1 : ejections.length;
  const lengthMs = Math.min(settings.max, settings.base * steps) * msPerS;
  return {
    ...health,
    ejection: { atMs: nowMs, untilMs: nowMs + lengthMs, ...cause },
    ejections,
    testimony: afresh(health, { counts: [], accusedMs: null }),
    trialMs: null,
  };
}

/** Back among the others, with nothing held against it but the number of its ejections. */
export function returnedHealth(health: BackendHealth): BackendHealth {
  return {
    ...health,
    ejection: null,
    trialMs: null,
    testimony: afresh(health, { counts: [], accusedMs: null, consecutiveFailures: 0, streakMs: null }),
  };
}

function afresh({ testimony }: BackendHealth, given: Partial<Testimony>): BackendHealth["testimony"] {
  return { server: { ...testimony.server, ...given }, jimeng: { ...testimony.jimeng, ...given } };
}
