/** A large answer on its way to its client: a server that falls silent in the middle of it is cut off, and how it ended is known. */
import { stalled } from "../shared/jimeng/answer.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted, success } from "../shared/outcome.ts";
import { brokenOff } from "./attempt.ts";
import { Patient, Silence } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
import type { Cutoff } from "./cutoff.ts";

export interface RelayTerms {
  /** Of a server that is being waited for. */
  readonly idleMs: number;
  readonly cutoff: Cutoff;
  /** Bytes that have come before. */
  readonly first: number;
  /** Of all of it; null: unknown. */
  readonly length: number | null;
}

export class Relay implements ByteSource {
  /** Resolves at the end, however it came; never rejects. */
  readonly ended: Promise<Outcome>;
  bytes: number;
  readonly #source: Patient;
  readonly #terms: RelayTerms;
  readonly #startedMs = Date.now();
  #end: (outcome: Outcome) => void = () => undefined;

  constructor(source: ByteSource, terms: RelayTerms) {
    this.#source = new Patient(source, terms.idleMs);
    this.#terms = terms;
    this.bytes = terms.first;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    // Also while nobody reads: a client that has left reads no more.
    terms.cutoff.signal.addEventListener("abort", () => this.#end(this.#broken()), { once: true });
  }

  async read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const piece = await this.#source.read(room);
      this.bytes += piece.byteLength;
      // What is as long as it was to be is asked for no more.
      if (piece.byteLength === 0 || this.bytes === this.#terms.length) this.#finish(success);
      return piece;
    } catch (error) {
      this.#finish(error instanceof Silence ? stalled : this.#broken());
      // Its connection brings nothing any more.
      this.#terms.cutoff.end("deadline");
      throw error;
    }
  }

  async cancel(reason?: unknown): Promise<void> {
    this.#finish(aborted);
    await this.#source.cancel(reason);
  }

  #finish(outcome: Outcome): void {
    this.#source.end();
    this.#end(outcome);
  }

  #broken(): Outcome {
    return brokenOff(this.#terms.cutoff.reason, "body", Date.now() - this.#startedMs);
  }
}
