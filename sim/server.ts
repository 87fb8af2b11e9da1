/**
 * A simulated backend. What it has taken in is worked off at `speed`: all at once, sharing its cores (`sharing`), or in the
 * order of arrival with so many at a time (`fifo`). Progress is counted on a virtual clock that all jobs in service share.
 */
import type { Timeline } from "./timeline.ts";

export type Discipline =
  { readonly kind: "sharing"; readonly cores: number } | { readonly kind: "fifo"; readonly slots: number };

interface Job {
  /** Virtual time at which it is done; known once it is in service. */
  finish: number;
  readonly work: number;
  readonly ended: (how: JobEnd) => void;
}

/** `lost`: the process died with it. */
export type JobEnd = "served" | "lost";

export interface ServerSettings {
  readonly name: string;
  readonly discipline: Discipline;
  /** Work that a job gets done per millisecond, relative to a nominal server. */
  readonly speed: number;
}

export class Server {
  readonly name: string;
  #dead = false;
  /** Share of its answers that are errors. */
  failing = 0;
  readonly #timeline: Timeline;
  readonly #discipline: Discipline;
  #speed: number;
  #allowance = 1;
  #virtual = 0;
  #virtualAtMs = 0;
  #plan = 0;
  /** In service, the one that ends first in front. */
  #serving: Job[] = [];
  readonly #waiting: Job[] = [];

  constructor(settings: ServerSettings, timeline: Timeline) {
    this.name = settings.name;
    this.#timeline = timeline;
    this.#discipline = settings.discipline;
    this.#speed = settings.speed;
  }

  get inFlight(): number {
    return this.#serving.length + this.#waiting.length;
  }

  /** Refuses connections. */
  get dead(): boolean {
    return this.#dead;
  }

  /** A process that dies loses what it was working on. */
  set dead(value: boolean) {
    this.#dead = value;
    if (!value) return;
    const lost = [...this.#serving, ...this.#waiting];
    this.#serving = [];
    this.#waiting.length = 0;
    this.#replan();
    for (const job of lost) job.ended("lost");
  }

  get speed(): number {
    return this.#speed;
  }

  set speed(value: number) {
    this.#advance();
    this.#speed = value;
    this.#replan();
  }

  /** The cores it gets, as a factor of its own: neighbours on the machine take some or leave some. */
  set allowance(value: number) {
    this.#advance();
    this.#allowance = value;
    this.#replan();
  }

  /** Takes a job of `work` milliseconds at nominal speed. @returns a function that takes it away again. */
  submit(work: number, ended: (how: JobEnd) => void): () => void {
    const job: Job = { finish: 0, work, ended };
    this.#advance();
    if (this.#discipline.kind === "fifo" && this.#serving.length >= this.#discipline.slots) this.#waiting.push(job);
    else this.#start(job);
    this.#replan();
    return () => this.#remove(job);
  }

  #start(job: Job): void {
    job.finish = this.#virtual + job.work;
    let low = 0;
    let high = this.#serving.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#serving[middle]!.finish <= job.finish) low = middle + 1;
      else high = middle;
    }
    this.#serving.splice(low, 0, job);
  }

  #remove(job: Job): void {
    this.#advance();
    const waiting = this.#waiting.indexOf(job);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    else if (this.#serving.includes(job)) this.#leave(job);
    this.#replan();
  }

  #leave(job: Job): void {
    this.#serving.splice(this.#serving.indexOf(job), 1);
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(next);
  }

  /** Work per millisecond that each job in service gets. */
  #rate(): number {
    if (this.#discipline.kind === "fifo") return this.#speed;
    const cores = this.#discipline.cores * this.#allowance;
    return this.#speed * Math.min(1, cores / Math.max(1, this.#serving.length));
  }

  #advance(): void {
    this.#virtual += (this.#timeline.nowMs - this.#virtualAtMs) * this.#rate();
    this.#virtualAtMs = this.#timeline.nowMs;
  }

  /** Plans the end of the job that ends next; an older plan finds its number outdated. */
  #replan(): void {
    this.#plan += 1;
    const job = this.#serving[0];
    if (job === undefined) return;
    const plan = this.#plan;
    this.#timeline.after((job.finish - this.#virtual) / this.#rate(), () => {
      if (plan !== this.#plan) return;
      this.#advance();
      this.#leave(job);
      this.#replan();
      job.ended("served");
    });
  }
}
