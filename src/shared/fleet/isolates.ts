/** The isolates of the edge that report, and the cheap requests each has in flight. */

/** An isolate that was silent for so long is gone: it reports every second while it has traffic. */
export const isolateSilenceMs = 10_000;

/** More isolates than this are not kept apart; the oldest is forgotten. */
const maxIsolates = 20_000;

interface Isolate {
  seenMs: number;
  inFlight: Readonly<Record<string, number>>;
}

export class Isolates {
  readonly #byName = new Map<string, Isolate>();
  readonly #inFlight = new Map<string, number>();

  /** Whether any number in flight has changed. */
  report(name: string, inFlight: Readonly<Record<string, number>>, nowMs: number): boolean {
    const hadAny = this.#remove(name);
    for (const [backend, count] of Object.entries(inFlight)) this.#add(backend, count);
    this.#byName.set(name, { seenMs: nowMs, inFlight });
    return this.forgetSilent(nowMs) || hadAny || Object.keys(inFlight).length > 0;
  }

  /** Whether any number in flight has changed. */
  forgetSilent(nowMs: number): boolean {
    let changed = false;
    // Insertion order is order of the last report, so the silent ones stand in front.
    for (const [name, isolate] of this.#byName) {
      if (nowMs - isolate.seenMs < isolateSilenceMs && this.#byName.size <= maxIsolates) break;
      changed = this.#remove(name) || changed;
    }
    return changed;
  }

  inFlight(backend: string): number {
    return this.#inFlight.get(backend) ?? 0;
  }

  get count(): number {
    return this.#byName.size;
  }

  #remove(name: string): boolean {
    const isolate = this.#byName.get(name);
    if (isolate === undefined) return false;
    this.#byName.delete(name);
    const counts = Object.entries(isolate.inFlight);
    for (const [backend, count] of counts) this.#add(backend, -count);
    return counts.length > 0;
  }

  #add(backend: string, count: number): void {
    const sum = (this.#inFlight.get(backend) ?? 0) + count;
    if (sum > 0) this.#inFlight.set(backend, sum);
    else this.#inFlight.delete(backend);
  }
}
