/**
 * The round-robin run: one request starts every `intervalMs`, at the next server in turn, with at most `concurrency` in flight.
 * Starts follow the clock and not the answers, so a slow server delays nobody's measurement; and no server may hold more
 * than its share of the slots, so one that hangs can't starve the rest.
 */
export interface Plan {
  readonly durationMs: number;
  readonly intervalMs: number;
  readonly concurrency: number;
}

export interface Clock {
  /** Milliseconds; only differences count. */
  now(): number;
  /** Ends early, without an error, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Rotation<Server, Result> {
  readonly servers: readonly Server[];
  readonly plan: Plan;
  readonly clock: Clock;
  /** Never rejects: a failure is a result. */
  readonly probe: (server: Server) => Promise<Result>;
  readonly onResult: (server: Server, result: Result) => void;
  /** No request starts after it; those in flight end. */
  readonly signal: AbortSignal;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", wake);
    }),
};

/** Ends when the time is over, every server has had a turn, and every request has ended. */
export async function rotate<Server, Result>(rotation: Rotation<Server, Result>): Promise<void> {
  const { servers, plan, clock, signal } = rotation;
  const slots = new Slots(rotation);
  const endsAt = clock.now() + plan.durationMs;
  let dueAt = clock.now();
  // The first round is always completed: a run too short for its list of servers still says something of each.
  const mayStart = (started: number) =>
    !signal.aborted && (started < servers.length || Math.max(dueAt, clock.now()) < endsAt);
  for (let started = 0; mayStart(started); started++) {
    if (dueAt > clock.now()) await clock.sleep(dueAt - clock.now(), signal);
    while (mayStart(started) && !slots.start()) await slots.oneEnds();
    if (!mayStart(started)) break;
    // Turns that were missed while all slots were taken are dropped, not made up for in a burst.
    dueAt = Math.max(dueAt + plan.intervalMs, clock.now());
  }
  await slots.allEnd();
}

class Slots<Server, Result> {
  private readonly rotation: Rotation<Server, Result>;
  private readonly inFlight = new Set<Promise<void>>();
  private readonly held: number[];
  private readonly share: number;
  private next = 0;

  constructor(rotation: Rotation<Server, Result>) {
    this.rotation = rotation;
    this.held = rotation.servers.map(() => 0);
    this.share = Math.max(1, Math.floor(rotation.plan.concurrency / rotation.servers.length));
  }

  /** Starts a request at the first server from the turn on that has a slot left; false when none has. */
  start(): boolean {
    const { servers, plan } = this.rotation;
    if (this.inFlight.size >= plan.concurrency) return false;
    for (let step = 0; step < servers.length; step++) {
      const index = (this.next + step) % servers.length;
      if ((this.held[index] ?? 0) >= this.share) continue;
      this.next = (index + 1) % servers.length;
      this.hold(index);
      return true;
    }
    return false;
  }

  async oneEnds(): Promise<void> {
    await Promise.race(this.inFlight);
  }

  async allEnd(): Promise<void> {
    await Promise.all(this.inFlight);
  }

  private hold(index: number): void {
    const server = this.rotation.servers[index] as Server;
    this.held[index] = (this.held[index] ?? 0) + 1;
    const running = this.rotation.probe(server).then((result) => {
      this.held[index] = (this.held[index] ?? 1) - 1;
      this.inFlight.delete(running);
      this.rotation.onResult(server, result);
    });
    this.inFlight.add(running);
  }
}
