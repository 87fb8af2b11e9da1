/** One backend as the registry holds it: what is configured, what operators changed, and what was learned. */
import type { BackendConfig, Dialect } from "../config/config.ts";
import type { HealthState, LoadSample, ModelEntry, OperatorState } from "../contract.ts";
import type { Reach, RouteClass } from "../route.ts";
import type { Member } from "../balance/member.ts";

/** A route that a backend refused as unknown is not asked of it again for so long: an upgrade of the server is noticed within the hour. */
export const refusedRouteMs = 3_600_000;

export interface LiveBackend extends Member {
  name: string;
  url: string;
  priority: number;
  region: string;
  weight: number;
  weightShare: number;
  maxInFlight: number | null;
  operatorState: OperatorState;
  state: HealthState;
  trialFor: Reach | null;
  inFlight: number;
  openAgeMs: number;
  load: Partial<Record<RouteClass, LoadSample>>;
  /** Requests that came to nothing since the last success. */
  nothingInRow: Partial<Record<RouteClass, number>>;
  regionMs: Record<string, number>;
  routes: readonly string[] | null;
  refusedRoutes: string[];
  models: readonly string[] | null;
  modelsBinding: boolean;
  /** Configured; null: learned. */
  dialect: Dialect | null;
  config: BackendConfig;
  learned: LearnedFacts;
}

/** What a restart must not forget. JSON. */
export interface LearnedFacts {
  dialect: Dialect | null;
  /** Route id → when it was refused. */
  refused: Record<string, number>;
  models: readonly ModelEntry[] | null;
  modelsReadMs: number | null;
  lastCheckMs: number | null;
  /** The last proof that the process answers; null after a transport failure. */
  proofMs: number | null;
  /** The last time anything was heard, whatever came after. */
  lastAliveMs: number | null;
  consecutiveFailures: number;
  load: Partial<Record<RouteClass, LoadSample>>;
}

/** The part that changes seldom and is stored within a second. */
export function lastingFacts(learned: LearnedFacts): Partial<LearnedFacts> {
  const { dialect, refused, models, modelsReadMs, consecutiveFailures } = learned;
  return { dialect, refused, models, modelsReadMs, consecutiveFailures };
}

/**
 * The part that moves with every request and is stored now and then. `proofMs` is left out: after a restart a ping
 * before the first generation is the safe side.
 */
export function momentaryFacts(learned: LearnedFacts): Partial<LearnedFacts> {
  const { lastCheckMs, lastAliveMs, load } = learned;
  return { lastCheckMs, lastAliveMs, load };
}

export function nothingLearned(): LearnedFacts {
  return {
    dialect: null,
    refused: {},
    models: null,
    modelsReadMs: null,
    lastCheckMs: null,
    proofMs: null,
    lastAliveMs: null,
    consecutiveFailures: 0,
    load: {},
  };
}

export function liveBackend(config: BackendConfig, operatorState: OperatorState, learned: LearnedFacts): LiveBackend {
  return {
    name: config.name,
    url: config.url,
    priority: config.priority,
    region: config.region,
    weight: config.weight,
    weightShare: 1,
    maxInFlight: config.maxInFlight,
    operatorState,
    state: "healthy",
    trialFor: null,
    inFlight: 0,
    openAgeMs: 0,
    load: learned.load,
    nothingInRow: {},
    regionMs: {},
    routes: config.routes,
    refusedRoutes: Object.keys(learned.refused),
    models: config.models ?? learned.models?.map((model) => model.id) ?? null,
    modelsBinding: config.models !== null,
    dialect: config.dialect ?? learned.dialect,
    config,
    learned,
  };
}

export function learnDialect(backend: LiveBackend, dialect: Dialect): boolean {
  if (backend.config.dialect !== null || backend.learned.dialect === dialect) return false;
  backend.learned.dialect = dialect;
  backend.dialect = dialect;
  return true;
}

export function learnRefusedRoute(backend: LiveBackend, routeId: string, nowMs: number): void {
  backend.learned.refused[routeId] = nowMs;
  backend.refusedRoutes = Object.keys(backend.learned.refused);
}

export function forgetOldRefusals(backend: LiveBackend, nowMs: number): boolean {
  const old = Object.entries(backend.learned.refused).filter(([, atMs]) => nowMs - atMs >= refusedRouteMs);
  if (old.length === 0) return false;
  for (const [routeId] of old) delete backend.learned.refused[routeId];
  backend.refusedRoutes = Object.keys(backend.learned.refused);
  return true;
}

export function learnModels(backend: LiveBackend, models: readonly ModelEntry[], nowMs: number): void {
  backend.learned.models = models;
  backend.learned.modelsReadMs = nowMs;
  if (backend.config.models === null) backend.models = models.map((model) => model.id);
}

/** It answered something, so its process lives. */
export function heard(backend: LiveBackend, nowMs: number): void {
  backend.learned.proofMs = nowMs;
  backend.learned.lastAliveMs = nowMs;
}
