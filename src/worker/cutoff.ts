/** What ends an attempt from our side, and why; the first reason stands. */
import type { EndedBy } from "./attempt.ts";

export class Cutoff {
  readonly #controller = new AbortController();
  #reason: EndedBy | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get reason(): EndedBy | null {
    return this.#reason;
  }

  end(reason: EndedBy): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#controller.abort();
  }

  /** Ends it after so long, in place of any earlier time that was set. */
  endAfter(ms: number, reason: EndedBy): void {
    this.clear();
    this.#timer = setTimeout(() => this.end(reason), ms);
  }

  clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
