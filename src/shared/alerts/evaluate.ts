/**
 * From conditions to messages: one when an alert begins, one when it ends, whatever happens in between. The state is plain
 * JSON, so that a restart in the middle of an outage neither repeats the first message nor forgets the last.
 */
import { alertNames } from "../config/config.ts";
import type { AlertName, AlertsConfig } from "../config/config.ts";
import { conditionKey, conditions } from "./conditions.ts";
import type { Condition, FleetObservation, UsualRate } from "./conditions.ts";

/**
 * - `pending`: the condition holds, not yet for as long as the rule asks.
 * - `firing`: it was told.
 */
export interface TrackedAlert {
  readonly rule: AlertName;
  readonly subject: string;
  readonly phase: "pending" | "firing";
  readonly sinceMs: number;
  /** Since when the condition of a firing alert has been gone; null while it holds. */
  readonly clearSinceMs: number | null;
  /** As last seen holding. */
  readonly value: number;
}

export interface AlertState {
  /** By condition key. */
  readonly alerts: Readonly<Record<string, TrackedAlert>>;
  /** Exponentially weighted requests a minute; null before the first look. */
  readonly usual: { readonly perMinute: number; readonly firstMs: number; readonly atMs: number } | null;
}

export const noAlerts: AlertState = { alerts: {}, usual: null };

export interface Notification {
  /** The same for every delivery of this message: receivers may tell repetitions by it. */
  readonly id: string;
  readonly rule: AlertName;
  readonly subject: string;
  readonly status: "firing" | "resolved";
  readonly sinceMs: number;
  readonly atMs: number;
  readonly value: number;
  readonly threshold: number;
}

export interface Evaluation {
  readonly state: AlertState;
  readonly notifications: readonly Notification[];
  /** When a waiting alert will be due if nothing changes, in epoch milliseconds; null when none waits. */
  readonly dueMs: number | null;
}

/** The usual rate forgets with this time constant: slow against an incident, quick enough to follow the day. */
const usualTauMs = 3_600_000;
/** Nothing is usual before it has been watched for so long. */
const usualAfterMs = 1_800_000;
/** An alert ends when its condition has been gone for as long as it had to hold, but nobody waits longer than this for good news. */
const longestClearS = 60;

export function evaluate(
  rules: AlertsConfig["rules"],
  seen: FleetObservation,
  state: AlertState,
  nowMs: number,
): Evaluation {
  const begun = new Set(Object.keys(state.alerts));
  const found = conditions(rules, seen, usualRate(state, nowMs), begun);
  const current = new Map(found.map((condition) => [conditionKey(condition), condition]));
  const alerts: Record<string, TrackedAlert> = {};
  const notifications: Notification[] = [];
  for (const key of new Set([...begun, ...current.keys()])) {
    const next = advance(rules, state.alerts[key], current.get(key), nowMs);
    if (next.alert !== null) alerts[key] = next.alert;
    if (next.notification !== null) notifications.push(next.notification);
  }
  return { state: { alerts, usual: learnUsual(state, seen, nowMs) }, notifications, dueMs: dueMs(rules, alerts) };
}

interface Step {
  readonly alert: TrackedAlert | null;
  readonly notification: Notification | null;
}

const nothing: Step = { alert: null, notification: null };

/** `condition` is undefined when its subject is gone (a backend left the configuration) or its rule was switched off. */
function advance(
  rules: AlertsConfig["rules"],
  alert: TrackedAlert | undefined,
  condition: Condition | undefined,
  nowMs: number,
): Step {
  if (alert === undefined) return condition?.finding === "holds" ? begin(rules, condition, nowMs) : nothing;
  if (condition?.finding === "unknown") return { alert, notification: null };
  if (condition?.finding === "holds")
    return hold(rules, { ...alert, value: condition.value, clearSinceMs: null }, nowMs);
  if (alert.phase === "pending") return nothing;
  if (condition === undefined) return end(rules, alert, nowMs);
  // A clock set back must not make an alert wait for it.
  const clearSinceMs = Math.min(alert.clearSinceMs ?? nowMs, nowMs);
  const cleared = nowMs - clearSinceMs >= clearMs(rules, alert.rule);
  return cleared ? end(rules, alert, nowMs) : { alert: { ...alert, clearSinceMs }, notification: null };
}

function begin(rules: AlertsConfig["rules"], { rule, subject, value }: Condition, nowMs: number): Step {
  return hold(rules, { rule, subject, phase: "pending", sinceMs: nowMs, clearSinceMs: null, value }, nowMs);
}

function hold(rules: AlertsConfig["rules"], alert: TrackedAlert, nowMs: number): Step {
  const sinceMs = Math.min(alert.sinceMs, nowMs);
  if (alert.phase === "firing" || nowMs - sinceMs < rules[alert.rule].for * 1000) {
    return { alert: { ...alert, sinceMs }, notification: null };
  }
  const firing: TrackedAlert = { ...alert, sinceMs, phase: "firing" };
  return { alert: firing, notification: message(rules, firing, "firing", nowMs) };
}

function end(rules: AlertsConfig["rules"], alert: TrackedAlert, nowMs: number): Step {
  return { alert: null, notification: message(rules, alert, "resolved", nowMs) };
}

function message(
  rules: AlertsConfig["rules"],
  { rule, subject, sinceMs, value }: TrackedAlert,
  status: Notification["status"],
  nowMs: number,
): Notification {
  const id = `${conditionKey({ rule, subject })}@${sinceMs}:${status}`;
  return { id, rule, subject, status, sinceMs, atMs: nowMs, value, threshold: rules[rule].threshold };
}

function clearMs(rules: AlertsConfig["rules"], rule: AlertName): number {
  return Math.min(rules[rule].for, longestClearS) * 1000;
}

function dueMs(rules: AlertsConfig["rules"], alerts: AlertState["alerts"]): number | null {
  let earliest: number | null = null;
  for (const { rule, phase, sinceMs, clearSinceMs } of Object.values(alerts)) {
    let due: number | null = null;
    if (phase === "pending") due = sinceMs + rules[rule].for * 1000;
    else if (clearSinceMs !== null) due = clearSinceMs + clearMs(rules, rule);
    if (due !== null && (earliest === null || due < earliest)) earliest = due;
  }
  return earliest;
}

// ── The usual rate ───────────────────────────────────────────────────────────────────────────────

function usualRate({ usual }: AlertState, nowMs: number): UsualRate {
  return usual === null || nowMs - usual.firstMs < usualAfterMs ? null : usual.perMinute;
}

function learnUsual({ usual }: AlertState, { lastMinute }: FleetObservation, nowMs: number): AlertState["usual"] {
  if (usual === null) return { perMinute: lastMinute.requests, firstMs: nowMs, atMs: nowMs };
  const kept = Math.exp(-Math.max(0, nowMs - usual.atMs) / usualTauMs);
  const perMinute = usual.perMinute * kept + lastMinute.requests * (1 - kept);
  return { perMinute, firstMs: Math.min(usual.firstMs, nowMs), atMs: nowMs };
}

/** How many alerts of each rule have been told of and not ended, for the metrics. */
export function firingByRule({ alerts }: AlertState): Readonly<Record<AlertName, number>> {
  const counts = Object.fromEntries(alertNames.map((name) => [name, 0])) as Record<AlertName, number>;
  for (const { rule, phase } of Object.values(alerts)) if (phase === "firing") counts[rule] += 1;
  return counts;
}

/**
 * What storage gave back; a shape that isn't a state (an older version's) is none. A rule that this version doesn't have
 * was a newer one's, before it was rolled back.
 */
export function readAlertState(stored: unknown): AlertState {
  const isState =
    typeof stored === "object" &&
    stored !== null &&
    "alerts" in stored &&
    "usual" in stored &&
    stored.alerts !== null &&
    typeof stored.alerts === "object";
  if (!isState) return noAlerts;
  const { alerts, usual } = stored as AlertState;
  return { alerts: Object.fromEntries(Object.entries(alerts).filter(([, alert]) => isKnown(alert))), usual };
}

export function isKnown({ rule }: Pick<TrackedAlert, "rule">): boolean {
  return alertNames.includes(rule);
}
