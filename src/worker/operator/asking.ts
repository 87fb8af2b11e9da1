/** Calls to the objects on an operator's behalf: what can't be reached is said so, and never waited for without end. */
import type {
  BackendRegistryApi,
  ChangeRefusal,
  LedgerEvent,
  OperationsLedgerApi,
  RegistryOperationsApi,
} from "../../shared/contract.ts";
import { ledgerOf, registryOf } from "../env.ts";
import type { Edge } from "../edge.ts";
import type { Exchange } from "../exchange.ts";
import type { Failure, FailureCode } from "../failure.ts";
import { invalidInput } from "./input.ts";
import { failed } from "./route.ts";
import type { Asked, Told } from "./route.ts";

/** Thrown by the calls below, caught where the answer is made. */
export class Unreachable extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

const patienceMs = 10_000;

export type Registry = BackendRegistryApi & RegistryOperationsApi;

/** `longMs`: where the call itself takes its time. */
export function askRegistry<Value>(
  { edge }: Exchange,
  call: (registry: Registry) => Promise<Value>,
  longMs = patienceMs,
): Promise<Value> {
  const registry = registryOf(edge.env, edge.config.LOCATION.registry) as Registry;
  return patiently(edge, "registry_unavailable", "The registry", () => call(registry), longMs);
}

export function askLedger<Value>(
  { edge }: Exchange,
  call: (ledger: OperationsLedgerApi) => Promise<Value>,
): Promise<Value> {
  return patiently(edge, "operations_unavailable", "The ledger", () => call(ledgerOf(edge.env)), patienceMs);
}

/** `what`: the subject of the sentence that says that it can't be reached. */
export async function patiently<Value>(
  edge: Edge,
  code: FailureCode & ("registry_unavailable" | "operations_unavailable"),
  what: string,
  call: () => Promise<Value>,
  longMs = patienceMs,
): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${longMs / 1000} s`)), longMs);
  });
  try {
    return await Promise.race([call(), silence]);
  } catch (error) {
    edge.warnOncePerMinute(`operators_${code}`, error);
    throw new Unreachable({
      code,
      message: `${what} can't be reached just now. Nothing is known to have changed.`,
      retryAfterS: 2,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** This isolate works by a change at once; the others take it with their next table. */
export function showSoon({ edge, region, waitUntil }: Exchange): void {
  void edge.report(region, waitUntil);
}

/** What an operator did with something else than the registry: told to the ledger, or left with the registry for it. */
export async function record(
  { exchange, by }: Pick<Asked<unknown, unknown, unknown>, "exchange" | "by">,
  act: Pick<LedgerEvent, "kind" | "subject" | "detail">,
): Promise<void> {
  const detail = { from: by.from, ...act.detail };
  const event: LedgerEvent = { ...act, atMs: Date.now(), actor: by.name, detail };
  try {
    await askLedger(exchange, (ledger) => ledger.record([event]));
  } catch {
    await askRegistry(exchange, (registry) => registry.keepEvents([event])).catch((error: unknown) =>
      exchange.edge.warnOncePerMinute("event_lost", error),
    );
  }
}

export function refusal(reply: ChangeRefusal, subject: string): Told {
  switch (reply.kind) {
    case "unknown": {
      const known = reply.known.length === 0 ? "There are none." : `There are ${reply.known.slice(0, 20).join(", ")}.`;
      return failed({ code: "not_found", message: `${subject} is not known. ${known}` });
    }
    case "conflict":
      return failed({ code: "conflict", message: reply.message });
    case "invalid":
      return failed(invalidInput(reply.faults));
    case "misconfigured":
      return failed({
        code: "configuration_invalid",
        message: "The registry reads a configuration that can't be used.",
        details: reply.faults,
      });
  }
}
