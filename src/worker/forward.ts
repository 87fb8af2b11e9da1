/**
 * Walks the candidates. A request that spends credits goes to one backend only, unless it is proven not to have been
 * executed there; a cheap one is tried again within the budget and its deadline.
 */
import type { MoveReply, PickedBackend } from "../shared/contract.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted } from "../shared/outcome.ts";
import { backoffMs } from "../shared/retry/backoff.ts";
import { anotherAttempt, shouldRetryHeader } from "../shared/retry/matrix.ts";
import type { Route, RouteClass } from "../shared/route.ts";
import { accountFor } from "./account.ts";
import type { Account } from "./account.ts";
import { attempt, discard } from "./attempt.ts";
import type { Answer, AttemptResult } from "./attempt.ts";
import type { Outgoing } from "./body.ts";
import { Cutoff } from "./cutoff.ts";
import type { Edge } from "./edge.ts";
import type { Exchange } from "./exchange.ts";
import type { Failure } from "./failure.ts";
import { requestHeaders } from "./headers.ts";
import type { ForwardedBy } from "./headers.ts";
import { refusal } from "./pick.ts";
import { isAlive } from "./proof.ts";
import type { Upstream } from "./upstream.ts";
import { keepLease } from "./watch.ts";

const msPerS = 1000;

/** On Cloudflare, `waitUntil` ends 30 s after the client has gone: what is to be said must be said before. */
const followMs = 25_000;

/** What the client is to get. */
export interface Forwarded {
  readonly answer: Answer | null;
  readonly failure: Failure | null;
  readonly outcome: Outcome;
  /** `x-should-retry`, as this request's route and outcome decide. */
  readonly shouldRetry: string | null;
  readonly backend: string;
  /** Of an answer that still streams: to be called at its end. */
  readonly conclude: ((outcome: Outcome, bytes: number) => void) | null;
  /** Of an answer that still streams: ends it from here. */
  readonly cutoff: Cutoff;
}

export interface Journey {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly routeClass: RouteClass;
  readonly outgoing: Outgoing;
  readonly leaseId: string | null;
  readonly candidates: readonly PickedBackend[];
  readonly upstream: Upstream;
}

export async function forward(journey: Journey): Promise<Forwarded> {
  const { exchange, candidates } = journey;
  const { edge, waitUntil, region } = exchange;
  const account = accountFor({ edge, waitUntil, region, routeClass: journey.routeClass }, journey.leaseId);
  const pickedMs = Date.now();
  const deadlineMs = pickedMs + totalMs(journey);
  const tried = new Set<string>();
  edge.table.requested(exchange.startedMs);
  const first = candidates[0] as PickedBackend;
  let place = await firstAlive(journey, account, first, tried, pickedMs);
  if (place.kind === "silent") return unreachable(journey, first);
  if (place.kind === "none") return withoutRoom(journey, place, first, notAlive.outcome);
  for (let made = 1; ; made += 1) {
    const { backend } = place;
    if (hasLeft(journey)) return spared(account, backend);
    tried.add(backend.name);
    const tripped = await tryAt(journey, account, backend, deadlineMs);
    const { result } = tripped;
    const next = await nextBackends(journey, result.outcome, backend, tried, made, deadlineMs);
    if (next.length === 0) return arrived(journey, account, backend, tripped);
    tripped.release();
    const moved = await account.moved(backend.name, result, namesOf(next));
    if (moved.kind === "none") return stranded(journey, account, moved, backend, tripped);
    if (!journey.upstream.standIn) await pause(backoffMs(made - 1, edge.config.RETRY, Math.random));
    const alive = await firstAlive(journey, account, named(next, moved.backend), tried, pickedMs);
    // Nobody else is there: what the last one has said stands.
    if (alive.kind === "silent") return arrived(journey, account, backend, tripped);
    if (alive.kind === "none") return stranded(journey, account, alive, backend, tripped);
    await discard(result.answer);
    edge.findings.counters.retries += 1;
    place = alive;
  }
}

function namesOf(backends: readonly PickedBackend[]): string[] {
  return backends.map(({ name }) => name);
}

function named(backends: readonly PickedBackend[], name: string): PickedBackend {
  return backends.find((backend) => backend.name === name) ?? (backends[0] as PickedBackend);
}

/**
 * Time for all attempts together until an answer's headers, from when the request was there to be sent. An upload that is
 * passed on as it comes takes as long as the client's line does.
 */
function totalMs({ exchange, routeClass, outgoing }: Journey): number {
  const { DEADLINES } = exchange.edge.config;
  const own = routeClass === "stream" ? DEADLINES.streamFirstByte : DEADLINES[routeClass];
  return (outgoing.repeatable ? own : Math.max(own, DEADLINES.generate)) * msPerS;
}

/** The client went before anything was sent for it: nobody waits, so nothing is spent. */
function hasLeft({ exchange, upstream }: Journey): boolean {
  return !upstream.shared && exchange.request.signal.aborted;
}

function spared(account: Account, backend: PickedBackend): Forwarded {
  const outcome: Outcome = { ...aborted, executed: "no" };
  account.closed(backend.name, { outcome, learned: null, answer: null, failure: null, latencyMs: 0 }, 0);
  const message = "The client left before its request was sent.";
  return unanswered({ code: "body_unreadable", message }, outcome, backend);
}

function unanswered(failure: Failure, outcome: Outcome, { name }: PickedBackend): Forwarded {
  return {
    answer: null,
    failure,
    outcome,
    shouldRetry: null,
    backend: name,
    conclude: null,
    cutoff: new Cutoff(),
  };
}

type WithoutRoom = Extract<MoveReply, { readonly kind: "none" }>;

/** What was not executed may be sent again, so it is told as at a pick; of what may have been, the last word stands. */
function stranded(
  journey: Journey,
  account: Account,
  none: WithoutRoom,
  last: PickedBackend,
  tripped: Tripped,
): Forwarded {
  const { outcome, answer } = tripped.result;
  if (outcome.executed !== "no") return arrived(journey, account, last, tripped);
  journey.exchange.waitUntil(discard(answer));
  return withoutRoom(journey, none, last, outcome);
}

function withoutRoom(
  { exchange, route, outgoing }: Journey,
  { reason, retryAfterS }: WithoutRoom,
  last: PickedBackend,
  outcome: Outcome,
): Forwarded {
  if (exchange.outcome !== "aborted") exchange.outcome = "rejected";
  exchange.reason = reason;
  return unanswered(refusal(reason, route, outgoing.model, retryAfterS), outcome, last);
}

// ── Proof of life ───────────────────────────────────────────────────────────────────────────────

/** Where an attempt may be made. `silent`: nobody that is left answers. */
type Place = { readonly kind: "at"; readonly backend: PickedBackend } | { readonly kind: "silent" } | WithoutRoom;

/** Of Cloudflare's six connections that may wait for an answer, one is left for what must be told meanwhile. */
const pingsAtOnce = 5;

/**
 * The backend itself, or the next candidate that answers a ping: a generation is not sent into the dark. What failed
 * its ping got nothing, so moving on costs nobody anything. The first is asked alone, since it nearly always answers; then
 * several at a time, so that a fleet that is silent altogether is told in seconds.
 */
async function firstAlive(
  journey: Journey,
  account: Account,
  first: PickedBackend,
  tried: ReadonlySet<string>,
  pickedMs: number,
): Promise<Place> {
  const { exchange, candidates, route } = journey;
  if (!route.paid) return { kind: "at", backend: first };
  // What was known when they were picked is old news after an attempt that took its time.
  const isStale = Date.now() - pickedMs > exchange.edge.config.WATCH.proofOfLife * msPerS;
  const mayBeDead = (backend: PickedBackend): boolean => backend.needsProof || isStale;
  const asked = new Map<PickedBackend, true | Promise<boolean>>();
  let backend = first;
  let others = candidates.filter((other) => other !== first && !tried.has(other.name));
  for (;;) {
    const unasked = [backend, ...others].filter((one) => !asked.has(one));
    if (!asked.has(backend))
      for (const one of unasked.slice(0, asked.size === 0 ? 1 : pingsAtOnce))
        asked.set(one, !mayBeDead(one) || isAlive(exchange.edge, one));
    if (await asked.get(backend)) return { kind: "at", backend };
    if (others.length === 0) break;
    const moved = await account.moved(backend.name, notAlive, namesOf(others));
    if (moved.kind === "none") return moved;
    const next = named(others, moved.backend);
    others = others.filter((other) => other !== next);
    backend = next;
  }
  account.closed(backend.name, notAlive, 0);
  exchange.outcome = notAlive.outcome.kind;
  exchange.reason = notAlive.outcome.reason;
  return { kind: "silent" };
}

const notAlive: AttemptResult = {
  outcome: { kind: "backend_fault", executed: "no", seenByProbe: true, reason: "ping_failed" },
  learned: null,
  answer: null,
  failure: "backend_unreachable",
  latencyMs: 0,
};

function unreachable(journey: Journey, last: PickedBackend): Forwarded {
  const { candidates } = journey;
  const nothing = "nothing was sent to any, and nothing was charged";
  const message = `None of the ${candidates.length} backends that could serve this answered a ping; ${nothing}.`;
  return unanswered({ code: "backend_unreachable", message, retryAfterS: 5, retry: true }, notAlive.outcome, last);
}

// ── One attempt ─────────────────────────────────────────────────────────────────────────────────

interface Tripped {
  readonly result: AttemptResult;
  readonly cutoff: Cutoff;
  /** Ends what watches over the attempt. */
  readonly release: () => void;
  readonly startedMs: number;
}

async function tryAt(journey: Journey, account: Account, backend: PickedBackend, deadlineMs: number): Promise<Tripped> {
  const { exchange, route, routeClass, outgoing, leaseId } = journey;
  const { edge, request } = exchange;
  exchange.backend = backend.name;
  exchange.attempts += 1;
  const startedMs = Date.now();
  const cutoff = new Cutoff();
  const left = Math.max(1, deadlineMs - startedMs);
  const attemptMs = attemptLimitMs(journey);
  if (attemptMs < left) cutoff.endAfter(attemptMs, "attempt_timeout");
  else cutoff.endAfter(left, "deadline");
  const release = watchOver(journey, account, backend, cutoff, startedMs, leaseId);
  account.opened(backend.name);
  let isAnswered = false;
  const onFault = (): void => (isAnswered ? undefined : cutoff.end("upload_failed"));
  const result = await attempt({
    url: backend.url + exchange.path + exchange.query,
    method: request.method,
    headers: requestHeaders(journey.upstream.headers, forwardedBy(journey), edge.secretHeaders[backend.name] ?? {}),
    body: outgoing.open(onFault),
    signal: cutoff.signal,
    endedBy: () => cutoff.reason,
    onAnswer: () => {
      isAnswered = true;
    },
    uploadFault: outgoing.uploadFault,
    routeId: route.id,
    routeClass,
  });
  isAnswered = true;
  cutoff.clear();
  exchange.backendMs = result.latencyMs;
  return { result, cutoff, release, startedMs };
}

/** The share of its deadline that a token's check may take at one server: more than the 15 s of one dialect, and time for another. */
const tokenShare = 0.6;

/** How long one server may take before another is asked; Infinity where only the deadline counts. */
function attemptLimitMs({ exchange, routeClass, outgoing }: Journey): number {
  // The client's line takes its time, and nobody else could be asked.
  if (!outgoing.repeatable) return Infinity;
  const { RETRY, DEADLINES } = exchange.edge.config;
  const looksUp = routeClass === "task" && (exchange.request.method === "GET" || exchange.request.method === "HEAD");
  if (routeClass === "query" || routeClass === "usage" || looksUp) return RETRY.attemptTimeout * msPerS;
  if (routeClass === "token") return Math.max(RETRY.attemptTimeout, tokenShare * DEADLINES.token) * msPerS;
  return Infinity;
}

function forwardedBy({ exchange, upstream }: Journey): ForwardedBy | null {
  if (upstream.shared) return null;
  return { clientAddress: exchange.client?.address ?? null, host: exchange.host, protocol: exchange.protocol };
}

/**
 * While an attempt runs: its lease is renewed, and its client watched. A cheap request whose client leaves is cancelled
 * at the backend; a paid one is followed as long as the runtime allows, since it finishes and is charged anyway.
 */
function watchOver(
  journey: Journey,
  account: Account,
  backend: PickedBackend,
  cutoff: Cutoff,
  startedMs: number,
  leaseId: string | null,
): () => void {
  const { exchange, route, routeClass, upstream } = journey;
  let abandonTimer: ReturnType<typeof setTimeout> | null = null;
  const letGo =
    leaseId === null
      ? null
      : keepLease(exchange.edge, { leaseId, backend: backend.name, routeClass }, () => cutoff.end("backend_lost"));
  const abandon = (): void => {
    // A renewal would bring back a lease that the registry has given up.
    letGo?.();
    account.abandoned(backend.name, Date.now() - startedMs);
  };
  const onLeave = (): void => {
    exchange.outcome = "aborted";
    if (!route.paid) return cutoff.end("client_left");
    abandonTimer = setTimeout(abandon, followMs);
  };
  const { signal } = exchange.request;
  if (!upstream.shared) signal.addEventListener("abort", onLeave, { once: true });
  const believe = routeClass === "token" ? doubt(exchange.edge, backend, cutoff) : null;
  return () => {
    believe?.();
    signal.removeEventListener("abort", onLeave);
    if (abandonTimer !== null) clearTimeout(abandonTimer);
    letGo?.();
  };
}

/**
 * What may take longer than another cheap request is waited for beyond that one's time only at a server that lives: it is pinged
 * early enough to be known for silent by then. Ended by the returned function.
 */
function doubt(edge: Edge, backend: PickedBackend, cutoff: Cutoff): () => void {
  let isOver = false;
  const ask = async (): Promise<void> => {
    if (!(await isAlive(edge, backend)) && !isOver) cutoff.end("attempt_timeout");
  };
  const { RETRY, WATCH } = edge.config;
  const timer = setTimeout(() => void ask(), Math.max(0, RETRY.attemptTimeout - WATCH.pingTimeout) * msPerS);
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

// ── What follows ────────────────────────────────────────────────────────────────────────────────

/** Those that the next attempt may go to, best first; none: what has come stands. */
async function nextBackends(
  { exchange, route, routeClass, outgoing, candidates }: Journey,
  outcome: Outcome,
  current: PickedBackend,
  tried: ReadonlySet<string>,
  made: number,
  deadlineMs: number,
): Promise<readonly PickedBackend[]> {
  const { RETRY } = exchange.edge.config;
  if (!outgoing.repeatable || made >= attemptsOf(exchange, RETRY.maxAttempts) || Date.now() >= deadlineMs) return [];
  const again = anotherAttempt(outcome, { routeClass, paid: route.paid, generations: RETRY.generations });
  if (again === "never") return [];
  const untried = candidates.filter((candidate) => !tried.has(candidate.name));
  const next = again === "same" ? [current] : again === "elsewhere" ? untried : [...untried, current];
  return next.length > 0 && (await mayRetry(exchange)) ? next : [];
}

/** An SDK that is already trying again has attempts of its own: ours and its would multiply. */
function attemptsOf(exchange: Exchange, most: number): number {
  const already = Number(exchange.request.headers.get("x-stainless-retry-count") ?? 0);
  return already > 0 ? Math.max(1, most - already) : most;
}

/** Within the fleet-wide budget. */
export async function mayRetry({ edge, region, waitUntil }: Exchange): Promise<boolean> {
  if (edge.table.retryAllowance < 1) await edge.freshen(region, waitUntil, Date.now());
  if (edge.table.takeRetry(Date.now(), Math.random())) return true;
  edge.findings.counters.retriesDenied += 1;
  return false;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function arrived(journey: Journey, account: Account, backend: PickedBackend, tripped: Tripped): Forwarded {
  const { result, cutoff, release } = tripped;
  const { exchange, route } = journey;
  const { answer, outcome } = result;
  exchange.outcome = exchange.outcome === "aborted" ? "aborted" : outcome.kind;
  exchange.reason = outcome.reason;
  const kind = answer?.body.kind ?? null;
  const streams = (kind === "events" || kind === "continued") && outcome.kind === "success";
  // Without what was read of it, which is not to be held until the end.
  const told = kind === "continued" ? { ...result, answer: null } : result;
  const conclude = concluding(account, backend.name, told, release);
  if (!streams) conclude(outcome, answer?.body.kind === "bytes" ? answer.body.bytes.byteLength : 0);
  const failure = answerFailure(journey, result, backend);
  if (failure !== null) exchange.waitUntil(discard(answer));
  return {
    answer: failure === null ? answer : null,
    failure,
    outcome,
    shouldRetry: answer === null ? null : shouldRetryHeader(outcome, answer.status, route.paid),
    backend: backend.name,
    conclude: streams ? conclude : null,
    cutoff,
  };
}

function concluding(account: Account, backend: string, told: AttemptResult, release: () => void) {
  return (outcome: Outcome, bytes: number): void => {
    release();
    account.closed(backend, { ...told, outcome }, bytes);
  };
}

function answerFailure({ exchange, route }: Journey, result: AttemptResult, backend: PickedBackend): Failure | null {
  if (result.failure === null) return null;
  const after = exchange.attempts === 1 ? "" : ` after ${exchange.attempts} attempts`;
  const charge = route.paid ? " It may have been executed and charged; sending it again may be charged again." : "";
  return {
    code: result.failure,
    message: `${failureWords[result.failure] ?? "The backend failed"} (${backend.name}, ${result.outcome.reason}${after}).${charge}`,
  };
}

const failureWords: Readonly<Partial<Record<string, string>>> = {
  backend_unreachable: "The backend did not answer",
  body_unreadable: "The upload ended before its end",
  request_timeout: "The upload fell silent before its end",
  backend_reset: "The connection to the backend was refused or broke before it answered",
  backend_invalid_answer: "The backend's answer has a status that cannot be passed on",
  backend_answer_cut: "The backend's answer broke off before its end",
  deadline_exceeded: "The backend did not answer in time",
  edge_read_timeout: "The connection to the backend was given up for its long silence",
  backend_lost: "The backend has given no sign of life for too long",
};
