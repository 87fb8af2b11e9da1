/** May this client's request pass? One call to the client's limiter, none where the isolate knows the answer. */
import type { AdmissionRules, AppliedLimit } from "../shared/admission-rules.ts";
import type { Limit } from "../shared/config/config.ts";
import type { AdmitRequest, LimitPolicy } from "../shared/contract.ts";
import type { RouteClass } from "../shared/route.ts";
import { isFresh } from "./block-memory.ts";
import type { BlockMemory, KnownBlock } from "./block-memory.ts";
import type { Client } from "./client.ts";
import type { WaitUntil } from "./edge.ts";
import { askLimiter, limiterPatienceMs } from "./limiter.ts";
import type { LimiterNamespace } from "./limiter.ts";

export type LimiterCount = "admitted" | "refused" | "remembered" | "failed_open" | "failed_closed" | "reported";

/** What outlives a request: given by the isolate. */
export interface AdmitContext {
  readonly limiters: LimiterNamespace;
  readonly memory: BlockMemory;
  readonly count: (what: LimiterCount) => void;
  /** The limiter could not be asked; called with every such request. */
  readonly failed: (reason: "slow" | "overloaded" | "error", message: string) => void;
}

export type LimitHeaders = Readonly<Record<"ratelimit-policy" | "ratelimit", string>>;

export type AdmitVerdict =
  | {
      readonly kind: "admitted";
      /** null where nobody counted: off, exempt, or the limiter could not be asked. */
      readonly headers: LimitHeaders | null;
      /** In report mode: enforcing would have refused it. */
      readonly reported: boolean;
    }
  | { readonly kind: "refused"; readonly retryAfterS: number; readonly limit: Limit; readonly headers: LimitHeaders }
  | { readonly kind: "forbidden"; readonly code: "client_denied" }
  | { readonly kind: "unidentified"; readonly code: "client_address_unknown" }
  | { readonly kind: "unavailable"; readonly code: "limiter_unavailable"; readonly retryAfterS: number };

const uncounted: AdmitVerdict = { kind: "admitted", headers: null, reported: false };

export function admit(
  context: AdmitContext,
  rules: AdmissionRules,
  client: Client,
  routeClass: RouteClass,
  waitUntil: WaitUntil,
): AdmitVerdict | Promise<AdmitVerdict> {
  if (client.key === null) {
    return rules.admitsAnybody ? uncounted : { kind: "unidentified", code: "client_address_unknown" };
  }
  if (client.standing === "denied") return { kind: "forbidden", code: "client_denied" };
  if (client.standing === "exempt" || rules.mode === "off") return uncounted;
  const step = { context, rules, waitUntil, clientKey: client.key, ...rules.limitFor(client.key, routeClass) };
  return rules.mode === "report" ? reported(step) : enforced(step);
}

interface Step extends AppliedLimit {
  readonly context: AdmitContext;
  readonly rules: AdmissionRules;
  readonly waitUntil: WaitUntil;
  readonly clientKey: string;
}

// ── enforce ──────────────────────────────────────────────────────────────────────────────────────

function enforced(step: Step): AdmitVerdict | Promise<AdmitVerdict> {
  const nowMs = Date.now();
  const known = step.context.memory.find(step.clientKey, step.policy, nowMs);
  if (known !== null && isFresh(known, nowMs)) return remembered(step, known, nowMs);
  return mustWait(step, known, nowMs) ? overheard(step) : decided(step, known);
}

/** About a block one request asks for all; about a client that may pass each asks for itself, but not all at once. */
function mustWait({ context, clientKey }: Step, known: KnownBlock | null, nowMs: number): boolean {
  return known === null ? context.memory.calls.isFull(clientKey, nowMs) : isAsked(known, nowMs);
}

/** Another request asks right now. One that was torn down with its client has asked long enough. */
function isAsked(known: KnownBlock, nowMs: number): boolean {
  return known.askedMs !== null && nowMs >= known.askedMs && nowMs - known.askedMs < limiterPatienceMs;
}

function remembered(step: Step, known: KnownBlock, nowMs: number): AdmitVerdict {
  known.refused += 1;
  step.context.count("remembered");
  return refusal(step, known.untilMs - nowMs);
}

/**
 * Asks the limiter. `known`: a block that is too old to act on, which the answer confirms or lifts. Where others wait for
 * the answer, or more such calls are under way, it is heard to its end also when this client resets its connection:
 * otherwise resets would keep an isolate from ever hearing of a block, and those that wait would pass uncounted.
 */
function decided(step: Step, known: KnownBlock | null): Promise<AdmitVerdict> {
  const isAlone = known === null && step.context.memory.calls.count(step.clientKey, Date.now()) === 0;
  const verdict = asked(step, known);
  if (!isAlone) step.waitUntil(verdict);
  return verdict;
}

async function asked(step: Step, known: KnownBlock | null): Promise<AdmitVerdict> {
  const { context, limit, clientKey, policy } = step;
  const refusedFromMemory = known?.refused ?? 0;
  const askedMs = Date.now();
  if (known !== null) [known.askedMs, known.refused] = [askedMs, 0];
  const request = admitRequest(step, refusedFromMemory);
  context.memory.calls.begin(clientKey, askedMs);
  const reply = await askLimiter(context.limiters, clientKey, (limiter) => limiter.admit(limit, request));
  context.memory.calls.end(clientKey, askedMs);
  if (reply.kind === "failed") {
    if (known !== null) [known.askedMs, known.refused] = [null, known.refused + refusedFromMemory];
    return withoutLimiter(step, reply.reason, reply.message);
  }
  const admission = reply.value;
  if (admission.kind === "blocked") {
    // Counted from the question, so that memory never outlasts the block or the second by the answer's way back.
    context.memory.learn(clientKey, policy, admission.retryAfterMs, askedMs);
    context.count("refused");
    return refusal(step, admission.retryAfterMs);
  }
  if (known !== null) context.memory.drop(clientKey, policy, known);
  context.count("admitted");
  return { kind: "admitted", headers: limitHeaders(step, admission.remaining, admission.resetMs), reported: false };
}

/** Growing, and together the limiter's patience: most calls are answered within a few milliseconds. */
const overhearPausesMs = [4, 8, 16, 32, 64, 126] as const;

/** Waits, on timers of its own, for the word that another request is about to leave in memory, or for its turn to ask. */
async function overheard(step: Step): Promise<AdmitVerdict> {
  const { memory } = step.context;
  for (const pauseMs of overhearPausesMs) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const nowMs = Date.now();
    const known = memory.find(step.clientKey, step.policy, nowMs);
    if (known !== null && isFresh(known, nowMs)) return remembered(step, known, nowMs);
    if (!mustWait(step, known, nowMs)) return decided(step, known);
    if (pauseMs === overhearPausesMs.at(-1) && known === null) return decided(step, null);
  }
  return withoutLimiter(step, "slow", `no answer within ${limiterPatienceMs} ms`);
}

/** Another request may have heard of a block while this one waited in vain; otherwise it is the operator's choice. */
function withoutLimiter(step: Step, reason: "slow" | "overloaded" | "error", message: string): AdmitVerdict {
  const { context, rules, clientKey, policy } = step;
  context.failed(reason, message);
  const nowMs = Date.now();
  const known = context.memory.find(clientKey, policy, nowMs);
  if (known !== null && isFresh(known, nowMs)) return remembered(step, known, nowMs);
  context.count(rules.onFailure === "allow" ? "failed_open" : "failed_closed");
  return rules.onFailure === "allow" ? uncounted : { kind: "unavailable", code: "limiter_unavailable", retryAfterS: 1 };
}

// ── report ───────────────────────────────────────────────────────────────────────────────────────

/** Counts and says what enforcing would have done; everybody passes. */
async function reported(step: Step): Promise<AdmitVerdict> {
  const { context, limit, clientKey } = step;
  const request = admitRequest(step, 0);
  const reply = await askLimiter(context.limiters, clientKey, (limiter) => limiter.admit(limit, request));
  if (reply.kind === "failed") {
    context.failed(reply.reason, reply.message);
    context.count("failed_open");
    return uncounted;
  }
  const admission = reply.value;
  if (admission.kind === "admitted") {
    context.count("admitted");
    return { kind: "admitted", headers: limitHeaders(step, admission.remaining, admission.resetMs), reported: false };
  }
  context.count("reported");
  return { kind: "admitted", headers: limitHeaders(step, 0, admission.retryAfterMs), reported: true };
}

// ── Words ────────────────────────────────────────────────────────────────────────────────────────

function admitRequest({ rules, clientKey, policy }: Step, refusedFromMemory: number): AdmitRequest {
  return { clientKey, policy, durability: rules.durability, reportOnly: rules.mode === "report", refusedFromMemory };
}

function refusal(step: Step, retryAfterMs: number): AdmitVerdict {
  const headers = limitHeaders(step, 0, retryAfterMs);
  return { kind: "refused", retryAfterS: wholeSeconds(retryAfterMs), limit: step.limit, headers };
}

/**
 * https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html: `q` requests in `w` seconds; `r` of them
 * are left, and in `t` seconds there may be more.
 */
function limitHeaders(
  { policy, limit }: { readonly policy: LimitPolicy; readonly limit: Limit },
  remaining: number,
  resetMs: number,
): LimitHeaders {
  return {
    "ratelimit-policy": `"${policy}";q=${limit.requests};w=${Math.ceil(limit.window)}`,
    ratelimit: `"${policy}";r=${remaining};t=${wholeSeconds(resetMs)}`,
  };
}

/** Rounded up: who waits that long is not too early (RFC 9110 §10.2.3). */
function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
