/**
 * How many calls to one client's limiter are under way. A burst of thousands is let through in turns, so that the first
 * "blocked" answers all that have not been asked yet, and so that a queue of one's own making does not look like a slow limiter.
 */
import { BoundedMap } from "../shared/bounded-map.ts";

/** Below the default limit, and far above what one client's programs do at once. */
const callsAtOnce = 64;
const clientsKept = 10_000;

export class OpenCalls {
  /** When each client's open calls began, the oldest first. */
  readonly #open = new BoundedMap<string, number[]>(clientsKept);
  readonly #patienceMs: number;

  /** `patienceMs`: no call takes longer; one that seems to was torn down with its request and will never end. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  isFull(clientKey: string, nowMs: number): boolean {
    return this.count(clientKey, nowMs) >= callsAtOnce;
  }

  count(clientKey: string, nowMs: number): number {
    const open = this.#open.get(clientKey);
    if (open === undefined) return 0;
    // Each by its own beginning: a client that goes on asking must not keep the lost ones alive.
    while (open[0] !== undefined && Math.abs(nowMs - open[0]) > this.#patienceMs) open.shift();
    if (open.length === 0) this.#open.delete(clientKey);
    return open.length;
  }

  begin(clientKey: string, nowMs: number): void {
    const open = this.#open.get(clientKey);
    if (open === undefined) this.#open.set(clientKey, [nowMs]);
    else open.push(nowMs);
  }

  end(clientKey: string, beganMs: number): void {
    const open = this.#open.get(clientKey);
    const index = open?.indexOf(beganMs) ?? -1;
    if (open === undefined || index < 0) return;
    if (open.length === 1) this.#open.delete(clientKey);
    else open.splice(index, 1);
  }
}
