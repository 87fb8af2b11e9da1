/**
 * How many calls to one client's limiter are under way. A burst of thousands is let through in turns, so that the first
 * "blocked" answers all that have not been asked yet, and so that a queue of one's own making does not look like a slow limiter.
 */
import { BoundedMap } from "../shared/bounded-map.ts";

/** Below the default limit, and far above what one client's programs do at once. */
const callsAtOnce = 64;
const clientsKept = 10_000;

interface Open {
  count: number;
  /** When the latest call began or ended. */
  lastMs: number;
}

export class OpenCalls {
  readonly #open = new BoundedMap<string, Open>(clientsKept);
  readonly #patienceMs: number;

  /** `patienceMs`: no call takes longer; one that seems to was torn down with its request and will never end. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  isFull(clientKey: string, nowMs: number): boolean {
    const open = this.#open.get(clientKey);
    return open !== undefined && open.count >= callsAtOnce && Math.abs(nowMs - open.lastMs) <= this.#patienceMs;
  }

  begin(clientKey: string, nowMs: number): void {
    const open = this.#open.get(clientKey);
    if (open === undefined || Math.abs(nowMs - open.lastMs) > this.#patienceMs) {
      this.#open.set(clientKey, { count: 1, lastMs: nowMs });
    } else {
      open.count += 1;
      open.lastMs = nowMs;
    }
  }

  end(clientKey: string, nowMs: number): void {
    const open = this.#open.get(clientKey);
    if (open === undefined) return;
    open.count -= 1;
    open.lastMs = nowMs;
    if (open.count <= 0) this.#open.delete(clientKey);
  }
}
