import { describe, expect, test } from "vitest";
import { step } from "../../../src/shared/health/health.ts";
import { reaches } from "../../../src/shared/route.ts";
import { settings, start } from "./virtual-pool.ts";
import { Ward } from "./ward.ts";

/** Ways to bring `a` of a pool of three into each state. */
const states: Record<string, (ward: Ward) => void> = {
  healthy: () => undefined,
  suspect: (ward) => ward.fail("a"),
  ejected_by_probe: (ward) => ward.ejectByProbe("a"),
  ejected_by_answers: (ward) => ward.ejectByRequests("a"),
  trial: (ward) => {
    ward.ejectByRequests("a");
    ward.wait(30);
  },
  trial_under_way: (ward) => {
    ward.ejectByRequests("a");
    ward.wait(30);
    ward.hear({ kind: "assigned", backend: "a" });
  },
  recovering: (ward) => {
    ward.ejectByProbe("a");
    ward.wait(1);
    ward.probe("a", true);
  },
};

const events: Record<string, (ward: Ward) => void> = {
  success: (ward) => ward.succeed("a"),
  failure: (ward) => ward.fail("a"),
  five_failures: (ward) => {
    ward.fail("a", 5);
    ward.succeed("b");
    ward.wait(2);
  },
  probe_passes: (ward) => ward.probe("a", true),
  probe_fails: (ward) => ward.probe("a", false),
  assigned: (ward) => ward.hear({ kind: "assigned", backend: "a" }),
  a_second: (ward) => ward.wait(1),
  an_hour: (ward) => ward.wait(3600),
};

const order = ["success", "failure", "five_failures", "probe_passes", "probe_fails", "assigned", "a_second", "an_hour"];

/* eslint-disable -- a table is read by its columns */
// prettier-ignore
const table: Record<string, readonly string[]> = {
  //                    success       failure       five failures probe passes  probe fails  assigned      a second      an hour
  healthy:            ["healthy",    "suspect",    "ejected",    "healthy",    "ejected",   "healthy",    "healthy",    "healthy"],
  suspect:            ["suspect",    "suspect",    "ejected",    "suspect",    "ejected",   "suspect",    "suspect",    "suspect"],
  ejected_by_probe:   ["ejected",    "ejected",    "ejected",    "recovering", "ejected",   "ejected",    "ejected",    "ejected"],
  ejected_by_answers: ["ejected",    "ejected",    "ejected",    "ejected",    "ejected",   "ejected",    "ejected",    "trial"],
  trial:              ["recovering", "ejected",    "ejected",    "trial",      "ejected",   "trial",      "trial",      "trial"],
  trial_under_way:    ["recovering", "ejected",    "ejected",    "trial",      "ejected",   "trial",      "trial",      "trial"],
  recovering:         ["recovering", "recovering", "ejected",    "recovering", "ejected",   "recovering", "recovering", "healthy"],
};
/* eslint-enable */

const rows = Object.entries(table).flatMap(([from, row]) =>
  row.map((to, column) => [from, order[column] as string, to] as const),
);

describe("every state and every event", () => {
  test.each(rows)("%s, %s → %s", (from, event, to) => {
    const ward = new Ward("a", "b", "c");
    states[from]?.(ward);
    // Past the moment of the change itself: a passing probe must be younger than the ejection it ends.
    ward.nowMs += 1;
    events[event]?.(ward);
    expect(ward.state("a")).toBe(to);
  });

  test("what each state means for a pick", () => {
    const meaning = Object.entries(states).map(([name, enter]) => {
      const ward = new Ward("a", "b", "c");
      enter(ward);
      return [name, ward.mayBePicked("a"), ward.share("a")];
    });
    expect(meaning).toEqual([
      ["healthy", true, 1],
      ["suspect", true, 1],
      ["ejected_by_probe", false, 0],
      ["ejected_by_answers", false, 0],
      ["trial", true, 0],
      ["trial_under_way", false, 0],
      ["recovering", true, 0.1],
    ]);
  });
});

describe("members", () => {
  test("new ones are healthy, unproven and probed at once", () => {
    const ward = new Ward("a", "b");
    expect(ward.probeNow).toEqual(["a", "b"]);
    expect([ward.state("a"), ward.of("a").probe, ward.mayBePicked("a"), ward.share("a")]).toEqual([
      "healthy",
      "unknown",
      true,
      1,
    ]);
    ward.hear({ kind: "members", names: ["a", "b", "c"] });
    expect(ward.probeNow).toEqual(["c"]);
  });

  test("those who stay keep what is known of them, those who leave are forgotten", () => {
    const ward = new Ward("a", "b", "c");
    ward.ejectByProbe("a");
    ward.hear({ kind: "members", names: ["a", "c", "d"] });
    expect(Object.keys(ward.pool)).toEqual(["a", "c", "d"]);
    expect(ward.state("a")).toBe("ejected");
    ward.hear({ kind: "members", names: ["c", "d"] });
    ward.hear({ kind: "members", names: ["a", "c", "d"] });
    expect(ward.state("a")).toBe("healthy");
  });

  test("the same names again change nothing", () => {
    const ward = new Ward("a", "b");
    const before = ward.pool;
    ward.hear({ kind: "members", names: ["b", "a"] });
    expect(ward.pool).toBe(before);
  });

  test("a pool that shrinks gets back those that requests alone had ejected, beyond half of it", () => {
    const ward = new Ward("a", "b", "c", "d");
    ward.ejectByRequests("a");
    ward.ejectByRequests("b");
    ward.hear({ kind: "members", names: ["a", "b", "c"] });
    expect([ward.state("a"), ward.state("b"), ward.state("c")]).toEqual(["recovering", "ejected", "healthy"]);
  });

  test("a pool that shrinks to those whose probes fail ejects none of them", () => {
    const ward = new Ward("a", "b");
    ward.ejectByProbe("a");
    ward.hear({ kind: "members", names: ["a"] });
    expect(ward.state("a")).toBe("suspect");
  });

  test("events of unknown backends, also of names that every object has, change nothing", () => {
    const ward = new Ward("a");
    const before = ward.pool;
    for (const name of ["gone", "constructor", "__proto__", "toString"]) {
      ward.fail(name);
      ward.probe(name, false);
      ward.hear({ kind: "assigned", backend: name });
    }
    expect(ward.pool).toBe(before);
  });

  test("a backend may bear any name", () => {
    const ward = new Ward("constructor", "b");
    ward.ejectByProbe("constructor");
    expect(ward.state("constructor")).toBe("ejected");
  });
});

describe("one broken connection of a cheap request, which may have been idle for too long", () => {
  test("has its backend probed and suspects nobody, whether the next one has succeeded yet or not", () => {
    for (const successes of [0, 1, 200]) {
      const ward = new Ward("a", "b");
      ward.nowMs += 1;
      ward.report("a", successes, 1, successes === 0 ? 1 : 0, true);
      expect([ward.state("a"), ward.probeNow]).toEqual(["healthy", ["a"]]);
      ward.probe("a", true);
      ward.wait(31);
      ward.report("a", successes, 1, 0, true);
      expect(ward.state("a")).toBe("healthy");
      expect(ward.transitions).toEqual([]);
    }
  });

  test("is not alone with another one in the window, in the same report or later", () => {
    const ward = new Ward("a", "b");
    ward.report("a", 10, 2, 0, true);
    ward.report("b", 0, 1, 1, true);
    ward.wait(29);
    ward.report("b", 10, 1, 0, true);
    expect([ward.state("a"), ward.state("b")]).toEqual(["suspect", "suspect"]);
  });

  test("is more where the probe fails as well, or where it may have ended a generation", () => {
    const ward = new Ward("a", "b");
    ward.probe("b", true);
    ward.fail("a", 1, true);
    ward.probe("a", false);
    expect(ward.state("a")).toBe("ejected");
    ward.fail("b", 1, true, "jimeng");
    expect(ward.state("b")).toBe("suspect");
  });
});

describe("a suspect", () => {
  test("is probed at once", () => {
    const ward = new Ward("a", "b");
    ward.probe("a", true);
    ward.nowMs += 1;
    ward.fail("a");
    expect([ward.state("a"), ward.probeNow]).toEqual(["suspect", ["a"]]);
  });

  test("that goes on failing where a probe can see it is probed again, at most once a second", () => {
    const ward = new Ward("a", "b");
    ward.succeed("b", 50);
    let probes = 0;
    for (let request = 0; request < 40; request += 1) {
      ward.nowMs += 100;
      ward.report("a", 2, 1, 1, true);
      probes += ward.probeNow.length;
    }
    expect(probes).toBeGreaterThanOrEqual(3);
    expect(probes).toBeLessThanOrEqual(5);
  });

  test("that fails where no probe can see it is not probed over and over", () => {
    const ward = new Ward("a", "b");
    ward.fail("a");
    ward.nowMs += 5_000;
    ward.fail("a");
    expect(ward.probeNow).toEqual([]);
  });

  test("is still picked, with all of its share: one error ejects nobody", () => {
    const ward = new Ward("a", "b");
    ward.fail("a");
    ward.wait(600);
    expect([ward.state("a"), ward.mayBePicked("a"), ward.share("a")]).toEqual(["suspect", true, 1]);
  });

  test("is cleared by a success, once its failure has left the window", () => {
    const ward = new Ward("a", "b");
    ward.fail("a");
    ward.succeed("a");
    ward.wait(29);
    expect(ward.state("a")).toBe("suspect");
    ward.wait(1);
    expect(ward.state("a")).toBe("healthy");
  });

  test("is cleared by a passing probe only if a probe could have seen the failure", () => {
    for (const seenByProbe of [true, false]) {
      const ward = new Ward("a", "b");
      ward.fail("a", 1, seenByProbe);
      ward.probe("a", true);
      ward.wait(30);
      expect(ward.state("a")).toBe(seenByProbe ? "healthy" : "suspect");
    }
  });

  test("does not blink while it fails now and then", () => {
    const ward = new Ward("a", "b");
    for (let round = 0; round < 100; round += 1) {
      ward.report("a", 20, 1, 0);
      ward.succeed("b");
      ward.wait(10);
    }
    expect(ward.transitions).toHaveLength(1);
  });
});

describe("a failed probe", () => {
  test("ejects at once when another backend's passes", () => {
    const ward = new Ward("a", "b", "c");
    const { transitions, probeNow } = ward.hear({ kind: "probe", backend: "a", ok: false, reason: "refused" });
    expect(transitions).toEqual([{ backend: "a", from: "healthy", to: "suspect", reason: "probe_failed:refused" }]);
    expect(probeNow).toEqual(["b", "c"]);
    expect(ward.hear({ kind: "probe", backend: "c", ok: true, reason: "ok" }).transitions).toEqual([
      { backend: "a", from: "suspect", to: "ejected", reason: "probe_failed:refused" },
    ]);
  });

  test("that is old is repeated before it ejects: when an outage ends, the first to return does not condemn the others", () => {
    const ward = new Ward("a", "b", "c");
    for (const name of ["a", "b", "c"]) ward.probe(name, false, false);
    ward.wait(8);
    ward.hear({ kind: "probe", backend: "a", ok: true, reason: "ok" });
    expect([ward.state("b"), ward.probeNow]).toEqual(["suspect", ["b", "c"]]);
    ward.probe("b", true);
    ward.probe("c", false);
    expect([ward.state("b"), ward.state("c")]).toEqual(["suspect", "ejected"]);
  });

  test("that is older than five seconds when another's passes is repeated, for the proof was long on its way", () => {
    const ward = new Ward("a", "b");
    ward.hear({ kind: "probe", backend: "b", ok: false, reason: "refused" });
    ward.wait(8);
    ward.hear({ kind: "probe", backend: "a", ok: true, reason: "ok" });
    expect([ward.state("b"), ward.probeNow]).toEqual(["suspect", ["b"]]);
    ward.probe("b", false);
    expect(ward.state("b")).toBe("ejected");
  });

  test("asks no more than three others, those that succeeded last", () => {
    const ward = new Ward("a", "b", "c", "d", "e", "f");
    for (const name of ["d", "b", "f"]) {
      ward.nowMs += 1_000;
      ward.succeed(name);
    }
    ward.hear({ kind: "probe", backend: "a", ok: false, reason: "refused" });
    expect(ward.probeNow).toEqual(["f", "b", "d"]);
  });

  test("is outside the cap: three of four dead are out, and the last is picked alone", () => {
    const ward = new Ward("a", "b", "c", "d");
    for (const name of ["a", "b", "c"]) ward.probe(name, false, name === "a");
    ward.probe("d", true);
    expect(["a", "b", "c", "d"].map((name) => ward.state(name))).toEqual(["ejected", "ejected", "ejected", "healthy"]);
  });

  test("ejects nobody while every other fails as well", () => {
    const ward = new Ward("a", "b", "c");
    for (let round = 0; round < 10; round += 1) {
      for (const name of ["a", "b", "c"]) ward.probe(name, false, false);
      ward.wait(10);
    }
    expect(ward.transitions.map((transition) => transition.to)).toEqual(["suspect", "suspect", "suspect"]);
    expect(["a", "b", "c"].map((name) => ward.share(name))).toEqual([1, 1, 1]);
  });

  test("shows its backend down, whether it is ejected or up only for want of a better", () => {
    const alone = new Ward("a");
    alone.probe("a", false);
    expect([alone.state("a"), alone.mayBePicked("a")]).toEqual(["suspect", false]);
    alone.probe("a", true);
    expect(alone.mayBePicked("a")).toBe(true);
    const ward = new Ward("a", "b", "c");
    for (const name of ["a", "b", "c"]) ward.probe(name, false, false);
    expect(["a", "b", "c"].map((name) => ward.mayBePicked(name))).toEqual([false, false, false]);
  });

  test("shows nobody down whose requests succeed all the same, as when the health path is wrong for all", () => {
    const ward = new Ward("a", "b");
    for (const name of ["a", "b"]) ward.probe(name, false, false);
    ward.nowMs += 1_000;
    ward.succeed("a");
    expect(ward.mayBePicked("a")).toBe(false);
    ward.nowMs += 1_000;
    ward.succeed("a");
    expect([ward.mayBePicked("a"), ward.mayBePicked("b")]).toEqual([true, false]);
    ward.wait(60);
    ward.probe("a", false);
    expect(ward.mayBePicked("a")).toBe(true);
    ward.fail("a");
    expect(ward.mayBePicked("a")).toBe(false);
  });

  test("of the last that lived brings the others back as a last resort, and their ejections don't count", () => {
    const ward = new Ward("a", "b", "c");
    ward.ejectByProbe("a");
    ward.wait(5);
    ward.probe("b", false);
    expect([ward.state("a"), ward.state("b")]).toEqual(["ejected", "ejected"]);
    ward.wait(5);
    ward.probe("c", false);
    expect(["a", "b", "c"].map((name) => [ward.state(name), ward.of(name).ejections.length])).toEqual([
      ["suspect", 0],
      ["suspect", 0],
      ["suspect", 0],
    ]);
  });

  test("starts no storm of probes when all are dead: nobody who has failed is asked", () => {
    const ward = new Ward("a", "b", "c");
    for (const name of ["a", "b", "c"]) ward.probe(name, false, false);
    for (const name of ["a", "b", "c"]) {
      ward.hear({ kind: "probe", backend: name, ok: false, reason: "refused" });
      expect(ward.probeNow).toEqual([]);
    }
  });

  test("of the only backend leaves it to be picked: there is none better", () => {
    const ward = new Ward("a");
    for (let round = 0; round < 20; round += 1) {
      ward.probe("a", false);
      ward.fail("a", 10, true);
      ward.wait(10);
    }
    expect([ward.state("a"), ward.share("a")]).toEqual(["suspect", 1]);
    ward.probe("a", true);
    ward.wait(31);
    expect(ward.state("a")).toBe("healthy");
  });
});

describe("an ejection that a probe can end", () => {
  test("ends with the first passing probe, the first time", () => {
    for (const enter of [(ward: Ward) => ward.ejectByProbe("a"), (ward: Ward) => ward.ejectByRequests("a", true)]) {
      const ward = new Ward("a", "b", "c");
      enter(ward);
      ward.wait(1);
      ward.probe("a", true);
      expect(ward.state("a")).toBe("recovering");
    }
  });

  test("is not ended by a probe that passed before it", () => {
    const ward = new Ward("a", "b");
    ward.probe("a", true);
    ward.ejectByRequests("a", true);
    ward.wait(3600);
    expect(ward.state("a")).toBe("ejected");
  });

  test("lasts 30 s × (n − 1) from the second within ten minutes on, at most 300 s", () => {
    const ward = new Ward("a", "b");
    const lengths: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      ward.ejectByProbe("a");
      while (ward.state("a") === "ejected") {
        ward.wait(1);
        ward.probe("a", true);
      }
      lengths.push((ward.nowMs - (ward.of("a").ejections.at(-1) ?? 0)) / 1000);
    }
    expect(lengths).toEqual([1, 30, 60, 90, 120, 150]);
  });

  test("that passed its probe before its time is over ends on time, without another probe", () => {
    const ward = new Ward("a", "b");
    ward.ejectByProbe("a");
    ward.wait(1);
    ward.probe("a", true);
    ward.ejectByProbe("a");
    ward.wait(3);
    ward.probe("a", true);
    expect([ward.state("a"), ward.dueInS("a")]).toEqual(["ejected", 27]);
    ward.wait(27);
    expect(ward.state("a")).toBe("recovering");
  });

  test("is forgiven after ten minutes: the next is a first one again", () => {
    const ward = new Ward("a", "b");
    for (let round = 0; round < 3; round += 1) {
      ward.ejectByProbe("a");
      ward.wait(61);
      ward.probe("a", true);
    }
    ward.wait(600);
    ward.ejectByProbe("a");
    ward.wait(1);
    ward.probe("a", true);
    expect(ward.state("a")).toBe("recovering");
  });
});

describe("an ejection earned by answers", () => {
  test("is not ended by any number of passing probes: `/ping` answers while Jimeng is down", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a");
    for (let probe = 0; probe < 29; probe += 1) {
      ward.wait(1);
      ward.probe("a", true);
    }
    expect(ward.state("a")).toBe("ejected");
    ward.wait(1);
    ward.probe("a", true);
    ward.wait(600);
    expect(ward.state("a")).toBe("trial");
  });

  test("is not ended by a passing probe because the last of its failures was of the kind that a probe sees", () => {
    const ward = new Ward("a", "b");
    ward.fail("a", 4);
    ward.fail("a", 1, true);
    ward.succeed("b");
    ward.wait(2);
    expect(ward.state("a")).toBe("ejected");
    ward.probe("a", true);
    expect(ward.state("a")).toBe("ejected");
  });

  test("is tried by one request: meanwhile it may not be picked, after its success it may", () => {
    const ward = new Ward("a", "b");
    states["trial"]?.(ward);
    expect(ward.mayBePicked("a")).toBe(true);
    ward.hear({ kind: "assigned", backend: "a" });
    expect(ward.mayBePicked("a")).toBe(false);
    ward.wait(20);
    ward.succeed("a");
    expect([ward.state("a"), ward.mayBePicked("a")]).toEqual(["recovering", true]);
  });

  test("whose trial nobody hears of again is tried anew after a minute", () => {
    const ward = new Ward("a", "b");
    states["trial_under_way"]?.(ward);
    ward.wait(59);
    expect(ward.mayBePicked("a")).toBe(false);
    expect(ward.dueInS("a")).toBe(1);
    ward.wait(1);
    expect([ward.state("a"), ward.mayBePicked("a")]).toEqual(["trial", true]);
  });

  test("grows with each failed trial by 30 s, to 300 s at most, and shrinks as the old ones are forgiven", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a");
    const lengths: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      while (ward.state("a") === "ejected") ward.wait(1);
      lengths.push(ward.outForS("a"));
      ward.fail("a");
    }
    // Six of them fill ten minutes; from then on each forgives one.
    expect(lengths.slice(0, 6)).toEqual([30, 60, 90, 120, 150, 180]);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(300);
    expect(lengths.slice(6).every((length) => length >= 90 && length <= 210)).toBe(true);
  });

  test("stays one when its server dies as well, and waits for the server's return", () => {
    const ward = new Ward("a", "b", "c");
    ward.ejectByRequests("a");
    ward.wait(1);
    ward.probe("a", false);
    ward.wait(300);
    expect(ward.state("a")).toBe("ejected");
    ward.probe("a", true);
    expect(ward.state("a")).toBe("trial");
  });

  test("keeps its count of failures out of the comparison once it is over", () => {
    const ward = new Ward("a", "b");
    states["trial"]?.(ward);
    ward.succeed("a");
    expect([ward.said("a").consecutiveFailures, ward.said("a").counts]).toEqual([0, []]);
    ward.fail("a");
    ward.succeed("b");
    ward.wait(2);
    expect(ward.state("a")).toBe("recovering");
  });
});

describe("requests that a server answers by itself", () => {
  test("don't hide that its generations fail: five in a row eject it, whatever succeeds in between", () => {
    const ward = new Ward("a", "b");
    for (let request = 0; request < 5; request += 1) {
      ward.nowMs += 5_000;
      ward.succeed("b", 1, "jimeng");
      ward.fail("a", 1, false, "jimeng");
      for (const name of ["a", "b"]) ward.succeed(name, 25);
    }
    ward.wait(2);
    expect(ward.state("a")).toBe("ejected");
  });

  test("don't dilute the rate at which its generations fail", () => {
    const ward = new Ward("a", "b", "c", "d");
    for (let second = 0; second < 20; second += 1) {
      for (const name of ["a", "b", "c", "d"]) ward.succeed(name, 100);
      for (const name of ["b", "c", "d"]) ward.succeed(name, 5, "jimeng");
      ward.report("a", 3, 2, 0, false, "jimeng");
      ward.wait(1);
    }
    expect(ward.transitions.filter((one) => one.to === "ejected").map((one) => one.backend)).toEqual(["a"]);
  });

  test("don't end an ejection that generations earned, any more than `/ping` does; a generation does", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a", false, "jimeng");
    ward.wait(30);
    expect(ward.state("a")).toBe("trial");
    ward.succeed("a", 50);
    ward.probe("a", true);
    expect(ward.state("a")).toBe("trial");
    ward.succeed("a", 1, "jimeng");
    expect(ward.state("a")).toBe("recovering");
  });

  test("and fail alone eject it, and one of their like ends that: so does a generation", () => {
    for (const reach of reaches) {
      const ward = new Ward("a", "b");
      ward.ejectByRequests("a");
      ward.wait(30);
      ward.succeed("a", 1, reach);
      expect(ward.state("a")).toBe("recovering");
    }
  });

  test("succeed everywhere while Jimeng is down for all: none is ejected", () => {
    const names = ["a", "b", "c"];
    const ward = new Ward(...names);
    for (let second = 0; second < 120; second += 1) {
      for (const name of names) {
        ward.succeed(name, 20);
        ward.fail(name, 2, false, "jimeng");
      }
      ward.wait(1);
    }
    expect(ward.transitions.filter((transition) => transition.to === "ejected")).toEqual([]);
  });
});

describe("failures in a row", () => {
  test.each([0.1, 1, 20, 1000])("eject after five, whatever the request rate (%d/s)", (rps) => {
    const ward = new Ward("a", "b");
    for (let request = 0; request < 5; request += 1) {
      ward.nowMs += 1000 / rps;
      ward.succeed("b");
      ward.fail("a");
    }
    ward.wait(2);
    expect(ward.transitions.at(-1)).toEqual({
      backend: "a",
      from: "suspect",
      to: "ejected",
      reason: "consecutive_failures:fault",
    });
  });

  test("eject the backend that alone is asked: silence of the others is no excuse", () => {
    const ward = new Ward("a", "b");
    ward.fail("a", 5);
    ward.wait(2);
    expect(ward.state("a")).toBe("ejected");
  });

  test("of four are not enough, and a success in between starts the count again", () => {
    const ward = new Ward("a", "b");
    for (let round = 0; round < 20; round += 1) {
      ward.fail("a", 4);
      ward.succeed("a", 4);
      ward.fail("b", 4);
      ward.succeed("b", 4);
      ward.wait(10);
    }
    expect(ward.transitions.filter((transition) => transition.to === "ejected")).toEqual([]);
  });

  test("count in merged reports: only those with no success after them", () => {
    const ward = new Ward("a", "b");
    ward.report("a", 10, 4, 3);
    expect(ward.said("a").consecutiveFailures).toBe(3);
    ward.report("a", 0, 2, 2);
    expect(ward.said("a").consecutiveFailures).toBe(5);
    ward.report("a", 1, 9, 0);
    expect(ward.said("a").consecutiveFailures).toBe(0);
  });

  test("that all have eject none, in whichever order the reports come", () => {
    const names = ["a", "b", "c", "d"];
    for (let turn = 0; turn < names.length; turn += 1) {
      const ward = new Ward(...names);
      for (const name of names) ward.succeed(name, 100);
      const reported = [...names.slice(turn), ...names.slice(0, turn)];
      for (let second = 0; second < 120; second += 1) {
        for (const name of reported) ward.report(name, 0, 30, 30);
        ward.wait(1);
      }
      expect(ward.transitions.filter((transition) => transition.to === "ejected")).toEqual([]);
    }
  });

  test("of all that are up bring back those ejected by requests, and while all fail none is ejected again", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a");
    ward.fail("b", 5);
    expect([ward.state("a"), ward.state("b")]).toEqual(["suspect", "suspect"]);
    for (let second = 0; second < 60; second += 1) {
      ward.fail("a");
      ward.fail("b");
      ward.wait(1);
    }
    expect([ward.state("a"), ward.state("b")]).toEqual(["suspect", "suspect"]);
  });

  test("of another kind than those that ejected one bring nobody back: that isn't failing alike", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a", false, "jimeng");
    ward.fail("b", 5);
    expect(ward.state("a")).toBe("ejected");
    ward.fail("b", 5, false, "jimeng");
    expect(ward.state("a")).toBe("suspect");
  });

  test("never take out more than half of the pool", () => {
    for (const size of [1, 2, 3, 4, 5, 8, 20]) {
      const names = Array.from({ length: size }, (_, index) => `s${index}`);
      const ward = new Ward(...names);
      for (let second = 0; second < 60; second += 1) {
        for (const name of names.slice(0, -1)) ward.fail(name, 5);
        ward.succeed(names.at(-1) as string, 5);
        ward.wait(1);
      }
      const out = names.filter((name) => ward.state(name) === "ejected");
      expect(out.length).toBe(Math.floor(size / 2));
    }
  });
});

describe("success rates", () => {
  const names = ["a", "b", "c", "d"];

  function ejected(ward: Ward): string[] {
    return ward.transitions.filter((one) => one.to === "ejected").map((one) => `${one.backend} ${one.reason}`);
  }

  test("after an outage of all eject none of those that are asked less since and keep the worse figures longer", () => {
    const ward = new Ward(...names);
    for (let second = 0; second < 30; second += 1) {
      for (const name of names) {
        if (second < 6) ward.fail(name, 5);
        else ward.succeed(name, name === "a" ? 1 : 20);
      }
      ward.wait(1);
    }
    expect(ejected(ward)).toEqual([]);
  });

  test("eject one that goes on failing when the others are well again", () => {
    const ward = new Ward(...names);
    for (let second = 0; second < 26; second += 1) {
      for (const name of names) {
        if (second < 6) ward.fail(name, 5);
        else if (name === "a") ward.report(name, 3, 2, 0);
        else ward.succeed(name, 5);
      }
      ward.wait(1);
    }
    expect(ejected(ward)).toEqual(["a success_rate:fault"]);
  });

  test("say nothing below twenty outcomes, and nothing against a silent rest", () => {
    const few = new Ward(...names);
    for (let second = 0; second < 6; second += 1) {
      few.report("a", 1, 2, 0);
      for (const name of names.slice(1)) few.succeed(name, 50);
      few.wait(1);
    }
    expect(ejected(few)).toEqual([]);
    const silent = new Ward(...names);
    for (let second = 0; second < 60; second += 1) {
      silent.report("a", 10, 40, 0);
      silent.wait(1);
    }
    expect(ejected(silent)).toEqual([]);
  });
});

describe("the slow start", () => {
  test("grows from a tenth to all in 30 s, in proportion to time", () => {
    const ward = new Ward("a", "b");
    states["recovering"]?.(ward);
    const shares = [0, 1, 3, 6, 15, 29].map((atS) => {
      const then = new Ward("a", "b");
      states["recovering"]?.(then);
      then.nowMs += atS * 1000;
      return then.share("a");
    });
    expect(shares).toEqual([0.1, 0.1, 0.1, 0.2, 0.5, 29 / 30]);
    expect(ward.dueInS("a")).toBe(30);
    ward.wait(30);
    expect([ward.state("a"), ward.share("a")]).toEqual(["healthy", 1]);
  });

  test("is not granted to the new, nor at the start of the process", () => {
    expect(new Ward("a", "b").share("a")).toBe(1);
  });

  test("of no length is over at once", () => {
    const instant = { ...settings, EJECTION: { ...settings.EJECTION, slowStart: 0 } };
    const ward = new Ward("a", "b");
    ward.ejectByProbe("a");
    const { pool } = step(ward.pool, { kind: "probe", backend: "a", ok: true, reason: "ok" }, start + 1000, instant);
    expect(pool["a"]?.state).toBe("healthy");
  });

  test("ends as a suspicion if its last request failed", () => {
    const ward = new Ward("a", "b");
    states["recovering"]?.(ward);
    ward.fail("a");
    ward.wait(30);
    expect(ward.state("a")).toBe("suspect");
  });
});

describe("time", () => {
  test("every change that time makes is announced, and a tick then makes it", () => {
    for (const [name, enter] of Object.entries(states)) {
      const ward = new Ward("a", "b", "c");
      enter(ward);
      const dueS = ward.dueInS("a");
      if (dueS === null) continue;
      const before = ward.of("a");
      ward.wait(dueS - 0.001);
      expect([name, ward.of("a")]).toEqual([name, before]);
      ward.wait(0.001);
      expect([name, ward.of("a")]).not.toEqual([name, before]);
    }
  });

  test("a tick with nothing due changes nothing", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a");
    const before = ward.pool;
    ward.wait(1);
    expect(ward.pool).toBe(before);
  });

  test("a restart goes on from JSON: an ejection keeps its time", () => {
    const ward = new Ward("a", "b");
    ward.ejectByRequests("a");
    ward.pool = JSON.parse(JSON.stringify(ward.pool)) as typeof ward.pool;
    ward.wait(29);
    expect(ward.state("a")).toBe("ejected");
    ward.wait(1);
    expect(ward.state("a")).toBe("trial");
  });
});
