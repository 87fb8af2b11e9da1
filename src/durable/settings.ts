/** The only reader of the environment in this room. */
import { readConfig } from "../shared/config/read.ts";
import type { ConfigReading } from "../shared/config/config.ts";

/** The bindings and variables that the objects use; everything but the objects themselves may be missing. */
export interface DurableEnv {
  readonly BACKEND_REGISTRY: DurableObjectNamespace;
  readonly RATE_LIMITER: DurableObjectNamespace;
  readonly OPERATIONS_LEDGER: DurableObjectNamespace;
  readonly CACHE?: KVNamespace;
  readonly DB?: D1Database;
  readonly BACKEND_SERVERS?: unknown;
  readonly CONFIG?: unknown;
}

/** What the operator configured, or every fault in it at once. */
export function readSettings(env: DurableEnv): ConfigReading {
  return readConfig(env as unknown as Record<string, unknown>);
}
