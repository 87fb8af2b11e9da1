/**
 * A whole fleet to which anything may happen, restarts among it: picks, releases early, late and twice, failovers, reports, probes,
 * operators. What must hold is checked after every event; the leases by an oracle that is written from the rules.
 */
import { readConfig } from "../../../src/shared/config/read.ts";
import type { AttemptReport, PickReply, ReportLine } from "../../../src/shared/contract.ts";
import { operatorStates } from "../../../src/shared/contract.ts";
import type { LiveBackend } from "../../../src/shared/fleet/backend.ts";
import { noCounters } from "../../../src/shared/fleet/counters.ts";
import { emptyMemory, Fleet } from "../../../src/shared/fleet/fleet.ts";
import { withState } from "../../../src/shared/fleet/overlay.ts";
import { Records } from "../../../src/shared/fleet/records.ts";
import type { PoolHealth } from "../../../src/shared/health/health.ts";
import type { Lease } from "../../../src/shared/lease.ts";
import { outcomeKinds } from "../../../src/shared/outcome.ts";
import type { Outcome } from "../../../src/shared/outcome.ts";
import { seededRng } from "../../../src/shared/rng.ts";
import type { Rng } from "../../../src/shared/rng.ts";
import { routeClasses } from "../../../src/shared/route.ts";
import { faultIn } from "../health/virtual-pool.ts";

const servers = [
  { name: "a", url: "https://a.example.com", maxInFlight: 3 },
  { name: "b", url: "https://b.example.com", weight: 3 },
  { name: "c", url: "https://c.example.com", maxInFlight: 1 },
  { name: "d", url: "https://d.example.com", priority: 2, maxInFlight: 2 },
  { name: "e", url: "https://e.example.com", priority: 2 },
];

const start = 1_795_000_000_000;
const leaseMs = 90_000;

export interface FleetCounts {
  readonly picks: number;
  readonly refusals: number;
  readonly moves: number;
  /** Moves for which there was no room. */
  readonly stranded: number;
  readonly trials: number;
  readonly restarts: number;
}

/** @throws Error that names the seed, the event and the rule that was broken. */
export function playFleet(events: number, seed: number): FleetCounts {
  const game = new Game(seededRng(seed));
  for (let event = 0; event < events; event += 1) {
    const broken = game.next();
    if (broken !== null) throw new Error(`seed ${seed}, event ${event}: ${broken}`);
  }
  return game.counts;
}

function fleetFrom(memory: typeof emptyMemory, nowMs: number): Fleet {
  const reading = readConfig({ BACKEND_SERVERS: servers });
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return new Fleet(reading.config, memory, new Records(), nowMs);
}

interface Standing extends LiveBackend {
  /** Its trial's request is out. */
  readonly onTrial: boolean;
}

interface Held {
  backend: string;
  endMs: number;
  orphaned: boolean;
  readonly candidates: readonly string[];
}

class Game {
  readonly counts = { picks: 0, refusals: 0, moves: 0, stranded: 0, trials: 0, restarts: 0 };
  readonly #rng: Rng;
  readonly #held = new Map<string, Held>();
  readonly #onDisk = new Map<string, string>();
  #fleet: Fleet;
  #nowMs = start;
  #serial = 0;
  #tableVersion = 0;
  #ticked = false;

  constructor(rng: Rng) {
    this.#rng = rng;
    this.#fleet = fleetFrom(emptyMemory, start);
  }

  next(): string | null {
    this.#ticked = false;
    const dice = this.#rng();
    let broken = dice < 0.3 ? this.#pick() : null;
    if (dice >= 0.3 && dice < 0.5) this.#settle();
    else if (dice >= 0.5 && dice < 0.56) broken = this.#move();
    else if (dice >= 0.56 && dice < 0.62) this.#renew();
    else if (dice >= 0.62 && dice < 0.7) this.#report();
    else if (dice >= 0.7 && dice < 0.8) this.#probe();
    else if (dice >= 0.8 && dice < 0.82) this.#operate();
    else if (dice >= 0.82 && dice < 0.825) this.#restart();
    else if (dice >= 0.825) this.#wait();
    return broken ?? this.#brokenLeases() ?? this.#brokenHealth() ?? this.#brokenTable();
  }

  #below(limit: number): number {
    return Math.floor(this.#rng() * limit);
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }

  #outcome(): Outcome {
    const kind = this.#rng() < 0.6 ? "success" : this.#rng() < 0.6 ? "backend_fault" : this.#one(outcomeKinds);
    return { kind, executed: "unknown", seenByProbe: kind === "backend_fault" && this.#rng() < 0.3, reason: "drawn" };
  }

  #ended(backend: string, outcome: Outcome): AttemptReport {
    const routeClass = this.#one(["generate", "stream", "task"] as const);
    const latencyMs = this.#rng() < 0.2 ? null : this.#below(120_000);
    return { backend, routeClass, edgeRegion: "local", outcome, latencyMs, responseBytes: 0, learned: null };
  }

  // ── What happens ──────────────────────────────────────────────────────────────────────────────

  #pick(): string | null {
    const before = new Map(this.#fleet.backends.map((one) => [one.name, this.#asItStands(one)]));
    this.#serial += 1;
    const id = `l${this.#serial}`;
    const routeClass = this.#one(["generate", "stream", "task"] as const);
    const request = { routeClass, routeId: "x", model: null, affinityKey: null, taskId: null, edgeRegion: "local" };
    const reply = this.#fleet.pick(request, id, null, { nowMs: this.#nowMs, rng: this.#rng });
    if (reply.kind !== "picked") return this.#brokenRefusal(reply, [...before.values()]);
    const candidates = reply.candidates.map(({ name }) => name);
    const [backend] = candidates as [string];
    this.#held.set(id, { backend, endMs: this.#nowMs + leaseMs, orphaned: false, candidates });
    this.counts.picks += 1;
    return this.#brokenPick(before.get(backend)!, [...before.values()]);
  }

  /** Open leases, ended ones and those never granted alike. */
  #settle(): void {
    const number = this.#below(this.#serial + 1);
    const id = number === 0 ? "never granted" : `l${number}`;
    const held = this.#held.get(id);
    const backend = held?.backend ?? this.#one(servers).name;
    const orphaned = this.#rng() < 0.15;
    this.#fleet.settle({ leaseId: id, report: this.#ended(backend, this.#outcome()), orphaned }, this.#nowMs);
    if (held === undefined) return;
    if (!orphaned) this.#held.delete(id);
    else {
      held.orphaned = true;
      held.endMs = this.#fleet.leases.get(id)?.orphanedUntilMs ?? Number.NaN;
    }
  }

  #move(): string | null {
    const entry = this.#one([...this.#held]) as [string, Held] | undefined;
    if (entry === undefined || entry[1].orphaned) return null;
    const [leaseId, held] = entry;
    const candidates = held.candidates.slice(this.#below(held.candidates.length));
    const open = new Map(
      this.#fleet.backends.flatMap((one) =>
        one.operatorState === "active" ? [[one.name, this.#asItStands(one)] as const] : [],
      ),
    );
    const takes = (one: Standing | undefined): boolean => one !== undefined && !isFull(one);
    const expected = candidates.find((name) => name === held.backend || takes(open.get(name)));
    const outcome: Outcome = { kind: "backend_fault", executed: "no", seenByProbe: true, reason: "ping_failed" };
    const report = this.#ended(held.backend, outcome);
    const reply = this.#fleet.move({ leaseId, routeClass: "generate", report, candidates, gone: false }, this.#nowMs);
    if (expected === undefined) this.#held.delete(leaseId);
    else held.backend = expected;
    this.counts[expected === undefined ? "stranded" : "moves"] += 1;
    const reason = candidates.some((name) => open.has(name)) ? "no_capacity" : "no_backend";
    const isRight =
      reply.kind === "moved" ? reply.backend === expected : expected === undefined && reply.reason === reason;
    return isRight
      ? null
      : `a move to ${candidates.join(", ")}: expected ${expected ?? reason}, got ${JSON.stringify(reply)}`;
  }

  #renew(): void {
    const entry = this.#one([...this.#held]) as [string, Held] | undefined;
    if (entry === undefined || entry[1].orphaned) return;
    const { known } = this.#fleet.renew(entry[0], entry[1].backend, "generate", this.#nowMs);
    if (!known) throw new Error(`the lease ${entry[0]} was open, and its renewal found none`);
    entry[1].endMs = Math.max(entry[1].endMs, this.#nowMs + leaseMs);
  }

  #report(): void {
    const lines = servers.map(({ name }): ReportLine => {
      const failures = this.#rng() < 0.7 ? 0 : this.#below(12);
      const success = this.#below(40);
      return {
        backend: name,
        routeClass: this.#one(routeClasses),
        outcomes: { success, backend_fault: failures, client_fault: this.#below(5), capacity: this.#below(2) },
        trailingFailures: Math.min(failures, this.#below(8)),
        lastFailure: failures > 0 ? { seenByProbe: this.#rng() < 0.3, reason: "drawn" } : null,
        latencies: { [this.#below(380)]: success },
        responseBytes: 0,
        learned: null,
      };
    });
    const isolate = `i${this.#below(3)}`;
    const inFlight = this.#rng() < 0.5 ? {} : { [this.#one(servers).name]: this.#below(3) };
    const report = { isolate, edgeRegion: "local", lines, inFlight, counters: noCounters, tableVersion: 0 };
    this.#fleet.report(report, this.#nowMs);
  }

  #probe(): void {
    const ok = this.#rng() < 0.7;
    const reason = ok ? "ok" : "refused";
    this.#fleet.probed({ backend: this.#one(servers).name, ok, reason, latencyMs: 1, alive: ok }, this.#nowMs);
  }

  #operate(): void {
    const state = this.#one([...operatorStates, "active", "active", "active"] as const);
    const overlay = withState(this.#fleet.overlay, this.#one(servers).name, state);
    this.#fleet.reform(this.#fleet.config, overlay, this.#fleet.overrides, this.#nowMs);
  }

  /** Everything that is stored goes through JSON; nothing else is known to the next life. */
  #restart(): void {
    this.counts.restarts += 1;
    const { upserts, deletes } = this.#fleet.leases.drainChanges();
    for (const lease of upserts) this.#onDisk.set(lease.id, JSON.stringify(lease));
    for (const id of deletes) this.#onDisk.delete(id);
    const stored = {
      ...emptyMemory,
      learned: Object.fromEntries(this.#fleet.backends.map(({ name, learned }) => [name, learned])),
      health: this.#pool(),
      overlay: this.#fleet.overlay,
      tableVersion: this.#fleet.tableVersion,
    };
    const memory = JSON.parse(JSON.stringify(stored)) as typeof emptyMemory;
    const leases = Array.from(this.#onDisk.values(), (text) => JSON.parse(text) as Lease);
    this.#fleet = fleetFrom({ ...memory, leases }, this.#nowMs);
  }

  #wait(): void {
    this.#nowMs += this.#one([1, 50, 1000, 2000, 5000, 30_000, 60_000]);
    this.#fleet.tick(this.#nowMs);
    this.#ticked = true;
    for (const [id, { endMs }] of this.#held) if (endMs <= this.#nowMs) this.#held.delete(id);
  }

  // ── What must hold ────────────────────────────────────────────────────────────────────────────

  #pool(): PoolHealth {
    return Object.fromEntries(
      this.#fleet.backends.flatMap(({ name }) => {
        const health = this.#fleet.health(name);
        return health === null ? [] : [[name, health]];
      }),
    );
  }

  #asItStands(backend: LiveBackend): Standing {
    const { name } = backend;
    const sinceMs = this.#fleet.health(name)?.sinceMs ?? 0;
    const sent = this.#fleet.leases.leases(name).some(({ grantedMs }) => grantedMs >= sinceMs);
    const busy = sent || this.#fleet.isolates.inFlight(name) > 0;
    return { ...backend, inFlight: this.#fleet.inFlight(backend), onTrial: backend.state === "trial" && busy };
  }

  #brokenPick(picked: Standing, all: readonly LiveBackend[]): string | null {
    if (picked.operatorState !== "active") return `${picked.name} is ${picked.operatorState} and was picked`;
    if (isFull(picked)) return `${picked.name} was full and was picked`;
    if (picked.state === "trial") this.counts.trials += 1;
    if ((picked.state === "ejected" || picked.onTrial) && isEnough(all))
      return `${picked.name} is ${picked.state}, and no panic`;
    return null;
  }

  #brokenRefusal(reply: PickReply, all: readonly LiveBackend[]): string | null {
    this.counts.refusals += 1;
    const active = all.filter(({ operatorState }) => operatorState === "active");
    const expected = active.length === 0 ? "no_backend" : "no_capacity";
    if (reply.kind !== "none" || reply.reason !== expected) return `expected ${expected}, got ${JSON.stringify(reply)}`;
    if (expected === "no_capacity" && !(reply.retryAfterS >= 1)) return `Retry-After is ${reply.retryAfterS}`;
    const free = active.find((one) => isUp(one) && !isFull(one));
    return free === undefined ? null : `refused although ${free.name} is up and has room`;
  }

  #brokenLeases(): string | null {
    for (const { name } of servers) {
      const expected = [...this.#held.values()].filter(({ backend }) => backend === name).length;
      const counted = this.#fleet.leases.inFlight(name);
      if (counted !== expected) return `${name} has ${counted} leases, expected ${expected}`;
      const most = this.#fleet.backend(name)?.maxInFlight ?? Infinity;
      if (counted > most) return `${name} has ${counted} leases, and may have ${most}`;
    }
    return null;
  }

  #brokenHealth(): string | null {
    const pool = this.#pool();
    const wrong = faultIn(pool, this.#nowMs, this.#ticked ? { kind: "tick" } : { kind: "members", names: [] });
    if (wrong !== null) return wrong;
    const due = this.#fleet.nextDueMs(new Set(servers.map(({ name }) => name)));
    if (Number.isNaN(due) || (this.#ticked && due <= this.#nowMs)) return `due again at ${due} after a tick`;
    return null;
  }

  #brokenTable(): string | null {
    const table = this.#fleet.table(this.#nowMs);
    if (table.version < this.#tableVersion) return `the table's version fell to ${table.version}`;
    this.#tableVersion = table.version;
    for (const { name, weightShare, inFlight, load, state, healthy } of table.backends) {
      if (!(weightShare >= 0 && weightShare <= 1)) return `${name} has a share of ${weightShare}`;
      if (!(inFlight >= 0)) return `${name} has ${inFlight} in flight`;
      if (healthy && state === "ejected") return `${name} is ejected and shown healthy`;
      for (const { costMs } of Object.values(load)) {
        if (!Number.isFinite(costMs) || costMs < 0) return `${name} has a latency of ${costMs}`;
      }
    }
    return null;
  }
}

function isUp({ state }: LiveBackend): boolean {
  return state !== "ejected" && state !== "trial";
}

function isFull({ inFlight, maxInFlight }: LiveBackend): boolean {
  return maxInFlight !== null && inFlight >= maxInFlight;
}

/** The tiers together can carry the load, so health is not ignored anywhere. */
function isEnough(all: readonly LiveBackend[]): boolean {
  const tiers = Map.groupBy(
    all.filter(({ operatorState }) => operatorState === "active"),
    ({ priority }) => priority,
  );
  const health = [...tiers.values()].map((tier) => Math.min(1, (1.4 * tier.filter(isUp).length) / tier.length));
  return health.reduce((sum, one) => sum + one, 0) >= 1;
}
