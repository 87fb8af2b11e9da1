/**
 * What was sent to Jimeng, so what was paid. A job runs to its end whether or not its client is still there.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { submitsBefore, type JimengError } from "./dialect.ts";

export type JobKind = "image" | "composition" | "video";

export interface JobRequest {
  readonly kind: JobKind;
  readonly route: string;
  readonly prompt: string;
  readonly session: string;
}

export interface Submit {
  readonly id: string;
  readonly route: string;
  readonly kind: JobKind;
  readonly prompt: string;
  readonly session: string;
  readonly atMs: number;
  state: "running" | "done" | "failed";
  /** Credits were spent. */
  charged: boolean;
  clientGone: boolean;
}

/** Enough for any test; a load test's older entries are only counted. */
const keptSubmits = 50_000;

export class JobBook {
  #submits: Submit[] = [];
  #total = 0;
  #sequence = 0;
  #running = 0;

  get total(): number {
    return this.#total;
  }
  get running(): number {
    return this.#running;
  }

  list(prompt: string | null): readonly Submit[] {
    return prompt === null ? this.#submits : this.#submits.filter((submit) => submit.prompt === prompt);
  }

  byPrompt(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { prompt } of this.#submits) counts[prompt] = (counts[prompt] ?? 0) + 1;
    return counts;
  }

  clear(): void {
    this.#submits = [];
    this.#total = 0;
  }

  /**
   * Submits the job and runs it to its end. `failure` is the error that Jimeng will answer with; one that is refused
   * before it is sent leaves no entry.
   */
  async run(
    request: JobRequest,
    ms: number,
    failure: JimengError | null,
    opened?: (submit: Submit) => void,
  ): Promise<Submit> {
    if (failure !== null && !submitsBefore(failure)) throw failure;
    const submit = this.#open(request);
    opened?.(submit);
    this.#running += 1;
    try {
      if (ms > 0) await sleep(ms);
      if (failure !== null) throw failure;
      submit.state = "done";
      submit.charged = true;
      return submit;
    } catch (error) {
      submit.state = "failed";
      throw error;
    } finally {
      this.#running -= 1;
    }
  }

  #open(request: JobRequest): Submit {
    this.#sequence += 1;
    this.#total += 1;
    const submit: Submit = {
      id: `job-${this.#sequence}`,
      ...request,
      atMs: Date.now(),
      state: "running",
      charged: false,
      clientGone: false,
    };
    if (this.#submits.length < keptSubmits) this.#submits.push(submit);
    return submit;
  }
}
