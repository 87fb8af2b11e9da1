/**
 * A pool of servers under virtual time: traffic, isolates that report, a prober that keeps its turns and an alarm that keeps its times.
 * What the servers do is given; everything else is the machine under test and the bare minimum around it.
 */
import { defaults } from "../../../src/shared/config/defaults.ts";
import { mayBePicked, nextDueMs, step, weightShare } from "../../../src/shared/health/health.ts";
import type { HealthEvent, HealthSettings, PoolHealth, Transition } from "../../../src/shared/health/health.ts";
import { seededRng } from "../../../src/shared/rng.ts";
import type { Rng } from "../../../src/shared/rng.ts";

export const settings: HealthSettings = { EJECTION: defaults.EJECTION, HEALTH_CHECK: defaults.HEALTH_CHECK };

/** When virtual time begins. */
export const start = 1_795_000_000_000;
const second = 1000;
const stepMs = 50;

/** Seconds since the start → what a probe and a request meet. */
export interface Server {
  readonly probe: (atS: number) => boolean;
  readonly failureRate: (atS: number) => number;
  /** Whether its failed requests are of the kind that a probe can see. */
  readonly seenByProbe: boolean;
}

export const well: Server = { probe: () => true, failureRate: () => 0, seenByProbe: false };

/** Refuses connections while `isDown`. */
export function dead(isDown: (atS: number) => boolean): Server {
  return { probe: (atS) => !isDown(atS), failureRate: (atS) => (isDown(atS) ? 1 : 0), seenByProbe: true };
}

/** Answers pings always, and part of its requests with an error. */
export function failing(failureRate: (atS: number) => number): Server {
  return { probe: () => true, failureRate, seenByProbe: false };
}

export interface Recorded extends Transition {
  /** Seconds since the start. */
  readonly atS: number;
}

interface Line {
  successes: number;
  failures: number;
  trailingFailures: number;
}

export interface Circumstances {
  readonly seed: number;
  /** Requests per second and server. */
  readonly rps: number;
  /** 0: each outcome is told at once, one by one. Otherwise so many isolates report once a second, merged, a moment late. */
  readonly isolates: number;
}

const reportDelayMs = 250;
const alarmFloorMs = 500;
const probeMs = 50;

export class VirtualPool {
  pool: PoolHealth = {};
  readonly transitions: Recorded[] = [];
  /** Requests that failed, by server. */
  readonly failed: Record<string, number> = {};
  readonly asked: Record<string, number> = {};
  readonly #servers: Readonly<Record<string, Server>>;
  readonly #names: string[];
  readonly #circumstances: Circumstances;
  readonly #rng: Rng;
  readonly #probeAtMs = new Map<string, number>();
  readonly #lines: Map<string, Line>[];
  readonly #underWay: { readonly atMs: number; readonly event: HealthEvent }[] = [];
  readonly #check: (pool: VirtualPool, event: HealthEvent) => void;
  #nowMs = start;
  #alarmMs = start;
  #owed = 0;

  constructor(
    servers: Readonly<Record<string, Server>>,
    circumstances: Circumstances,
    check: (pool: VirtualPool, event: HealthEvent) => void = checkInvariants,
  ) {
    this.#servers = servers;
    this.#names = Object.keys(servers);
    this.#circumstances = circumstances;
    this.#rng = seededRng(circumstances.seed);
    this.#check = check;
    this.#lines = Array.from({ length: circumstances.isolates }, () => new Map<string, Line>());
    this.hear({ kind: "members", names: this.#names });
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get atS(): number {
    return (this.#nowMs - start) / second;
  }

  state(name: string): string | undefined {
    return this.pool[name]?.state;
  }

  /** As `/health` shows it. */
  shownUp(name: string): boolean {
    const health = this.pool[name];
    return health !== undefined && mayBePicked(health);
  }

  /** Times, in seconds, of this server's ejections. */
  ejections(name?: string): number[] {
    const all = this.transitions.filter((one) => one.to === "ejected" && (name === undefined || one.backend === name));
    return all.map((one) => one.atS);
  }

  hear(event: HealthEvent): void {
    const { pool, transitions, probeNow } = step(this.pool, event, this.#nowMs, settings);
    this.pool = pool;
    for (const transition of transitions) this.transitions.push({ ...transition, atS: this.atS });
    for (const name of probeNow) this.#probeAtMs.set(name, this.#nowMs);
    this.#check(this, event);
  }

  /** Runs until so many seconds after the start, or until the condition holds. Returns the time it stopped at, in seconds. */
  run(untilS: number, stopped: () => boolean = () => false): number {
    while (this.#nowMs < start + untilS * second && !stopped()) {
      this.#nowMs += stepMs;
      this.#arrive();
      this.#deliver();
      this.#probe();
      this.#ring();
    }
    return this.atS;
  }

  #arrive(): void {
    this.#owed += (this.#circumstances.rps * this.#names.length * stepMs) / second;
    for (; this.#owed >= 1; this.#owed -= 1) {
      const name = this.#pick();
      const server = this.#servers[name] as Server;
      const failed = this.#rng() < server.failureRate(this.atS);
      this.asked[name] = (this.asked[name] ?? 0) + 1;
      if (failed) this.failed[name] = (this.failed[name] ?? 0) + 1;
      if (this.#circumstances.isolates === 0) this.hear(outcome(name, server, failed));
      else this.#note(name, failed);
    }
  }

  /** By weight; a trial gets a request when it is its turn. With nobody to pick, anybody. */
  #pick(): string {
    const open = this.#names.filter((name) => this.#isOpen(name));
    const from = open.length > 0 ? open : this.#names;
    const weights = from.map((name) => {
      const health = this.pool[name];
      return health === undefined || health.state === "trial"
        ? 0.1
        : Math.max(0.01, weightShare(health, this.#nowMs, settings));
    });
    let left = this.#rng() * weights.reduce((sum, weight) => sum + weight, 0);
    for (const [index, name] of from.entries()) {
      left -= weights[index] as number;
      if (left < 0) return name;
    }
    return from.at(-1) as string;
  }

  #isOpen(name: string): boolean {
    const health = this.pool[name];
    return health !== undefined && health.state !== "ejected" && (health.state !== "trial" || health.trialMs === null);
  }

  #note(name: string, failed: boolean): void {
    const lines = this.#lines[Math.floor(this.#rng() * this.#lines.length)] as Map<string, Line>;
    const line = lines.get(name) ?? { successes: 0, failures: 0, trailingFailures: 0 };
    if (failed) line.failures += 1;
    else line.successes += 1;
    line.trailingFailures = failed ? line.trailingFailures + 1 : 0;
    lines.set(name, line);
  }

  #deliver(): void {
    for (const [index, lines] of this.#lines.entries()) {
      const phaseMs = Math.floor((index * second) / this.#lines.length / stepMs) * stepMs;
      if ((this.#nowMs - start) % second !== phaseMs) continue;
      for (const [name, line] of lines) {
        const server = this.#servers[name] as Server;
        const event: HealthEvent = {
          kind: "outcomes",
          backend: name,
          reach: "server",
          ...line,
          seenByProbe: server.seenByProbe,
          reason: "fault",
        };
        this.#underWay.push({ atMs: this.#nowMs + reportDelayMs, event });
      }
      lines.clear();
    }
    while (this.#underWay[0] !== undefined && this.#underWay[0].atMs <= this.#nowMs) {
      this.hear((this.#underWay.shift() as { event: HealthEvent }).event);
    }
  }

  #probe(): void {
    for (const name of this.#names) {
      const health = this.pool[name];
      if (health === undefined) continue;
      const calm = health.state === "healthy" || health.state === "recovering";
      const turnS = calm ? settings.HEALTH_CHECK.interval : settings.HEALTH_CHECK.unhealthyInterval;
      const turnMs = health.probedMs === null ? this.#nowMs : health.probedMs + turnS * second;
      const askedMs = this.#probeAtMs.get(name) ?? Number.POSITIVE_INFINITY;
      if (Math.min(turnMs, askedMs + probeMs) > this.#nowMs) continue;
      this.#probeAtMs.delete(name);
      const ok = (this.#servers[name] as Server).probe(this.atS);
      this.hear({ kind: "probe", backend: name, ok, reason: ok ? "ok" : "refused" });
    }
  }

  #ring(): void {
    if (this.#nowMs < this.#alarmMs) return;
    const due = Object.values(this.pool).some((health) => (nextDueMs(health, settings) ?? Infinity) <= this.#nowMs);
    if (!due) return;
    this.hear({ kind: "tick" });
    this.#alarmMs = this.#nowMs + alarmFloorMs;
  }
}

function outcome(backend: string, server: Server, failed: boolean): HealthEvent {
  const failures = failed ? 1 : 0;
  return {
    kind: "outcomes",
    backend,
    reach: "server",
    successes: 1 - failures,
    failures,
    trailingFailures: failures,
    seenByProbe: failed && server.seenByProbe,
    reason: failed ? "fault" : "ok",
  };
}

/** What must hold after every event, whatever happened. */
export function checkInvariants(pool: VirtualPool, event: HealthEvent): void {
  const wrong = faultIn(pool.pool, pool.nowMs, event);
  if (wrong !== null) throw new Error(`${wrong} at ${pool.atS} s, after ${JSON.stringify(event)}`);
}

/** The first thing that may never be, or null. */
export function faultIn(pool: PoolHealth, nowMs: number, event: HealthEvent): string | null {
  const all = Object.values(pool);
  const out = all.filter((health) => health.state === "ejected" || health.state === "trial");
  const passive = out.filter((health) => health.ejection?.passive === true).length;
  if (passive > all.length * settings.EJECTION.maxShare) return `${passive} of ${all.length} out by passive signals`;
  const allFail = all.every((health) => health.probe === "failed");
  if (allFail && out.some((health) => health.state === "ejected" && health.ejection?.visible === true)) {
    return "ejected by probes though all fail alike";
  }
  for (const [name, health] of Object.entries(pool)) {
    const share = weightShare(health, nowMs, settings);
    if (!(share >= 0 && share <= 1)) return `${name} has a share of ${share}`;
    if (health.state === "ejected" && mayBePicked(health)) return `${name} is ejected and may be picked`;
    if (out.includes(health) !== (health.ejection !== null))
      return `${name} is ${health.state} with ${JSON.stringify(health.ejection)}`;
    for (const { consecutiveFailures, streakMs, counts } of Object.values(health.testimony)) {
      if (consecutiveFailures < 0 || consecutiveFailures > 0 !== (streakMs !== null)) {
        return `${name} has ${consecutiveFailures} failures in a row since ${streakMs}`;
      }
      if (counts.length > 10) return `${name} keeps ${counts.length} slots`;
    }
    if (health.ejections.length > 11) return `${name} keeps ${health.ejections.length} ejections`;
    if (event.kind === "tick" && (nextDueMs(health, settings) ?? Infinity) <= nowMs)
      return `${name} is due again after a tick`;
  }
  return null;
}
