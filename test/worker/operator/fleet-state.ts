/** Everything that operators can change, to see whether a refused request did. */
import type {
  LedgerEvent,
  RegistryOperationsApi,
  OperationsLedgerApi,
  BackendRegistryApi,
  RateLimiterApi,
} from "../../../src/shared/contract.ts";
import { ledgerName, registryName } from "../../../src/shared/contract.ts";
import { noCounters } from "../../../src/shared/fleet/counters.ts";
import { bindings } from "./fixture.ts";
import { clientKeys } from "./generated.ts";

export type Registry = BackendRegistryApi & RegistryOperationsApi;

export function registry(): Registry {
  const namespace = bindings.BACKEND_REGISTRY;
  return namespace.get(namespace.idFromName(registryName)) as unknown as Registry;
}

export function ledger(): OperationsLedgerApi {
  const namespace = bindings.OPERATIONS_LEDGER;
  return namespace.get(namespace.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
}

/** What operators did, without what the system did by itself. */
export async function acts(): Promise<readonly LedgerEvent[]> {
  const events = await ledger().events({ sinceMs: 0, kind: null, limit: 1000 });
  return events.filter((event) => event.actor !== "system");
}

export async function fleetState(): Promise<string> {
  const question = {
    isolate: "test",
    edgeRegion: "local",
    lines: [],
    inFlight: {},
    counters: noCounters,
    tableVersion: -1,
  };
  const [backends, overrides, reply, ...blocks] = await Promise.all([
    registry().listBackends(),
    registry().overrides(),
    registry().report(question),
    ...clientKeys.map(blockOf),
  ]);
  const steady = backends.map(({ name, url, weight, priority, region, maxInFlight, operatorState, origin }) => [
    name, url, weight, priority, region, maxInFlight, operatorState, origin,
  ]); // prettier-ignore
  const generations = reply.kind === "ok" ? reply.table?.cacheGenerations : null;
  return JSON.stringify([steady, overrides, generations, blocks]);
}

/** A block that ends within the test is no lasting change. */
const lastingMs = 150_000;

/** As its limiter has it, since the ledger hears of it later. */
async function blockOf(clientKey: string): Promise<readonly unknown[] | null> {
  const namespace = bindings.RATE_LIMITER;
  const limiter = namespace.get(namespace.idFromName(clientKey)) as unknown as RateLimiterApi;
  const { block } = await limiter.inspect({ requests: 100, window: 60, blockDuration: 300 }, "default");
  return block === null || block.untilMs - Date.now() < lastingMs ? null : [block.sinceMs, block.reason];
}
