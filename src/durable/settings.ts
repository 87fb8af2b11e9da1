/** The only reader of the environment in this room. */
import type { Source } from "../shared/config/source.ts";

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

/** The environment as `shared/config` reads it. */
export function sourceOf(env: DurableEnv): Source {
  return env as unknown as Source;
}
