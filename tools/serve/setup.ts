/** The configurations of a self-hosted edge: one process for everything, or one for the objects and several for requests. */
import type { Binding, Setup, WorkerService } from "./capnp.ts";

/** Bindings and classes as wrangler.toml has them; a test holds the two together. */
export const objectClasses = {
  BACKEND_REGISTRY: "BackendRegistry",
  RATE_LIMITER: "RateLimiter",
  OPERATIONS_LEDGER: "OperationsLedger",
} as const;

/** The service that `edge.js` asks for by this name. */
const serviceName = "jimeng-edge";
/** Where the objects' process listens, beside its configuration. */
export const objectsAddress = "unix:objects.sock";
export const objectsFolder = "../objects";
export const httpSocket = "http";

/**
 * Either half of the engine's young generation, in MiB. Left to itself it grows to twice as much, at 300 requests a second for
 * almost two minutes, and a process takes a sixth more memory; collecting takes 5 % of the CPU in both cases, and 7 % with 8.
 */
const youngHalfMiB = 16;
const v8Flags = [`--max-semi-space-size=${youngHalfMiB}`];

export interface Compatibility {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
}

function service(
  compatibility: Compatibility,
  variables: readonly string[],
  own: Pick<WorkerService, "modules" | "storage"> & { readonly more: readonly Binding[] },
): WorkerService {
  const { compatibilityDate, compatibilityFlags } = compatibility;
  return {
    name: serviceName,
    modules: own.modules,
    compatibilityDate,
    compatibilityFlags,
    bindings: [
      ...variables.map((name): Binding => ({ kind: "environment", name, variable: name })),
      ...Object.entries(objectClasses).map(([name, className]): Binding => ({
        kind: "objects",
        name,
        className,
        service: null,
      })),
      ...own.more,
    ],
    classes: Object.values(objectClasses),
    storage: own.storage,
  };
}

const index = { name: "index.js", file: "index.js" };

/** `address` null: no request is served here, other processes come for the objects. */
export function wholeSetup(compatibility: Compatibility, variables: readonly string[], address: string | null): Setup {
  return {
    services: [service(compatibility, variables, { modules: [index], storage: "disk", more: [] })],
    listeners: address === null ? [] : [{ name: httpSocket, address, service: serviceName }],
    objectsFolder,
    uniquePrefix: serviceName,
    v8Flags,
  };
}

export function edgeSetup(compatibility: Compatibility, variables: readonly string[]): Setup {
  const more: Binding[] = [
    { kind: "peer", name: "PEER" },
    { kind: "text", name: "OBJECTS_ADDRESS", text: objectsAddress },
  ];
  const modules = [{ name: "edge.js", file: "edge.js" }, index];
  return {
    services: [service(compatibility, variables, { modules, storage: "memory", more })],
    listeners: [{ name: httpSocket, address: null, service: serviceName }],
    objectsFolder,
    uniquePrefix: serviceName,
    v8Flags,
  };
}
