/**
 * Routes that obey their origin: RFC 9111. A target's answers live in one slot (the first selection) and in variants beside it; what selects
 * is what `Vary` names and the negotiating fields in any case, so that no field a client may set freely changes another client's answer.
 */
import type { CachedAnswer, Selection, Slot } from "../../shared/cache/cached-answer.ts";
import { keepMs } from "../../shared/cache/cached-answer.ts";
import type { ForwardReason } from "../../shared/cache/cache-status.ts";
import { freshenedHeaders } from "../../shared/cache/conditional.ts";
import type { RequestTerms } from "../../shared/cache/directives.ts";
import { readRequestTerms } from "../../shared/cache/directives.ts";
import { negotiating, selectingValue, unaccounted } from "../../shared/cache/request-fields.ts";
import { mayStandIn, reuse } from "../../shared/cache/reuse.ts";
import { storingByOrigin } from "../../shared/cache/storing.ts";
import type { CacheContext, CacheRequest, CacheResult, Resource } from "../cache.ts";
import type { Fetched, Origin } from "./fetching.ts";
import { fetchAnswer } from "./fetching.ts";
import { fixedKey, slotKey, variantKey } from "./key.ts";
import { fixedStoreKey } from "./fixed.ts";
import type { Arrival, Landing } from "./flight.ts";
import { landedWith, passedArrival, refreshBehind } from "./flight.ts";
import { asHeaders, keptHeaders, sharedRequestHeaders, withPassingFields } from "./message.ts";
import { keyWeight } from "./store.ts";
import { arrived, hit, joined, onlyIfCached, stale } from "./serving.ts";

/** Answers that were nobody else's are taken to stay so for this long. */
const apartMs = 10_000;

interface Question {
  readonly request: CacheRequest;
  readonly context: CacheContext;
  readonly origin: Origin;
  readonly terms: RequestTerms;
  readonly credentials: boolean;
  /** What goes upstream for an answer that may be kept. */
  readonly headers: Headers;
  readonly slotKey: string;
  /** Of the changes before anything was looked up. */
  readonly changesMark: number;
}

interface Held {
  readonly slot: Slot | null;
  /** The answer that this request's fields select; null: none, or not for this client. */
  readonly answer: CachedAnswer | null;
}

export async function throughOriginRules(
  request: CacheRequest,
  context: CacheContext,
  origin: Origin,
): Promise<CacheResult> {
  const { headers } = request;
  const changesMark = context.cache.changes.mark;
  const question: Question = {
    request,
    context,
    origin,
    terms: readRequestTerms(headers.get("cache-control"), headers.get("pragma")),
    credentials: headers.has("authorization") || headers.has("cookie"),
    headers: sharedRequestHeaders(headers, "by-origin"),
    slotKey: await slotKey(request.generation, request.host, request.target),
    changesMark,
  };
  const held = await lookUp(question);
  const nowMs = context.nowMs();
  // RFC 9110 §13.1.1, §13.1.4: these are about the origin's state, which no cache knows.
  const aboutOrigin = headers.has("if-match") || headers.has("if-unmodified-since");
  if (held.answer !== null && !aboutOrigin) {
    switch (reuse(held.answer, question.terms, question.credentials, nowMs)) {
      case "fresh":
        return hit(request, held.answer, nowMs);
      case "stale":
        return stale(request, held.answer, nowMs, "max-stale");
      case "refresh":
        refreshBehind(request, context, flightKey(question), () => lead(question, held));
        return stale(request, held.answer, nowMs, "stale-while-revalidate");
      default:
    }
  }
  if (question.terms.onlyIfCached) return onlyIfCached();
  if (aboutOrigin || request.method === "HEAD" || headers.has("range")) return passed(question, held);
  return together(question, held);
}

// ── Looking up ───────────────────────────────────────────────────────────────────────────────────

async function lookUp(question: Question): Promise<Held> {
  const { context, headers } = question;
  const slot = await context.cache.store.read(question.slotKey).catch(() => null);
  if (slot === null) return { slot, answer: null };
  const selection = selectionOf(headers, slot.names);
  if (sameSelection(selection, slot.selection)) return { slot, answer: usable(question, slot.answer) };
  const key = await variantKey(question.slotKey, slot.epoch, slot.names, selection);
  const variant = await context.cache.store.read(key).catch(() => null);
  return { slot, answer: variant === null ? null : usable(question, variant.answer) };
}

/** Not even to be confirmed for a client that it isn't meant for (RFC 9111 §3.5). */
function usable(question: Question, answer: CachedAnswer): CachedAnswer | null {
  return question.credentials && !answer.forCredentials ? null : answer;
}

function selectionOf(headers: Headers, names: readonly string[]): Selection {
  return names.map((name) => selectingValue(name, headers.get(name)));
}

function sameSelection(a: Selection, b: Selection): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

// ── Asking the origin ────────────────────────────────────────────────────────────────────────────

async function together(question: Question, held: Held): Promise<CacheResult> {
  const { request, context, terms } = question;
  const { flights, apart } = context.cache;
  const startMs = context.nowMs();
  const key = flightKey(question);
  const forward = forwardReason(question, held);
  // Who wants something newer than now can't take what was asked for before; who wants nothing stored leads nobody.
  const joins = !terms.noCache && terms.maxAgeS !== 0 && !terms.noStore && (apart.peek(key) ?? 0) <= startMs;
  if (!joins) return arrived(request, await askAlone(question, held), forward, context.nowMs());

  const current = flights.current(key, startMs);
  if (current !== null) {
    const landing = await flights.wait(current, startMs);
    const nowMs = context.nowMs();
    if (landing !== null && landing.kind !== "apart" && isFor(question, landing, nowMs))
      return joined(request, landing, nowMs);
    if (flights.current(key, nowMs) !== null)
      return arrived(request, await askAlone(question, held), forward, context.nowMs());
  }
  return arrived(request, await lead(question, held), forward, context.nowMs());
}

/** RFC 9111 §4: a response that is just arriving serves others only if it might as well have come from the store. */
function isFor(question: Question, landing: Exclude<Landing, { kind: "apart" }>, nowMs: number): boolean {
  if (landing.kind === "failed") return false;
  if (!sameSelection(selectionOf(question.headers, landing.names), landing.selection)) return false;
  if (landing.how === "stand-in") return mayStandIn(landing.answer, question.terms, question.credentials, nowMs);
  return reuse(landing.answer, question.terms, question.credentials, nowMs) === "fresh";
}

async function askAlone(question: Question, held: Held): Promise<Arrival> {
  const arrival = await ask(question, held);
  if (arrival.storing !== null) question.context.waitUntil(arrival.storing);
  return arrival;
}

function lead(question: Question, held: Held): Promise<Arrival> {
  const { request, context } = question;
  return context.cache.flights.begin(
    flightKey(question),
    request.target,
    context.nowMs(),
    (work) => context.waitUntil(work),
    () => ask(question, held),
  );
}

/** Requests join only where they would send the very same. Never leaves the isolate's memory: it holds what the client's fields hold. */
function flightKey(question: Question): string {
  return `${question.slotKey}\n${JSON.stringify([...question.headers])}`;
}

function forwardReason(question: Question, held: Held): ForwardReason {
  if (held.answer === null) return held.slot === null ? "uri-miss" : "vary-miss";
  const { terms, context } = question;
  const asked = terms.noCache || terms.maxAgeS !== null || terms.minFreshS !== null;
  return asked &&
    reuse(held.answer, { ...terms, noCache: false, maxAgeS: null, minFreshS: null }, false, context.nowMs()) === "fresh"
    ? "request"
    : "stale";
}

async function ask(question: Question, held: Held): Promise<Arrival> {
  const { context, terms, credentials, headers, origin } = question;
  const standIn = held.answer !== null && mayStandIn(held.answer, terms, credentials, context.nowMs());
  const fetched = await fetchAnswer(
    {
      headers,
      held: held.answer,
      standIn,
      verdict: (facts) => storingByOrigin({ ...facts, method: "GET", terms, credentials }),
      nowMs: () => context.nowMs(),
      bodyPatienceMs: context.cache.bodyPatienceMs,
    },
    origin,
  );
  if (fetched.kind === "failed") {
    const { response, error } = fetched;
    const forwardStatus = response?.status ?? null;
    if (held.answer === null || !standIn) return { ...landedWith({ kind: "apart" }), response, error, forwardStatus };
    await response?.body?.cancel();
    const names = held.slot?.names ?? negotiating;
    const landing: Landing = {
      kind: "answer",
      answer: held.answer,
      how: "stand-in",
      names,
      selection: selectionOf(headers, names),
    };
    return { ...landedWith(landing), forwardStatus };
  }
  if (fetched.kind === "apart") {
    const nothingKept = passedArrival(fetched.response);
    // That one client wanted nothing kept says nothing about the resource.
    if (terms.noStore) return nothingKept;
    keepApart(question);
    // What the origin says now has replaced what was stored, even if it may not be stored itself (RFC 9111 §4.3.3).
    return { ...nothingKept, storing: held.answer !== null && !fetched.refused ? forget(question) : null };
  }
  return keptArrival(question, held, fetched);
}

async function keptArrival(
  question: Question,
  held: Held,
  fetched: Extract<Fetched, { kind: "kept" }>,
): Promise<Arrival> {
  const { headers, terms } = question;
  const { answer, names, forwardStatus } = fetched;
  const selection = selectionOf(headers, names);
  const accounted = unaccounted(headers.keys(), names).length === 0;
  const stored = fetched.storable && accounted && !hasChanged(question);
  const landing: Landing = accounted ? { kind: "answer", answer, how: "fetched", names, selection } : { kind: "apart" };
  if (!accounted) keepApart(question);
  let storing: Promise<unknown> | null = null;
  if (stored) storing = store(question, held.slot, { names, selection, answer });
  // That this client wanted nothing kept says nothing about what is stored.
  else if (held.answer !== null && accounted && !terms.noStore) storing = forget(question);
  const own = accounted ? null : ownResponse(answer);
  return { landing, response: own, error: null, forwardStatus, stored, storing };
}

function keepApart(question: Question): void {
  const { context } = question;
  const key = flightKey(question);
  context.cache.apart.set(key, context.nowMs() + apartMs, keyWeight(key));
}

/** For its maker only: as the origin sent it. */
function ownResponse(answer: CachedAnswer): Response {
  const body = answer.status === 204 ? null : answer.body;
  return new Response(body, { status: answer.status, headers: asHeaders(answer.headers) });
}

// ── Storing ──────────────────────────────────────────────────────────────────────────────────────

/** The slot's own answer stays where it is; another selection's goes beside it, so that no answer is kept twice. */
async function store(question: Question, slot: Slot | null, made: Omit<Slot, "epoch">): Promise<void> {
  const { cache } = question.context;
  const sameNames = slot !== null && sameSelection(slot.names, made.names);
  const beside = slot !== null && sameNames && !sameSelection(slot.selection, made.selection);
  const whole: Slot = { ...made, epoch: slot?.epoch ?? crypto.randomUUID() };
  const key = beside ? await variantKey(question.slotKey, whole.epoch, made.names, made.selection) : question.slotKey;
  await cache.store.write(key, whole, keepMs(made.answer)).catch(() => undefined);
  // What was being written when the change came may have come after what the change removed.
  if (hasChanged(question)) await forget(question);
}

/** Something has been written to the resource since this was asked: what is brought may be from before. */
function hasChanged({ context, request, changesMark }: Question): boolean {
  return context.cache.changes.since(changesMark, request.target);
}

async function forget(question: Question): Promise<void> {
  await question.context.cache.store.remove(question.slotKey).catch(() => undefined);
}

// ── Passing ──────────────────────────────────────────────────────────────────────────────────────

/** HEAD, parts, and what only the origin can judge: nothing of the answer is kept. */
async function passed(question: Question, held: Held): Promise<CacheResult> {
  const { request, context, origin, terms, credentials } = question;
  const nowMs = context.nowMs();
  const standIn = held.answer !== null && mayStandIn(held.answer, terms, credentials, nowMs);
  const head =
    request.method === "HEAD" && !request.headers.has("if-match") && !request.headers.has("if-unmodified-since");
  // What may change a stored answer is asked for as one that may be stored.
  const { response, verdict } = await origin(head ? question.headers : request.headers, { shared: head, standIn });
  if (held.answer !== null && standIn && verdict === "failed") {
    await response.body?.cancel();
    return stale(request, held.answer, nowMs, "stale-if-error");
  }
  const { slot } = held;
  const speaksOfIt = head && slot !== null && unaccounted(question.headers.keys(), slot.names).length === 0;
  if (speaksOfIt && response.status === 200 && verdict === "ok" && held.answer !== null) {
    context.waitUntil(afterHead(question, slot, held.answer, response.headers));
  }
  const forward = request.method === "HEAD" ? forwardReason(question, held) : "bypass";
  const result = arrived(request, passedArrival(response), forward, nowMs);
  return forward === "bypass" ? { ...result, source: "bypass" } : result;
}

/** RFC 9111 §4.3.5: a HEAD that speaks of the stored GET answer freshens it, one that speaks of another ends it. */
async function afterHead(question: Question, slot: Slot, answer: CachedAnswer, head: Headers): Promise<void> {
  const { context, terms, credentials, headers } = question;
  if (terms.noStore) return;
  const length = head.get("content-length");
  const same =
    (head.get("etag") ?? answer.etag) === answer.etag &&
    (head.get("last-modified") ?? answer.lastModified) === answer.lastModified &&
    (length === null || head.has("content-encoding") || Number(length) === answer.body.byteLength);
  if (!same) return forget(question);
  const nowMs = context.nowMs();
  const fresh = freshenedHeaders(answer, keptHeaders(head, [], nowMs));
  const facts = { status: answer.status, fields: withPassingFields(fresh, head), requestMs: nowMs, responseMs: nowMs };
  const verdict = storingByOrigin({ ...facts, method: "GET", terms, credentials });
  if (!verdict.store) return forget(question);
  if (hasChanged(question)) return;
  const made = { ...answer, ...verdict.retention, headers: fresh, receivedMs: nowMs };
  return store(question, slot, { names: slot.names, selection: selectionOf(headers, slot.names), answer: made });
}

// ── Invalidating ─────────────────────────────────────────────────────────────────────────────────

/** RFC 9111 §4.4: the target, and what `Location` and `Content-Location` name at the same origin. */
export async function invalidateTargets(
  request: CacheRequest,
  response: Response,
  context: CacheContext,
): Promise<void> {
  const resources = new Map<string, Resource>([[request.target, request]]);
  for (const name of ["location", "content-location"]) {
    const named = resourceNamed(response.headers.get(name), request);
    if (named !== null) resources.set(named.target, named);
  }
  await Promise.all([...resources.values()].map((resource) => invalidate(resource, request.host, context)));
}

async function invalidate({ target, generation }: Resource, host: string, { cache }: CacheContext): Promise<void> {
  cache.changes.note(target);
  cache.flights.outdate(target);
  cache.memory.delete(fixedKey(generation, target));
  const keys = await Promise.all([slotKey(generation, host, target), fixedStoreKey(generation, target)]);
  await Promise.all(keys.map((key) => cache.store.remove(key).catch(() => undefined)));
}

/** null: somewhere else, or no URL. */
function resourceNamed(reference: string | null, request: CacheRequest): Resource | null {
  if (reference === null) return null;
  const base = `http://${request.host}${request.target}`;
  if (!URL.canParse(reference, base)) return null;
  const url = new URL(reference, base);
  return /^https?:$/.test(url.protocol) ? request.resourceAt(url) : null;
}
