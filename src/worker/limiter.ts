/** Calls to a client's `RateLimiter`: when a call is given up, when it is made again, and what operators may ask of it. */
import type { AdmissionRules } from "../shared/admission-rules.ts";
import { BoundedMap } from "../shared/bounded-map.ts";
import { parseClientKey } from "../shared/client-key.ts";
import type { ClientState, RateLimiterApi } from "../shared/contract.ts";
import type { RouteClass } from "../shared/route.ts";
import type { BlockMemory } from "./block-memory.ts";

export type LimiterNamespace = DurableObjectNamespace;

/** A limiter that takes longer is worse than none: no request waits longer for it. */
export const limiterPatienceMs = 250;
/**
 * Patience passes in ticks: in an isolate that is too busy to hear an answer they come late, so that its own slowness isn't
 * taken for the limiter's and nobody passes uncounted by it. Few, since each that comes costs a turn of the isolate.
 */
const patienceTicks = 2;

export type LimiterReply<Value> =
  | { readonly kind: "answered"; readonly value: Value }
  | { readonly kind: "failed"; readonly reason: "slow" | "overloaded" | "error"; readonly message: string };

/** Making an id hashes the name; a stub can't be kept, it belongs to the request that made it and breaks with its first error. */
const idsKept = 10_000;
const ids = new WeakMap<LimiterNamespace, BoundedMap<string, DurableObjectId>>();

function limiterOf(limiters: LimiterNamespace, clientKey: string): RateLimiterApi {
  let known = ids.get(limiters);
  if (known === undefined) {
    known = new BoundedMap(idsKept);
    ids.set(limiters, known);
  }
  let id = known.get(clientKey);
  if (id === undefined) {
    id = limiters.idFromName(clientKey);
    known.set(clientKey, id);
  }
  return limiters.get(id) as unknown as RateLimiterApi;
}

type Call<Value> = (limiter: RateLimiterApi) => Promise<Value>;

/**
 * An overloaded object is not asked again: that would be more of what it has too much of. A `retryable` failure is tried
 * once more. https://developers.cloudflare.com/durable-objects/best-practices/error-handling/
 */
async function callTwice<Value>(limiters: LimiterNamespace, clientKey: string, call: Call<Value>): Promise<Value> {
  try {
    return await call(limiterOf(limiters, clientKey));
  } catch (error) {
    if (!marked(error, "retryable") || marked(error, "overloaded")) throw error;
    return call(limiterOf(limiters, clientKey));
  }
}

function marked(error: unknown, mark: "retryable" | "overloaded"): boolean {
  return typeof error === "object" && error !== null && (error as Record<string, unknown>)[mark] === true;
}

/** Asks with `limiterPatienceMs` for everything; never throws. */
export function askLimiter<Value>(
  limiters: LimiterNamespace,
  clientKey: string,
  call: Call<Value>,
): Promise<LimiterReply<Value>> {
  return new Promise((resolve) => {
    const stopWaiting = startPatience(() =>
      resolve({ kind: "failed", reason: "slow", message: `no answer within ${limiterPatienceMs} ms` }),
    );
    callTwice(limiters, clientKey, call).then(
      (value) => {
        stopWaiting();
        resolve({ kind: "answered", value });
      },
      (error: unknown) => {
        stopWaiting();
        const reason = marked(error, "overloaded") ? "overloaded" : "error";
        resolve({ kind: "failed", reason, message: error instanceof Error ? error.message : String(error) });
      },
    );
  });
}

/** Answers what ends it early. */
function startPatience(over: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (ticks: number): void => {
    timer = setTimeout(() => (ticks === 1 ? over() : wait(ticks - 1)), limiterPatienceMs / patienceTicks);
  };
  wait(patienceTicks);
  return () => clearTimeout(timer);
}

// ── What operators ask; the key in any spelling ──────────────────────────────────────────────────

/** What a key may look like, for the answer to an operator who gave another. */
export const clientKeyForms =
  "an IPv4 address, an IPv6 address or its /64, token:<64 hex digits>, token:none, key:<API key name>, worker:<zone> or operator:<address>";

export type ClientReply =
  | { readonly kind: "invalid_key" }
  | { readonly kind: "client"; readonly clientKey: string; readonly state: ClientState };

/** `routeClass`: whose window is looked at, where the class has a limit of its own; null for the general one. */
export async function inspectClient(
  limiters: LimiterNamespace,
  rules: AdmissionRules,
  keyText: string,
  routeClass: RouteClass | null,
): Promise<ClientReply> {
  const clientKey = parseClientKey(keyText);
  if (clientKey === null) return { kind: "invalid_key" };
  const { limit, policy } = rules.limitFor(clientKey, routeClass);
  const state = await callTwice(limiters, clientKey, (limiter) => limiter.inspect(limit, policy));
  return { kind: "client", clientKey, state: { ...state, clientKey } };
}

/** Block and windows gone, here at once and everywhere within a second; the limiter also takes the client off the ledger's list. */
export async function resetClient(
  limiters: LimiterNamespace,
  memory: BlockMemory,
  keyText: string,
): Promise<
  { readonly kind: "invalid_key" } | { readonly kind: "reset" | "nothing_to_reset"; readonly clientKey: string }
> {
  const clientKey = parseClientKey(keyText);
  if (clientKey === null) return { kind: "invalid_key" };
  const remembered = await callTwice(limiters, clientKey, (limiter) => limiter.reset());
  memory.forget(clientKey);
  return { kind: remembered ? "reset" : "nothing_to_reset", clientKey };
}

/** `seconds` as validated by the caller. */
export async function blockClient(
  limiters: LimiterNamespace,
  keyText: string,
  seconds: number,
  reason: string,
): Promise<ClientReply> {
  const clientKey = parseClientKey(keyText);
  if (clientKey === null) return { kind: "invalid_key" };
  const state = await callTwice(limiters, clientKey, (limiter) => limiter.block(seconds, reason));
  return { kind: "client", clientKey, state: { ...state, clientKey } };
}
