/** The machine in a pool with traffic, reports, probes and alarms, over virtual time. */
import { describe, expect, test } from "vitest";
import { dead, failing, VirtualPool, well } from "./virtual-pool.ts";
import type { Server } from "./virtual-pool.ts";

/** Each outcome told at once; several isolates, whose merged reports interleave. */
const reportings = [0, 4];

function servers(size: number, one: Server, rest: Server = well): Record<string, Server> {
  return Object.fromEntries(Array.from({ length: size }, (_, index) => [`s${index}`, index === 0 ? one : rest]));
}

const names = (size: number) => Array.from({ length: size }, (_, index) => `s${index}`);

describe.each(reportings)("with outcomes by way of %i isolates", (isolates) => {
  test.each([
    [2, 1],
    [3, 0.3],
    [3, 5],
    [4, 50],
    [20, 2],
  ])("one of %i is killed at %d rps: shown down within 15 s, and up within 15 s of its return", (size, rps) => {
    for (const seed of [1, 2, 3]) {
      const pool = new VirtualPool(
        servers(
          size,
          dead((atS) => atS >= 70 && atS < 130),
        ),
        { seed, rps, isolates },
      );
      pool.run(70);
      expect(pool.run(85, () => pool.state("s0") === "ejected")).toBeLessThan(85);
      pool.run(130);
      expect(pool.state("s0")).toBe("ejected");
      expect(pool.run(145, () => pool.state("s0") === "recovering")).toBeLessThan(145);
      pool.run(200);
      expect(pool.state("s0")).toBe("healthy");
      expect(pool.transitions.every((transition) => transition.backend === "s0")).toBe(true);
    }
  });

  test("the only one is killed: shown down within 15 s, up within 15 s of its return, and never ejected", () => {
    const pool = new VirtualPool(
      servers(
        1,
        dead((atS) => atS >= 70 && atS < 130),
      ),
      { seed: 1, rps: 1, isolates },
    );
    pool.run(70);
    expect(pool.run(85, () => !pool.shownUp("s0"))).toBeLessThan(85);
    pool.run(129);
    expect(pool.shownUp("s0")).toBe(false);
    expect(pool.run(145, () => pool.shownUp("s0"))).toBeLessThan(145);
    expect(pool.ejections()).toEqual([]);
  });

  test("all are killed at once: none is ejected, all are shown down within 15 s, and up within 15 s of their return", () => {
    const down = dead((atS) => atS >= 70 && atS < 200);
    const pool = new VirtualPool(servers(3, down, down), { seed: 1, rps: 5, isolates });
    pool.run(85);
    expect(names(3).map((name) => pool.shownUp(name))).toEqual([false, false, false]);
    pool.run(215);
    expect(names(3).map((name) => pool.shownUp(name))).toEqual([true, true, true]);
    pool.run(245);
    expect(pool.ejections()).toEqual([]);
    expect(names(3).map((name) => pool.state(name))).toEqual(["healthy", "healthy", "healthy"]);
  });

  test("all are killed one after the other and return one after the other: each is back within 15 s", () => {
    const down = (from: number, to: number) => dead((atS) => atS >= from && atS < to);
    const pool = new VirtualPool(
      { s0: down(70, 150), s1: down(80, 180), s2: down(90, 210) },
      { seed: 1, rps: 5, isolates },
    );
    pool.run(110);
    expect(names(3).map((name) => pool.state(name))).toEqual(["suspect", "suspect", "suspect"]);
    expect(names(3).map((name) => pool.shownUp(name))).toEqual([false, false, false]);
    for (const [index, returnS] of [150, 180, 210].entries()) {
      const name = `s${index}`;
      pool.run(returnS);
      const backS = pool.run(returnS + 15, () => pool.shownUp(name));
      expect(backS).toBeLessThan(returnS + 15);
    }
  });

  test.each([3, 4, 5, 8, 20])("one of %i that fails 30 % of its answers at 5 rps is ejected within 20 s", (size) => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const pool = new VirtualPool(
        servers(
          size,
          failing((atS) => (atS >= 40 ? 0.3 : 0)),
        ),
        { seed, rps: 5, isolates },
      );
      pool.run(60, () => pool.ejections().length > 0);
      expect([seed, pool.ejections("s0").length]).toEqual([seed, 1]);
      expect(pool.ejections().length).toBe(1);
    }
  });

  test("one of two that fails 30 % of its answers at 5 rps is ejected within 30 s", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const pool = new VirtualPool(
        servers(
          2,
          failing((atS) => (atS >= 40 ? 0.3 : 0)),
        ),
        { seed, rps: 5, isolates },
      );
      pool.run(70, () => pool.ejections().length > 0);
      expect([seed, pool.ejections("s0").length]).toEqual([seed, 1]);
    }
  });

  test("one that fails 30 % from the start, with no past to compare with, is ejected within 20 s", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const pool = new VirtualPool(
        servers(
          4,
          failing(() => 0.3),
        ),
        { seed, rps: 5, isolates },
      );
      pool.run(20, () => pool.ejections().length > 0);
      expect([seed, pool.ejections("s0").length]).toEqual([seed, 1]);
    }
  });

  test.each([0.05, 0.3, 0.6, 0.9, 1])(
    "all fail alike at a rate of %d from some moment on: none is ejected in 20 min",
    (rate) => {
      for (const size of [2, 4]) {
        const one = failing((atS) => (atS >= 40 && atS < 1000 ? rate : 0));
        const pool = new VirtualPool(servers(size, one, one), { seed: size, rps: 5, isolates });
        pool.run(1200);
        expect(pool.ejections()).toEqual([]);
        expect(names(size).every((name) => pool.state(name) === "healthy")).toBe(true);
      }
    },
  );

  test("all begin to fail: in the first half minute, whatever the chances, none is ejected", () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const rate = [0.5, 0.8, 0.95, 1][seed % 4] as number;
      const one = failing((atS) => (atS >= 40 ? rate : 0));
      const pool = new VirtualPool(servers(4, one, one), { seed, rps: 5, isolates });
      pool.run(70);
      expect([seed, pool.ejections()]).toEqual([seed, []]);
    }
  });

  test.each([
    ["dead and alive", (atS: number) => dead(() => Math.floor(atS / 20) % 2 === 0)],
    ["failing and well", (atS: number) => failing(() => (Math.floor(atS / 20) % 2 === 0 ? 1 : 0))],
  ])("%s in turns of 20 s: at most one ejection a minute after the first five", (_name, at) => {
    const flapping: Server = {
      probe: (atS) => at(atS).probe(atS),
      failureRate: (atS) => at(atS).failureRate(atS),
      seenByProbe: at(0).seenByProbe,
    };
    for (const size of [2, 4]) {
      const pool = new VirtualPool(servers(size, flapping), { seed: size, rps: 5, isolates });
      pool.run(3600);
      const times = pool.ejections("s0").filter((atS) => atS >= 300);
      expect(times.length).toBeGreaterThan(5);
      for (const [index, atS] of times.entries()) {
        if (index > 0) expect(atS - (times[index - 1] as number)).toBeGreaterThan(60);
      }
      expect(pool.ejections().length).toBe(pool.ejections("s0").length);
    }
  });

  test("three of four fail everything: two are ejected, never three, and the well one carries the rest", () => {
    const pool = new VirtualPool(
      servers(
        4,
        well,
        failing((atS) => (atS >= 40 ? 1 : 0)),
      ),
      { seed: 5, rps: 5, isolates },
    );
    pool.run(60);
    expect(names(4).filter((name) => pool.state(name) === "ejected").length).toBe(2);
    expect(pool.state("s0")).toBe("healthy");
    pool.run(600);
    expect(pool.state("s0")).toBe("healthy");
  });

  test("half of four fail 30 %: both are ejected, the others are not", () => {
    const bad = failing((atS) => (atS >= 40 ? 0.3 : 0));
    for (let seed = 1; seed <= 10; seed += 1) {
      const pool = new VirtualPool({ s0: bad, s1: bad, s2: well, s3: well }, { seed, rps: 5, isolates });
      pool.run(90, () => pool.ejections("s0").length > 0 && pool.ejections("s1").length > 0);
      expect([seed, pool.ejections("s0").length, pool.ejections("s1").length]).toEqual([seed, 1, 1]);
      expect([...pool.ejections("s2"), ...pool.ejections("s3")]).toEqual([]);
    }
  });

  test("one that fails 30 % and gets well takes its full share again within two minutes", () => {
    const pool = new VirtualPool(
      servers(
        4,
        failing((atS) => (atS >= 40 && atS < 60 ? 0.3 : 0)),
      ),
      {
        seed: 3,
        rps: 5,
        isolates,
      },
    );
    pool.run(60);
    expect(["ejected", "trial"]).toContain(pool.state("s0"));
    pool.run(180, () => pool.state("s0") === "healthy");
    expect(pool.state("s0")).toBe("healthy");
  });

  test("one whose `/ping` answers while it fails everything is out for nine tenths of an hour", () => {
    const pool = new VirtualPool(
      servers(
        3,
        failing((atS) => (atS >= 40 ? 1 : 0)),
      ),
      { seed: 2, rps: 5, isolates },
    );
    pool.run(3600);
    // Five failures and the two seconds of the accusation, then one a trial, a handful where tables are a moment old.
    expect(pool.failed["s0"]).toBeLessThan(150);
    expect(pool.ejections("s0").length).toBeLessThan(40);
  });

  test("a failure now and then ejects nobody in six hours", () => {
    const one = failing(() => 0.01);
    const pool = new VirtualPool(servers(3, one, one), { seed: 9, rps: 0.5, isolates });
    pool.run(6 * 3600);
    expect(pool.ejections()).toEqual([]);
  });
});

test("reports in merged form lead to the same ejections as outcomes one by one, within the age of a report", () => {
  const times = reportings.map((isolates) => {
    const pool = new VirtualPool(
      servers(
        3,
        failing((atS) => (atS >= 40 ? 1 : 0)),
      ),
      { seed: 1, rps: 20, isolates },
    );
    pool.run(60, () => pool.ejections().length > 0);
    return pool.atS;
  });
  for (const atS of times) {
    expect(atS).toBeGreaterThan(42);
    expect(atS).toBeLessThan(45);
  }
});
