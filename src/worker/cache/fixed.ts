/**
 * Routes with a lifetime of their own: a 200 is kept for so long, whatever the backend says and whoever asks, because the route is declared
 * to be the same for everybody. A hit looks into a map and builds an answer; it makes no digest and no I/O.
 */
import type { CachedAnswer, HeaderList } from "../../shared/cache/cached-answer.ts";
import { freshForMs, keepMs } from "../../shared/cache/cached-answer.ts";
import { noTerms, parseCacheControl } from "../../shared/cache/directives.ts";
import { mayStandIn, reuse } from "../../shared/cache/reuse.ts";
import { storingFixed } from "../../shared/cache/storing.ts";
import type { CacheContext, CacheRequest, CacheResult } from "../cache.ts";
import type { Origin } from "./fetching.ts";
import { fetchAnswer } from "./fetching.ts";
import type { Arrival, Landing } from "./flight.ts";
import { landedWith, passedArrival, refreshBehind } from "./flight.ts";
import { digest, fixedKey } from "./key.ts";
import { readBody, sharedRequestHeaders } from "./message.ts";
import { arrived, hit, joined, onlyIfCached, stale } from "./serving.ts";
import { keyWeight, weightOf } from "./store.ts";

/** A failure younger than this is believed: what is stale is served at once and the origin asked behind it. */
const failureMemoryMs = 60_000;
/** An origin that failed is asked behind stale answers at most so often per key and isolate. */
const recheckMs = 2_000;
/** An error page beyond this is not handed to those who waited. */
const failureBytes = 65_536;

/** What a question at a fixed route consists of. */
interface Question {
  readonly key: string;
  readonly lifetimeS: number;
  readonly request: CacheRequest;
  readonly context: CacheContext;
  readonly origin: Origin;
  /** Of the changes before anything was looked up. */
  readonly changesMark: number;
}

export async function throughFixedLifetime(
  request: CacheRequest,
  lifetimeS: number,
  context: CacheContext,
  origin: Origin,
): Promise<CacheResult> {
  const key = fixedKey(request.generation, request.target);
  const nowMs = context.nowMs();
  const held = context.cache.memory.get(key) ?? null;
  const verdict = held === null ? "validate" : reuse(held, noTerms, true, nowMs);
  if (held !== null && verdict === "fresh") return hit(request, held, nowMs);

  const changesMark = context.cache.changes.mark;
  const question: Question = { key, lifetimeS, request, context, origin, changesMark };
  if (held !== null) {
    const failedMs = context.cache.failures.peek(key) ?? -Infinity;
    const believedDead = nowMs - failedMs < failureMemoryMs && mayStandIn(held, noTerms, true, nowMs);
    if (verdict === "refresh" || believedDead) {
      if (nowMs - failedMs >= recheckMs) refreshBehind(request, context, key, () => lead(question, held));
      return stale(request, held, nowMs, believedDead ? "stale-if-error" : "stale-while-revalidate");
    }
  }
  if (parseCacheControl(request.headers.get("cache-control")).has("only-if-cached")) return onlyIfCached();
  return request.method === "HEAD" ? headOnly(question, held, nowMs) : together(question, held);
}

/** The answer to a HEAD has no body to keep, so it is passed. */
async function headOnly({ request, origin }: Question, held: CachedAnswer | null, nowMs: number): Promise<CacheResult> {
  const standIn = held !== null && mayStandIn(held, noTerms, true, nowMs);
  const { response, verdict } = await origin(request.headers, { shared: false, standIn });
  if (verdict === "failed" && held !== null && standIn) return stale(request, held, nowMs, "stale-if-error");
  return arrived(request, passedArrival(response), "uri-miss", nowMs);
}

/** One request upstream for all who ask now. */
async function together(question: Question, held: CachedAnswer | null): Promise<CacheResult> {
  const { key, request, context } = question;
  const { flights } = context.cache;
  const startMs = context.nowMs();
  const current = flights.current(key, startMs);
  let alone = false;
  if (current !== null) {
    const landing = await flights.wait(current, startMs);
    if (landing !== null && landing.kind !== "apart") return joined(request, landing, context.nowMs());
    // Who waited for nothing goes by itself; the first of them leads whoever comes now.
    alone = flights.current(key, context.nowMs()) !== null;
  }
  const arrival = alone ? await ask(question, held, "alone") : await lead(question, held);
  if (alone && arrival.storing !== null) context.waitUntil(arrival.storing);
  return arrived(request, arrival, held === null ? "uri-miss" : "stale", context.nowMs());
}

function lead(question: Question, held: CachedAnswer | null): Promise<Arrival> {
  const { key, request, context } = question;
  return context.cache.flights.begin(
    key,
    request.target,
    context.nowMs(),
    (work) => context.waitUntil(work),
    async () => {
      const known = await fromStore(question);
      if (known === null || (held !== null && held.receivedMs >= known.receivedMs))
        return ask(question, held, "leading");
      if (freshForMs(known, context.nowMs()) <= 0) return ask(question, known, "leading");
      remember(question, known);
      return landedWith({ kind: "answer", answer: known, how: "known", names: [], selection: [] });
    },
  );
}

async function ask(question: Question, held: CachedAnswer | null, as: "leading" | "alone"): Promise<Arrival> {
  const { key, lifetimeS, request, context, origin } = question;
  const standIn = held !== null && mayStandIn(held, noTerms, true, context.nowMs());
  const headers = sharedRequestHeaders(request.headers, "fixed");
  const verdict = (facts: Parameters<typeof storingFixed>[0]) => storingFixed(facts, lifetimeS, context.settings);
  const { bodyPatienceMs } = context.cache;
  const nowMs = () => context.nowMs();
  const fetched = await fetchAnswer({ headers, held, standIn, verdict, nowMs, bodyPatienceMs }, origin);

  if (fetched.kind === "failed") {
    context.cache.failures.set(key, context.nowMs(), keyWeight(key));
    if (held === null || !standIn) return failedWith(fetched.response, fetched.error, bodyPatienceMs);
    await fetched.response?.body?.cancel();
    if (as === "leading") remember(question, held);
    const landing: Landing = { kind: "answer", answer: held, how: "stand-in", names: [], selection: [] };
    return { ...landedWith(landing), forwardStatus: fetched.response?.status ?? null };
  }
  context.cache.failures.delete(key);
  if (fetched.kind === "apart") return passedArrival(fetched.response);
  const storing = remember(question, fetched.answer) ? toStore(question, fetched.answer) : null;
  return {
    ...landedWith({ kind: "answer", answer: fetched.answer, how: "fetched", names: [], selection: [] }),
    forwardStatus: fetched.forwardStatus,
    stored: storing !== null,
    storing,
  };
}

/** On a shared route a failure is everybody's, so those who waited get it too instead of asking a broken backend one by one. */
async function failedWith(response: Response | null, error: unknown, withinMs: number): Promise<Arrival> {
  if (response === null) return { ...landedWith({ kind: "apart" }), error };
  const forwardStatus = response.status;
  const body = await readBody(response, { bytes: failureBytes, withinMs }).catch(() => null);
  if (body === null) return { ...landedWith({ kind: "apart" }), error: new Error("the failure's body was cut short") };
  if (body.kind === "passing") return passedArrival(new Response(body.stream, response));
  const own = new Set(["set-cookie", "content-encoding", "content-length"]);
  const headers: HeaderList = [...response.headers].filter(([name]) => !own.has(name));
  return { ...landedWith({ kind: "failed", status: response.status, headers, body: body.bytes }), forwardStatus };
}

function hasChanged({ context, request, changesMark }: Question): boolean {
  return context.cache.changes.since(changesMark, request.target);
}

/** False where the resource was changed meanwhile. */
function remember(question: Question, answer: CachedAnswer): boolean {
  if (hasChanged(question)) return false;
  const { key, context } = question;
  context.cache.memory.set(key, answer, weightOf(answer) + keyWeight(key));
  return true;
}

// The store is asked only on a miss, and never waited for on the way out.

export function fixedStoreKey(generation: string, target: string): Promise<string> {
  return digest("fixed", generation, target);
}

async function fromStore({ request, context }: Question): Promise<CachedAnswer | null> {
  const { store } = context.cache;
  if (!store.shared) return null;
  const slot = await store.read(await fixedStoreKey(request.generation, request.target)).catch(() => null);
  return slot?.answer ?? null;
}

async function toStore(question: Question, answer: CachedAnswer): Promise<void> {
  const { request, context } = question;
  const { store } = context.cache;
  if (!store.shared) return;
  const slot = { epoch: "", names: [], selection: [], answer };
  const key = await fixedStoreKey(request.generation, request.target);
  await store.write(key, slot, keepMs(answer)).catch(() => undefined);
  // What was being written when the change came may have come after what the change removed.
  if (hasChanged(question)) await store.remove(key).catch(() => undefined);
}
