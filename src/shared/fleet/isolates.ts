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

  report(name: string, inFlight: Readonly<Record<string, number>>, nowMs: number): void {
    this.#remove(name);
    for (const [backend, count] of Object.entries(inFlight)) this.#add(backend, count);
    this.#byName.set(name, { seenMs: nowMs, inFlight });
    this.forgetSilent(nowMs);
  }

  forgetSilent(nowMs: number): void {
    // Insertion order is order of the last report, so the silent ones stand in front.
    for (const [name, isolate] of this.#byName) {
      if (nowMs - isolate.seenMs < isolateSilenceMs && this.#byName.size <= maxIsolates) return;
      this.#remove(name);
    }
  }

  inFlight(backend: string): number {
    return this.#inFlight.get(backend) ?? 0;
  }

  get count(): number {
    return this.#byName.size;
  }

  #remove(name: string): void {
    const isolate = this.#byName.get(name);
    if (isolate === undefined) return;
    this.#byName.delete(name);
    for (const [backend, count] of Object.entries(isolate.inFlight)) this.#add(backend, -count);
  }

  #add(backend: string, count: number): void {
    const sum = (this.#inFlight.get(backend) ?? 0) + count;
    if (sum > 0) this.#inFlight.set(backend, sum);
    else this.#inFlight.delete(backend);
  }
}
