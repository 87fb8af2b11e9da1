/** What each rule looks at: from an observation of the fleet to the conditions that hold in it. No time passes here. */
import type { AlertName, AlertsConfig } from "../config/config.ts";
import type { TableBackend } from "../contract.ts";

/** The fleet at one moment, as the registry's alarm sees it. */
export interface FleetObservation {
  readonly backends: readonly Pick<TableBackend, "name" | "priority" | "operatorState" | "healthy" | "state">[];
  /** Attempts that ended within the last minute, and those of them that were a backend's fault or unknown. */
  readonly lastMinute: { readonly requests: number; readonly failed: number };
  /** 95th percentile over the last minute of the cheap classes (query, usage, token), in milliseconds; null without any. */
  readonly cheapP95Ms: number | null;
  /** Clients blocked now; null where the ledger couldn't be asked. */
  readonly blockedClients: number | null;
  /** How long after it was due the alarm ran, in milliseconds. */
  readonly alarmLateMs: number;
}

/**
 * - `holds`: the rule's condition is met.
 * - `clear`: it isn't.
 * - `unknown`: nobody can tell; nothing starts and nothing ends by it.
 */
export type Finding = "holds" | "clear" | "unknown";

/** One thing that may be wrong. Its key is `rule` or `rule:subject`. */
export interface Condition {
  readonly rule: AlertName;
  /** Backend's name, tier's priority; "" where the rule is about the whole fleet. */
  readonly subject: string;
  readonly finding: Finding;
  /** In the rule's own unit: share, seconds, factor, count. */
  readonly value: number;
}

/** Fewer requests in a minute say nothing about a share or a percentile. */
export const minRequests = 20;

/** Requests a minute below which a usual rate is none, and a change in it none either. */
const minUsual = 6;
const minRate = 60;

/** The usual rate, in requests a minute; null while too little has been seen to call anything usual. */
export type UsualRate = number | null;

export function conditionKey({ rule, subject }: Pick<Condition, "rule" | "subject">): string {
  return subject === "" ? rule : `${rule}:${subject}`;
}

/** `begun`: keys of the alerts that are pending or firing, for the rule whose end is not the opposite of its beginning. */
export function conditions(
  rules: AlertsConfig["rules"],
  seen: FleetObservation,
  usual: UsualRate,
  begun: ReadonlySet<string>,
): readonly Condition[] {
  const all = [
    ...backendsDown(seen, rules.backend_down.threshold, begun),
    ...tiersDown(seen, rules.tier_down.threshold),
    errorRate(seen, rules.error_rate.threshold),
    latency(seen, rules.latency_p95.threshold),
    requestRate(seen, rules.request_rate.threshold, usual),
    counted("many_blocks", seen.blockedClients, rules.many_blocks.threshold),
    counted("probe_late", seen.alarmLateMs / 1000, rules.probe_late.threshold),
  ];
  return all.filter(({ rule }) => rules[rule].enabled);
}

/** An operator who drains or disables a backend knows that it is out. */
function backendsDown(seen: FleetObservation, threshold: number, begun: ReadonlySet<string>): readonly Condition[] {
  const inService = seen.backends.filter((backend) => backend.operatorState === "active");
  const down = inService.filter((backend) => !backend.healthy).length;
  return seen.backends.map(({ name, healthy, operatorState }) => {
    const condition = { rule: "backend_down", subject: name, value: down } as const;
    const isDown = operatorState === "active" && !healthy;
    // One that was told of stays told of until it is up, also when the others are back.
    const counts = down >= threshold || begun.has(conditionKey(condition));
    return { ...condition, finding: isDown && counts ? "holds" : "clear" };
  });
}

function tiersDown(seen: FleetObservation, threshold: number): readonly Condition[] {
  const tiers = new Map<number, { usable: number; members: number }>();
  for (const { priority, healthy, operatorState } of seen.backends) {
    if (operatorState !== "active") continue;
    const tier = tiers.get(priority) ?? { usable: 0, members: 0 };
    tiers.set(priority, { usable: tier.usable + (healthy ? 1 : 0), members: tier.members + 1 });
  }
  return [...tiers].map(([priority, { usable, members }]) => ({
    rule: "tier_down",
    subject: String(priority),
    value: usable,
    finding: usable <= threshold && usable < members ? "holds" : "clear",
  }));
}

function errorRate({ lastMinute }: FleetObservation, threshold: number): Condition {
  const enough = lastMinute.requests >= minRequests;
  const value = lastMinute.requests === 0 ? 0 : lastMinute.failed / lastMinute.requests;
  return { rule: "error_rate", subject: "", value, finding: enough && value > threshold ? "holds" : "clear" };
}

function latency({ cheapP95Ms, lastMinute }: FleetObservation, threshold: number): Condition {
  const value = (cheapP95Ms ?? 0) / 1000;
  const holds = lastMinute.requests >= minRequests && value > threshold;
  return { rule: "latency_p95", subject: "", value, finding: holds ? "holds" : "clear" };
}

/** Far above the usual, or far below it. `value` is the factor, below 1 where the rate has fallen. */
function requestRate({ lastMinute }: FleetObservation, threshold: number, usual: UsualRate): Condition {
  const condition = { rule: "request_rate", subject: "" } as const;
  if (usual === null) return { ...condition, value: 1, finding: "unknown" };
  const value = usual === 0 ? lastMinute.requests : lastMinute.requests / usual;
  // An edge that stood idle has no usual, and a handful more than a handful is far in proportion and nothing in fact.
  const matters = usual >= minUsual && Math.max(usual, lastMinute.requests) >= minRate;
  const far = value > threshold || value < 1 / threshold;
  return { ...condition, value, finding: matters && far ? "holds" : "clear" };
}

function counted(rule: AlertName, count: number | null, threshold: number): Condition {
  const finding = count === null ? "unknown" : count >= threshold ? "holds" : "clear";
  return { rule, subject: "", value: count ?? 0, finding };
}
