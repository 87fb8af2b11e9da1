/** The fleet as the alert rules, the metrics and the operators see it. */
import type { FleetObservation } from "../alerts/conditions.ts";
import type { AlertName } from "../config/config.ts";
import { maskBackend } from "../config/mask.ts";
import type { BackendView } from "../contract.ts";
import type { FleetMetrics } from "../metrics/fleet-metrics.ts";
import { picksFromTable } from "../route.ts";
import type { LiveBackend } from "./backend.ts";
import type { Fleet } from "./fleet.ts";
import { overriddenFields } from "./overlay.ts";
import { Tally } from "./records.ts";
import { tableBackend } from "./table.ts";

/** What the fleet itself can't know. */
export interface Surroundings {
  /** null where the ledger couldn't be asked. */
  readonly blockedClients: number | null;
  readonly alarmLateMs: number;
}

/** Attempts whose end is nobody's word about a backend are not counted: the client's leaving. */
export function observe(fleet: Fleet, { blockedClients, alarmLateMs }: Surroundings, nowMs: number): FleetObservation {
  const lastMinute = { requests: 0, failed: 0 };
  const cheap = new Tally();
  for (const { routeClass, tally } of fleet.records.all("minute", nowMs)) {
    for (const [kind, count] of Object.entries(tally.outcomes)) {
      if (kind !== "aborted") lastMinute.requests += count;
      if (kind === "backend_fault" || kind === "unknown") lastMinute.failed += count;
    }
    if (picksFromTable(routeClass)) cheap.histogram.merge(tally.histogram);
  }
  return {
    backends: fleet.backends.map((backend) => tableBackend(backend, fleet.isHealthy(backend))),
    lastMinute,
    cheapP95Ms: cheap.histogram.quantile(0.95),
    blockedClients,
    alarmLateMs,
  };
}

export interface AlertFigures {
  readonly alertsFiring: Readonly<Record<AlertName, number>>;
  readonly alertMessagesDropped: number;
}

export function metricsOf(fleet: Fleet, around: Surroundings, alerts: AlertFigures, nowMs: number): FleetMetrics {
  const { backends } = fleet.table(nowMs);
  const orphaned = fleet.backends.reduce((sum, backend) => sum + leasesOf(fleet, backend).orphaned, 0);
  return {
    backends: backends.map((row) => {
      const { attempts, latencies, responseBytes, probes, ejections } = fleet.totals(row.name);
      return { row, attempts, latencies, responseBytes, probes: { ...probes }, ejections };
    }),
    counters: fleet.counters,
    isolates: fleet.isolates.count,
    leases: { active: fleet.leases.count - orphaned, orphaned },
    retryBudget: fleet.retryBudget(nowMs),
    overrides: Object.keys(fleet.overrides.values).length,
    ...around,
    ...alerts,
  };
}

function leasesOf(fleet: Fleet, backend: LiveBackend): BackendView["leases"] {
  const leases = fleet.leases.leases(backend.name);
  const orphaned = leases.filter((lease) => lease.orphanedUntilMs !== null).length;
  return { active: leases.length - orphaned, orphaned };
}

export function backendView(fleet: Fleet, backend: LiveBackend): BackendView {
  const { config, learned } = backend;
  return {
    name: backend.name,
    url: maskBackend(config).url,
    priority: backend.priority,
    region: backend.region,
    weight: backend.weight,
    weightShare: backend.weightShare,
    maxInFlight: backend.maxInFlight,
    dialect: backend.dialect,
    healthPath: config.healthPath,
    routes: backend.routes,
    models: backend.models,
    headerNames: Object.keys(config.headers),
    origin: fleet.overlay.added.some((added) => added.name === backend.name) ? "added" : "configured",
    overridden: overriddenFields(fleet.overlay, backend.name),
    operatorState: backend.operatorState,
    state: backend.state,
    healthy: fleet.isHealthy(backend),
    consecutiveFailures: learned.consecutiveFailures,
    lastCheckMs: learned.lastCheckMs,
    lastSignOfLifeMs: learned.proofMs,
    inFlight: fleet.inFlight(backend),
    leases: leasesOf(fleet, backend),
  };
}
