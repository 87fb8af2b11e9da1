/** The snapshot that the edge holds. */
import type { TableBackend } from "../contract.ts";
import type { LiveBackend } from "./backend.ts";

export function tableBackend(backend: LiveBackend, healthy: boolean): TableBackend {
  return {
    name: backend.name,
    url: backend.url,
    priority: backend.priority,
    region: backend.region,
    weight: backend.weight,
    weightShare: backend.weightShare,
    maxInFlight: backend.maxInFlight,
    operatorState: backend.operatorState,
    state: backend.state,
    trialFor: backend.trialFor,
    healthy,
    inFlight: backend.inFlight,
    openAgeMs: backend.openAgeMs,
    load: backend.load,
    regionMs: backend.regionMs,
    dialect: backend.dialect,
    routes: backend.routes,
    refusedRoutes: backend.refusedRoutes,
    models: backend.models,
    modelsBinding: backend.modelsBinding,
    lastCheckMs: backend.learned.lastCheckMs,
    lastSignOfLifeMs: backend.learned.proofMs,
    consecutiveFailures: backend.learned.consecutiveFailures,
  };
}

/**
 * What of a table is worth storing where writes are few: a backend's configuration and state, not a latency sample.
 * Two tables of equal substance pick alike but for load.
 */
export function substanceOf(backends: readonly TableBackend[], overridesVersion: number): string {
  const rows = backends.map((backend) => [
    backend.name,
    backend.url,
    backend.priority,
    backend.region,
    backend.weight,
    backend.maxInFlight,
    backend.operatorState,
    backend.healthy,
    backend.routes,
    backend.models,
  ]);
  return JSON.stringify([overridesVersion, rows]);
}
