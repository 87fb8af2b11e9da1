/** From what the registry knows to the families of `/metrics`. No URL, key, address or token is in any label. */
import { alertNames } from "../config/config.ts";
import type { AlertName } from "../config/config.ts";
import { healthStates, operatorStates } from "../contract.ts";
import type { EdgeCounters, TableBackend } from "../contract.ts";
import type { OutcomeKind } from "../outcome.ts";
import type { RouteClass } from "../route.ts";
import type { Family, HistogramSample, Labels, Sample } from "./exposition.ts";
import { latencyBoundsS } from "./latency-totals.ts";
import type { LatencyTotals } from "./latency-totals.ts";
import { metricNames, metrics } from "./table.ts";
import type { MetricName } from "./table.ts";

/** One backend: its row of the routing table, and what was counted of it since the registry was made. */
export interface BackendMetrics {
  readonly row: TableBackend;
  readonly attempts: Readonly<Partial<Record<RouteClass, Readonly<Partial<Record<OutcomeKind, number>>>>>>;
  readonly latencies: readonly {
    readonly routeClass: RouteClass;
    readonly edgeRegion: string;
    readonly totals: LatencyTotals;
  }[];
  readonly responseBytes: number;
  readonly probes: { readonly passed: number; readonly failed: number };
  readonly ejections: number;
}

export interface FleetMetrics {
  readonly backends: readonly BackendMetrics[];
  readonly counters: EdgeCounters;
  readonly isolates: number;
  readonly leases: { readonly active: number; readonly orphaned: number };
  readonly retryBudget: number;
  /** null where the ledger couldn't be asked. */
  readonly blockedClients: number | null;
  readonly overrides: number;
  readonly alertsFiring: Readonly<Record<AlertName, number>>;
  readonly alertMessagesDropped: number;
  readonly alarmLateMs: number;
}

type Samples = Readonly<Record<MetricName, readonly Sample[] | readonly HistogramSample[]>>;

export function fleetFamilies(fleet: FleetMetrics): readonly Family[] {
  const samples: Samples = {
    ...backendSamples(fleet.backends),
    ...edgeSamples(fleet.counters),
    ...registrySamples(fleet),
  };
  return metricNames.map((name) => {
    const { type, help } = metrics[name];
    return { name, help, type, samples: samples[name] } as Family;
  });
}

// ── Backends ─────────────────────────────────────────────────────────────────────────────────────

type BackendMetric = Extract<MetricName, `jimeng_edge_backend_${string}`>;

function backendSamples(backends: readonly BackendMetrics[]) {
  /** One sample a backend; null leaves it out. */
  const each = (value: (backend: BackendMetrics) => number | null): readonly Sample[] =>
    backends.flatMap((backend) => sample(value(backend), { backend: backend.row.name }));
  const row = (value: (row: TableBackend) => number | null) => each((backend) => value(backend.row));
  return {
    jimeng_edge_backend_info: backends.flatMap(({ row: { name, priority, region, dialect } }) =>
      sample(1, { backend: name, priority: String(priority), region, dialect: dialect ?? "unknown" }),
    ),
    jimeng_edge_backend_up: row(({ healthy }) => Number(healthy)),
    jimeng_edge_backend_state: backends.flatMap((backend) =>
      stateSet(backend.row.name, healthStates, backend.row.state),
    ),
    jimeng_edge_backend_operator_state: backends.flatMap((backend) =>
      stateSet(backend.row.name, operatorStates, backend.row.operatorState),
    ),
    jimeng_edge_backend_weight: row(({ weight }) => weight),
    jimeng_edge_backend_weight_share_ratio: row(({ weightShare }) => weightShare),
    jimeng_edge_backend_in_flight_requests: row(({ inFlight }) => inFlight),
    jimeng_edge_backend_max_in_flight_requests: row(({ maxInFlight }) => maxInFlight),
    jimeng_edge_backend_open_age_seconds: row(({ openAgeMs }) => openAgeMs / 1000),
    jimeng_edge_backend_consecutive_failures: row(({ consecutiveFailures }) => consecutiveFailures),
    jimeng_edge_backend_last_check_timestamp_seconds: row(({ lastCheckMs }) => seconds(lastCheckMs)),
    jimeng_edge_backend_last_sign_of_life_timestamp_seconds: row(({ lastSignOfLifeMs }) => seconds(lastSignOfLifeMs)),
    jimeng_edge_backend_attempts_total: backends.flatMap(attemptSamples),
    jimeng_edge_backend_response_bytes_total: each(({ responseBytes }) => responseBytes),
    jimeng_edge_backend_probes_total: backends.flatMap(({ row: { name }, probes }) =>
      counts("result", probes, probeResults, { backend: name }),
    ),
    jimeng_edge_backend_ejections_total: each(({ ejections }) => ejections),
    jimeng_edge_backend_request_duration_seconds: backends.flatMap(durationSamples),
  } satisfies Record<BackendMetric, readonly Sample[] | readonly HistogramSample[]>;
}

function attemptSamples({ row, attempts }: BackendMetrics): readonly Sample[] {
  return Object.entries(attempts).flatMap(([routeClass, outcomes]) =>
    Object.entries(outcomes).map(([outcome, value]) => ({
      labels: { backend: row.name, class: routeClass, outcome },
      value,
    })),
  );
}

function durationSamples({ row, latencies }: BackendMetrics): readonly HistogramSample[] {
  return latencies.map(({ routeClass, edgeRegion, totals }) => ({
    labels: { backend: row.name, class: routeClass, edge_region: edgeRegion },
    bounds: latencyBoundsS,
    counts: totals.counts,
    sum: totals.sumMs / 1000,
  }));
}

// ── The edge and the registry ────────────────────────────────────────────────────────────────────

/** The words of a closed set; the compiler misses one that the contract has and this hasn't. */
function words<Word extends string>(all: Readonly<Record<Word, true>>): readonly Word[] {
  return Object.keys(all) as Word[];
}

type Words<Counter extends "limiter" | "cache" | "registryCalls"> = Required<{
  readonly [Word in keyof EdgeCounters[Counter]]: true;
}>;

const decisionWords: Words<"limiter"> = {
  admitted: true,
  refused: true,
  remembered: true,
  failed_open: true,
  failed_closed: true,
  reported: true,
};
const cacheWords: Words<"cache"> = { hit: true, miss: true, stale: true, collapsed: true, bypass: true };
const callWords: Words<"registryCalls"> = { pick: true, settle: true, move: true, report: true, renew: true };
export const limiterDecisions = words(decisionWords);
export const cacheResults = words(cacheWords);
export const registryCalls = words(callWords);
export const probeResults = ["passed", "failed"] as const;
export const leaseStates = ["active", "orphaned"] as const;

function edgeSamples(counters: EdgeCounters) {
  return {
    jimeng_edge_requests_total: sample(counters.requests),
    jimeng_edge_retries_total: sample(counters.retries),
    jimeng_edge_retries_denied_total: sample(counters.retriesDenied),
    jimeng_edge_limiter_decisions_total: counts("decision", counters.limiter, limiterDecisions),
    jimeng_edge_cache_results_total: counts("result", counters.cache, cacheResults),
    jimeng_edge_registry_calls_total: counts("call", counters.registryCalls, registryCalls),
    jimeng_edge_log_rows_dropped_total: sample(counters.logsDropped),
  };
}

function registrySamples(fleet: FleetMetrics) {
  return {
    jimeng_edge_retry_budget_retries: sample(fleet.retryBudget),
    jimeng_edge_limiter_blocked_clients: sample(fleet.blockedClients),
    jimeng_edge_isolates: sample(fleet.isolates),
    jimeng_edge_leases: counts("state", fleet.leases, leaseStates),
    jimeng_edge_config_overrides: sample(fleet.overrides),
    jimeng_edge_alerts_firing: counts("rule", fleet.alertsFiring, alertNames),
    jimeng_edge_alert_messages_dropped_total: sample(fleet.alertMessagesDropped),
    jimeng_edge_alarm_lateness_seconds: sample(fleet.alarmLateMs / 1000),
  };
}

function sample(value: number | null, labels: Labels = {}): readonly Sample[] {
  return value === null ? [] : [{ labels, value }];
}

/** Every name of a closed set, at 0 where nothing was counted: a rate needs the zero before the first one. */
function counts<Name extends string>(
  label: string,
  given: Readonly<Partial<Record<Name, number>>>,
  names: readonly Name[],
  labels: Labels = {},
): readonly Sample[] {
  return names.map((name) => ({ labels: { ...labels, [label]: name }, value: given[name] ?? 0 }));
}

function stateSet(backend: string, states: readonly string[], current: string): readonly Sample[] {
  return states.map((state) => ({ labels: { backend, state }, value: state === current ? 1 : 0 }));
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}
