import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rotate } from "../../tools/ip-tester/rotation.ts";
import type { Clock, Plan } from "../../tools/ip-tester/rotation.ts";

/** Time that passes only when everything waits for it. */
class VirtualClock implements Clock {
  private nowMs = 0;
  private sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  now(): number {
    return this.nowMs;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => void this.sleepers.push({ atMs: this.nowMs + ms, wake }));
  }

  /** Runs until `done` has settled, from one waking to the next. */
  async runUntil(done: Promise<void>): Promise<void> {
    let over = false;
    const ended = done.finally(() => {
      over = true;
    });
    for (;;) {
      // setImmediate comes after every promise that can settle by itself.
      await new Promise(setImmediate);
      if (over) return ended;
      this.sleepers.sort((a, b) => a.atMs - b.atMs);
      const next = this.sleepers.shift();
      if (next === undefined) throw new Error("everything waits and nothing sleeps");
      this.nowMs = next.atMs;
      next.wake();
    }
  }
}

interface Simulated {
  readonly name: string;
  readonly ms: number;
}

async function simulate(servers: readonly Simulated[], plan: Plan, stopAtMs = Infinity) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const starts: { readonly name: string; readonly atMs: number }[] = [];
  const inFlight = new Map(servers.map(({ name }) => [name, 0]));
  const most = { all: 0, one: 0 };
  let ended = 0;
  const done = rotate({
    servers,
    plan,
    clock,
    signal: stop.signal,
    probe: async ({ name, ms }) => {
      starts.push({ name, atMs: clock.now() });
      if (clock.now() >= stopAtMs) stop.abort();
      inFlight.set(name, (inFlight.get(name) ?? 0) + 1);
      most.one = Math.max(most.one, inFlight.get(name) ?? 0);
      most.all = Math.max(
        most.all,
        [...inFlight.values()].reduce((sum, count) => sum + count, 0),
      );
      await clock.sleep(ms);
      inFlight.set(name, (inFlight.get(name) ?? 0) - 1);
    },
    onResult: () => {
      ended += 1;
    },
  });
  await clock.runUntil(done);
  const counts = Object.fromEntries(
    servers.map(({ name }) => [name, starts.filter((start) => start.name === name).length]),
  );
  return { starts, counts, most, ended, tookMs: clock.now() };
}

const quick = ["a", "b", "c"].map((name) => ({ name, ms: 20 }));

describe("the round-robin run", () => {
  test("asks the servers in turn, one request every interval, for the whole duration", async () => {
    const { starts, counts, tookMs } = await simulate(quick, { durationMs: 60_000, intervalMs: 100, concurrency: 10 });
    expect(counts).toEqual({ a: 200, b: 200, c: 200 });
    expect(starts.slice(0, 6).map(({ name }) => name)).toEqual(["a", "b", "c", "a", "b", "c"]);
    expect(starts.map(({ atMs }) => atMs)).toEqual(starts.map((_, index) => index * 100));
    expect(tookMs).toBeLessThanOrEqual(60_000 + 20);
  });

  test("a slow server neither delays nor thins out what is asked of the others", async () => {
    const servers = [{ name: "slow", ms: 5000 }, ...quick];
    const { counts } = await simulate(servers, { durationMs: 60_000, intervalMs: 100, concurrency: 8 });
    for (const name of ["a", "b", "c"]) expect(counts[name]).toBeGreaterThanOrEqual(150);
    expect(counts["slow"]).toBeGreaterThanOrEqual(2 * (60_000 / 5000) - 2);
  });

  test("even a duration shorter than one round asks each server once", async () => {
    const { counts } = await simulate(quick, { durationMs: 10, intervalMs: 100, concurrency: 2 });
    expect(counts).toEqual({ a: 1, b: 1, c: 1 });
  });

  test("turns missed while all slots are taken are not made up for in a burst", async () => {
    const { starts } = await simulate([{ name: "a", ms: 1000 }], { durationMs: 5000, intervalMs: 100, concurrency: 1 });
    expect(starts.map(({ atMs }) => atMs)).toEqual([0, 1000, 2000, 3000, 4000]);
  });

  test("an abort starts nothing more, and waits for what is in flight", async () => {
    const { starts, ended } = await simulate(quick, { durationMs: 60_000, intervalMs: 100, concurrency: 10 }, 1000);
    expect(starts).toHaveLength(11);
    expect(ended).toBe(11);
  });

  test("whatever the servers do: the bound holds, nobody starves, every request is counted", async () => {
    const plans = fc.record({
      delays: fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 6 }),
      concurrency: fc.integer({ min: 1, max: 12 }),
      intervalMs: fc.integer({ min: 1, max: 300 }),
      durationMs: fc.integer({ min: 1, max: 5000 }),
    });
    await fc.assert(
      fc.asyncProperty(plans, async ({ delays, ...plan }) => {
        const servers = delays.map((ms, index) => ({ name: String(index), ms }));
        const { starts, counts, most, ended, tookMs } = await simulate(servers, plan);
        expect(most.all).toBeLessThanOrEqual(plan.concurrency);
        expect(most.one).toBeLessThanOrEqual(Math.max(1, Math.floor(plan.concurrency / servers.length)));
        expect(Math.min(...Object.values(counts))).toBeGreaterThanOrEqual(1);
        expect(ended).toBe(starts.length);
        const firstRound = servers.length * (plan.intervalMs + Math.max(...delays));
        expect(tookMs).toBeLessThanOrEqual(Math.max(plan.durationMs, firstRound) + 2 * Math.max(...delays));
      }),
      { numRuns: 60 },
    );
  });
});
