/** The only reader of bindings and secrets in this room. */
import type { BackendRegistryApi, OperationsLedgerApi } from "../shared/contract.ts";
import { ledgerName, registryName } from "../shared/contract.ts";
import { readConfig } from "../shared/config/read.ts";
import type { ConfigReading } from "../shared/config/config.ts";
import type { Source } from "../shared/config/source.ts";

export interface Env {
  readonly BACKEND_REGISTRY: DurableObjectNamespace;
  readonly RATE_LIMITER: DurableObjectNamespace;
  readonly OPERATIONS_LEDGER: DurableObjectNamespace;
  /** Optional, as everything below: without it the feature it serves is off. */
  readonly CACHE?: KVNamespace;
  readonly DB?: D1Database;
  readonly ANALYTICS?: AnalyticsEngineDataset;
  readonly ADMIN_TOKEN?: string;
  readonly ADMIN_TOKENS?: unknown;
  readonly ACCESS?: unknown;
  readonly API_KEYS?: unknown;
  readonly BACKEND_SERVERS?: unknown;
  readonly CONFIG?: unknown;
}

/** The environment as `shared/config` reads it. */
export function sourceOf(env: Env): Source {
  return env as unknown as Source;
}

export function readEnvConfig(env: Env): ConfigReading {
  return readConfig(sourceOf(env));
}

const registryIds = new WeakMap<DurableObjectNamespace, DurableObjectId>();

/**
 * A stub belongs to the request that made it and is broken by the first error, so each call makes its own; the id is a
 * plain value and is kept.
 */
export function registryOf(env: Env, locationHint: string | null): BackendRegistryApi {
  const namespace = env.BACKEND_REGISTRY;
  let id = registryIds.get(namespace);
  if (id === undefined) {
    id = namespace.idFromName(registryName);
    registryIds.set(namespace, id);
  }
  const hint = locationHint === null ? {} : { locationHint: locationHint as DurableObjectLocationHint };
  return namespace.get(id, hint) as unknown as BackendRegistryApi;
}

export function ledgerOf(env: Env): OperationsLedgerApi {
  const namespace = env.OPERATIONS_LEDGER;
  return namespace.get(namespace.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
}

/** Features that are off for want of a binding, with what would turn each on. */
export function missingFeatures(env: Env): string[] {
  const missing: string[] = [];
  if (env.CACHE === undefined)
    missing.push("KV binding CACHE: a cold edge that can't reach the registry starts from the configuration");
  if (env.DB === undefined) missing.push("D1 binding DB: request logs are not kept");
  if (env.ANALYTICS === undefined) missing.push("Analytics Engine binding ANALYTICS: no data points are written");
  if (env.ADMIN_TOKEN === undefined && env.ADMIN_TOKENS === undefined && env.ACCESS === undefined) {
    missing.push("secret ADMIN_TOKEN (or ADMIN_TOKENS, ACCESS): the operators' API is closed");
  }
  return missing;
}
