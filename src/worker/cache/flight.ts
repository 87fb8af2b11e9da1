/**
 * One upstream request for many that want the same at once, within an isolate. What it finds is handed over as plain values, since a
 * `Response` belongs to the request that fetched it; the work runs in its maker's `waitUntil`, since a promise whose maker was torn
 * down never settles; and nobody waits beyond the deadline, whatever has become of the maker.
 */
import type { CachedAnswer, HeaderList, Selection } from "../../shared/cache/cached-answer.ts";
import type { CacheContext, CacheRequest } from "../cache.ts";

/** What others may have of it. */
export type Landing =
  | {
      readonly kind: "answer";
      readonly answer: CachedAnswer;
      /**
       * - `known`: another isolate had stored it.
       * - `fetched`: new, or confirmed just now.
       * - `stand-in`: stale, since the origin failed.
       */
      readonly how: "known" | "fetched" | "stand-in";
      /** The request fields that selected it, and their values. */
      readonly names: readonly string[];
      readonly selection: Selection;
    }
  /** The origin failed, and would fail alike for everybody who asks this. */
  | { readonly kind: "failed"; readonly status: number; readonly headers: HeaderList; readonly body: Uint8Array }
  /** Nothing that another request may have: each for itself. */
  | { readonly kind: "apart" };

/** What the maker has of it. */
export interface Arrival {
  readonly landing: Landing;
  /** Where `landing` is `apart`: the maker's own answer, or what was thrown. */
  readonly response: Response | null;
  readonly error: unknown;
  /** What the origin answered with; null where it was not asked, or didn't answer. */
  readonly forwardStatus: number | null;
  readonly stored: boolean;
  /** The flight is over for new joiners when this is: what was found is then in the store. */
  readonly storing: Promise<unknown> | null;
}

/** Where nothing else is known. */
export function landedWith(landing: Landing): Arrival {
  return { landing, response: null, error: null, forwardStatus: null, stored: false, storing: null };
}

/** Of an answer that is only its maker's. */
export function passedArrival(response: Response): Arrival {
  return { ...landedWith({ kind: "apart" }), response, forwardStatus: response.status };
}

/** Leads a flight for which nobody waits, unless there is one. */
export function refreshBehind(
  request: CacheRequest,
  context: CacheContext,
  key: string,
  lead: () => Promise<Arrival>,
): void {
  // Upstream a HEAD stays a HEAD, and brings no body to keep.
  if (request.method !== "GET" || context.cache.flights.current(key, context.nowMs()) !== null) return;
  // What nobody will read must not hold a connection open.
  const done = lead().then((arrival) => arrival.response?.body?.cancel());
  context.waitUntil(done.catch(() => undefined));
}

export interface Flight {
  readonly target: string;
  readonly startedMs: number;
  /** null: under way. */
  landing: Landing | null;
  /** Of those who still wait. Who gives up is no longer in it: a promise of a request that has ended must not be settled. */
  readonly waiting: Set<(landing: Landing) => void>;
}

export class Flights {
  readonly #flights = new Map<string, Flight>();
  readonly #deadlineMs: number;

  /** @param deadlineMs how long a flight may be waited for. */
  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
  }

  get size(): number {
    return this.#flights.size;
  }

  /** The one under way, unless it is past its deadline. */
  current(key: string, nowMs: number): Flight | null {
    const flight = this.#flights.get(key);
    return flight !== undefined && nowMs - flight.startedMs < this.#deadlineMs ? flight : null;
  }

  /** Starts one, in the place of one that is late. The work goes on when its maker's client has left. */
  begin(
    key: string,
    target: string,
    nowMs: number,
    waitUntil: (work: Promise<unknown>) => void,
    work: () => Promise<Arrival>,
  ): Promise<Arrival> {
    const flight: Flight = { target, startedMs: nowMs, landing: null, waiting: new Set() };
    this.#flights.set(key, flight);
    const arrival = work();
    const ended = (async () => {
      try {
        const made = await arrival;
        land(flight, made.landing);
        await made.storing;
      } catch {
        land(flight, { kind: "apart" });
      } finally {
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
      }
    })();
    waitUntil(ended);
    return arrival;
  }

  /** Nobody joins those under way for a target any more: it has changed. */
  outdate(target: string): void {
    for (const [key, flight] of this.#flights) if (flight.target === target) this.#flights.delete(key);
  }

  /** null: the deadline came first. */
  async wait(flight: Flight, nowMs: number): Promise<Landing | null> {
    const leftMs = Math.max(0, flight.startedMs + this.#deadlineMs - nowMs);
    if (flight.landing !== null) return flight.landing;
    const { promise, resolve } = Promise.withResolvers<Landing | null>();
    const timer = setTimeout(() => resolve(null), leftMs);
    flight.waiting.add(resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      flight.waiting.delete(resolve);
    }
  }
}

/** The first word stands. */
function land(flight: Flight, landing: Landing): void {
  if (flight.landing !== null) return;
  flight.landing = landing;
  for (const tell of flight.waiting) tell(landing);
  flight.waiting.clear();
}
