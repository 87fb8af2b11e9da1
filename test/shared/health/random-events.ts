/** Random sequences of everything that a pool can hear, each step checked from outside. */
import * as fc from "fast-check";
import { nextDueMs, step } from "../../../src/shared/health/health.ts";
import type { HealthEvent, PoolHealth, Transition } from "../../../src/shared/health/health.ts";
import { reaches } from "../../../src/shared/route.ts";
import type { Reach } from "../../../src/shared/route.ts";
import { faultIn, settings, start } from "./virtual-pool.ts";

/** Every way from one state to another that there is. */
const ways = new Set([
  "healthy suspect",
  "healthy ejected",
  "suspect healthy",
  "suspect ejected",
  "ejected trial",
  "ejected recovering",
  "ejected suspect",
  "trial recovering",
  "trial ejected",
  "trial suspect",
  "recovering healthy",
  "recovering suspect",
  "recovering ejected",
]);

const roster = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** Waits that matter: none, a request's, a report's, an accusation's, a probe's turn, an ejection's, the memory's. */
const waitsMs = [0, 0, 1, 20, 200, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 600_000];

interface Move {
  readonly event: HealthEvent;
  readonly waitMs: number;
}

/** One number makes one event, which keeps long sequences cheap and lets them shrink. */
function moveOf(code: number, size: number): Move {
  const backend = roster[(code >>> 4) % size] as string;
  const waitMs = waitsMs[(code >>> 8) % waitsMs.length] as number;
  const detail = code >>> 14;
  const seenByProbe = detail % 2 === 0;
  const reach = reaches[(detail >>> 10) % reaches.length] as Reach;
  const outcomes = (successes: number, failures: number, trailingFailures: number): Move => ({
    event: { kind: "outcomes", backend, reach, successes, failures, trailingFailures, seenByProbe, reason: "fault" },
    waitMs,
  });
  switch (code % 16) {
    case 0:
    case 1:
    case 2:
      return outcomes(1, 0, 0);
    case 3:
    case 4:
    case 5:
      return outcomes(0, 1, 1);
    case 6:
      return outcomes(detail % 40, (detail >>> 3) % 40, Math.min((detail >>> 3) % 40, detail % 7));
    case 7:
      return outcomes(0, 5 + (detail % 30), 5 + (detail % 30));
    case 8:
    case 9:
      return { event: { kind: "probe", backend, ok: true, reason: "ok" }, waitMs };
    case 10:
    case 11:
      return { event: { kind: "probe", backend, ok: false, reason: "refused" }, waitMs };
    case 12:
      return { event: { kind: "assigned", backend }, waitMs };
    case 13:
      return detail % 16 === 0
        ? { event: { kind: "members", names: roster.slice(0, 1 + ((detail >>> 4) % size)) }, waitMs }
        : { event: { kind: "tick" }, waitMs };
    default:
      return { event: { kind: "tick" }, waitMs };
  }
}

function freezeDeep<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freezeDeep(inner);
  }
  return value;
}

function checkTransitions(before: PoolHealth, after: PoolHealth, transitions: readonly Transition[]): void {
  const states = new Map(Object.entries(before).map(([name, health]) => [name, health.state]));
  for (const { backend, from, to, reason } of transitions) {
    if (!ways.has(`${from} ${to}`)) throw new Error(`${backend}: no way leads from ${from} to ${to} (${reason})`);
    if (states.get(backend) !== from) throw new Error(`${backend} was ${states.get(backend)}, not ${from}`);
    states.set(backend, to);
  }
  for (const [name, health] of Object.entries(after)) {
    const told = states.get(name) ?? "healthy";
    if (told !== health.state) throw new Error(`${name} is ${health.state}, its transitions end with ${told}`);
  }
}

/** Runs one sequence; every step is checked from outside. */
function play(size: number, codes: readonly number[]): void {
  let pool: PoolHealth = freezeDeep(step({}, { kind: "members", names: roster.slice(0, size) }, start, settings).pool);
  let nowMs = start;
  for (const code of codes) {
    const { event, waitMs } = moveOf(code, size);
    nowMs += waitMs;
    const result = step(pool, event, nowMs, settings);
    const revived = step(JSON.parse(JSON.stringify(pool)) as PoolHealth, event, nowMs, settings);
    if (JSON.stringify(revived) !== JSON.stringify(result))
      throw new Error(`JSON changes what follows ${JSON.stringify(event)}`);
    checkTransitions(pool, result.pool, result.transitions);
    for (const name of result.probeNow) {
      if (!Object.hasOwn(result.pool, name)) throw new Error(`${name} is to be probed and is no member`);
    }
    const wrong = faultIn(result.pool, nowMs, event);
    if (wrong !== null) throw new Error(`${wrong}, after ${JSON.stringify(event)}`);
    pool = freezeDeep(result.pool);
  }
  settleDown(pool, nowMs);
}

/** Left alone, a pool comes to rest: ticks at the times it names end, and each changes something. */
function settleDown(from: PoolHealth, atMs: number): void {
  let pool = from;
  let nowMs = atMs;
  for (let tick = 0; tick < 100; tick += 1) {
    const due = Object.values(pool).map((health) => nextDueMs(health, settings) ?? Infinity);
    const nextMs = Math.min(Infinity, ...due);
    if (nextMs === Infinity) return;
    nowMs = Math.max(nowMs, nextMs);
    const next = step(pool, { kind: "tick" }, nowMs, settings).pool;
    if (next === pool) throw new Error("a tick that was due changes nothing");
    pool = next;
  }
  throw new Error("a hundred ticks without an event, and still something is due");
}

/** So many events in sequences of so many; fast-check prints the seed of a failure. */
export function checkRandomEvents(
  events: number,
  perSequence: number,
  most: number = roster.length,
  seed: number = Math.floor(Math.random() * 2 ** 31),
): void {
  const codes = fc.array(fc.nat(2 ** 31 - 1), { minLength: perSequence, maxLength: perSequence, size: "max" });
  const numRuns = Math.ceil(events / perSequence);
  fc.assert(fc.property(fc.integer({ min: 1, max: most }), codes, play), { numRuns, seed });
}
