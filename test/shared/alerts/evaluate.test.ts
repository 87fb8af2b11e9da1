import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AlertName, AlertRule } from "../../../src/shared/config/config.ts";
import { alertNames } from "../../../src/shared/config/config.ts";
import { defaults } from "../../../src/shared/config/defaults.ts";
import type { FleetObservation } from "../../../src/shared/alerts/conditions.ts";
import { evaluate, firingByRule, noAlerts, readAlertState } from "../../../src/shared/alerts/evaluate.ts";
import type { AlertState, Notification } from "../../../src/shared/alerts/evaluate.ts";

type Rules = Record<AlertName, AlertRule>;
const allRules: Rules = { ...defaults.ALERTS.rules };

/** Only these rules, with these values over their defaults. */
function only(given: Partial<Record<AlertName, Partial<AlertRule>>>): Rules {
  const entries = alertNames.map((name) => [name, { ...allRules[name], enabled: name in given, ...given[name] }]);
  return Object.fromEntries(entries) as Rules;
}

const backend = (name: string, healthy: boolean, priority = 1) =>
  ({ name, priority, healthy, operatorState: "active", state: healthy ? "healthy" : "ejected" }) as const;

const quiet: FleetObservation = {
  backends: [backend("a", true), backend("b", true)],
  lastMinute: { requests: 0, failed: 0 },
  cheapP95Ms: null,
  blockedClients: 0,
  alarmLateMs: 0,
};
const down = (...names: string[]): FleetObservation => ({
  ...quiet,
  backends: ["a", "b"].map((name) => backend(name, !names.includes(name))),
});

/** Evaluates a sequence of [second, observation], through JSON each time as if the object had been restarted in between. */
function run(
  rules: Rules,
  steps: readonly (readonly [second: number, seen: FleetObservation])[],
  state: AlertState = noAlerts,
) {
  const told: Notification[] = [];
  let current = state;
  for (const [second, seen] of steps) {
    const evaluation = evaluate(rules, seen, current, second * 1000);
    told.push(...evaluation.notifications);
    current = readAlertState(JSON.parse(JSON.stringify(evaluation.state)));
  }
  return {
    told,
    state: current,
    brief: told.map(
      (alert) => `${alert.atMs / 1000} ${alert.rule}${alert.subject && `:${alert.subject}`} ${alert.status}`,
    ),
  };
}

describe("one outage, two messages", () => {
  const rules = only({ backend_down: { for: 30 } });

  test("down once when it has lasted, resolved once when it has been over as long, restarts in between or not", () => {
    const steps = Array.from(
      { length: 40 },
      (_, index) => [index * 10, index >= 2 && index < 20 ? down("b") : quiet] as const,
    );
    expect(run(rules, steps).brief).toEqual(["50 backend_down:b firing", "230 backend_down:b resolved"]);
  });

  test("both carry the outage's beginning, and an id of their own", () => {
    const { told } = run(rules, [
      [0, down("b")],
      [30, down("b")],
      [40, quiet],
      [70, quiet],
    ]);
    expect(told.map(({ id, sinceMs }) => [id, sinceMs])).toEqual([
      ["backend_down:b@0:firing", 0],
      ["backend_down:b@0:resolved", 0],
    ]);
  });

  test("a flicker shorter than `for` is not told", () => {
    expect(
      run(rules, [
        [0, down("b")],
        [20, down("b")],
        [25, quiet],
        [30, down("b")],
        [55, down("b")],
        [58, quiet],
      ]).brief,
    ).toEqual([]);
  });

  test("a moment of health inside an outage doesn't end it", () => {
    expect(
      run(rules, [
        [0, down("b")],
        [30, down("b")],
        [40, quiet],
        [50, down("b")],
        [60, down("b")],
        [200, down("b")],
      ]).brief,
    ).toEqual(["30 backend_down:b firing"]);
  });

  test("with `for` 0 both are told at once", () => {
    expect(
      run(only({ backend_down: { for: 0 } }), [
        [0, down("b")],
        [1, quiet],
      ]).brief,
    ).toEqual(["0 backend_down:b firing", "1 backend_down:b resolved"]);
  });

  test("good news waits a minute at most", () => {
    expect(
      run(only({ backend_down: { for: 3600 } }), [
        [0, down("b")],
        [3600, down("b")],
        [3700, quiet],
        [3760, quiet],
      ]).brief,
    ).toEqual(["3600 backend_down:b firing", "3760 backend_down:b resolved"]);
  });

  test("nobody looking for an hour loses nothing: one down at the next look", () => {
    expect(
      run(rules, [
        [0, down("b")],
        [3600, down("b")],
      ]).brief,
    ).toEqual(["3600 backend_down:b firing"]);
  });

  test("two backends are two outages", () => {
    expect(
      run(rules, [
        [0, down("a")],
        [10, down("a", "b")],
        [40, down("a", "b")],
        [50, down("b")],
        [80, down("b")],
      ]).brief,
    ).toEqual(["40 backend_down:a firing", "40 backend_down:b firing", "80 backend_down:a resolved"]);
  });

  test("the same, with any times and any restarts: down and resolved alternate, beginning with down", () => {
    const step = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.subarray(["a", "b"]));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 10, 30, 90), (steps, hold) => {
        let second = 0;
        const timed = steps.map(([wait, names]) => [(second += wait), down(...names)] as const);
        const { told, state } = run(only({ backend_down: { for: hold } }), timed);
        for (const name of ["a", "b"]) {
          const statuses = told.filter((alert) => alert.subject === name).map((alert) => alert.status);
          expect(statuses).toEqual(statuses.map((_, index) => (index % 2 === 0 ? "firing" : "resolved")));
          expect(state.alerts[`backend_down:${name}`]?.phase === "firing").toBe(statuses.length % 2 === 1);
        }
        expect(new Set(told.map((alert) => alert.id)).size).toBe(told.length);
      }),
    );
  });

  test("against a naive oracle: a down is told when every look of the last `for` seconds saw it down", () => {
    const step = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 60 }), (steps, hold) => {
        let second = 0;
        const looks = steps.map(([wait, isDown]) => ({ second: (second += wait), isDown }));
        const expected: string[] = [];
        let firing = false;
        for (const [index, look] of looks.entries()) {
          const run = looks.slice(0, index + 1).toReversed();
          const other = run.findIndex(({ isDown }) => isDown !== look.isDown);
          const since = run[(other === -1 ? run.length : other) - 1]?.second ?? 0;
          const lasted = look.second - since >= hold;
          if (look.isDown !== firing && lasted) {
            firing = look.isDown;
            expected.push(`${look.second} backend_down:b ${firing ? "firing" : "resolved"}`);
          }
        }
        const timed = looks.map((look) => [look.second, look.isDown ? down("b") : quiet] as const);
        expect(run(only({ backend_down: { for: hold } }), timed).brief).toEqual(expected);
      }),
    );
  });
});

describe("when to look again", () => {
  const rules = only({ backend_down: { for: 30 } });

  test("a waiting alert says when it will be due, and is told then", () => {
    const begun = evaluate(rules, down("b"), noAlerts, 1000);
    expect(begun.dueMs).toBe(31_000);
    const firing = evaluate(rules, down("b"), begun.state, 31_000);
    expect(firing.notifications).toHaveLength(1);
    expect(firing.dueMs).toBeNull();
    const clearing = evaluate(rules, quiet, firing.state, 40_000);
    expect(clearing.dueMs).toBe(70_000);
    expect(evaluate(rules, quiet, clearing.state, 70_000)).toMatchObject({
      notifications: [{ status: "resolved" }],
      dueMs: null,
    });
  });

  test("a clock set back delays nothing by more than the time it was to wait", () => {
    const begun = evaluate(rules, down("b"), noAlerts, 1_000_000);
    const back = evaluate(rules, down("b"), begun.state, 0);
    expect(back.dueMs).toBe(30_000);
    const firing = evaluate(rules, down("b"), back.state, 30_000);
    expect(firing.notifications).toHaveLength(1);
    const clearing = evaluate(rules, quiet, firing.state, 2_000_000);
    expect(evaluate(rules, quiet, clearing.state, 100_000).dueMs).toBe(130_000);
  });
});

describe("backend_down", () => {
  test("an operator's drain or disabling is no outage, and ends one", () => {
    const taken = (operatorState: "draining" | "disabled") => ({
      ...quiet,
      backends: [backend("a", true), { ...backend("b", false), operatorState }],
    });
    const rules = only({ backend_down: { for: 0 } });
    expect(
      run(rules, [
        [0, taken("disabled")],
        [9, taken("draining")],
      ]).brief,
    ).toEqual([]);
    expect(
      run(rules, [
        [0, down("b")],
        [9, taken("disabled")],
      ]).brief,
    ).toEqual(["0 backend_down:b firing", "9 backend_down:b resolved"]);
  });

  test("a backend that leaves the configuration ends its alert at once", () => {
    const without = { ...quiet, backends: [backend("a", true)] };
    expect(
      run(only({ backend_down: { for: 30 } }), [
        [0, down("b")],
        [30, down("b")],
        [31, without],
      ]).brief,
    ).toEqual(["30 backend_down:b firing", "31 backend_down:b resolved"]);
  });

  test("with a threshold of 2, one down is not told; of two each is, until it is up itself", () => {
    const rules = only({ backend_down: { for: 0, threshold: 2 } });
    expect(
      run(rules, [
        [0, down("a")],
        [1, down("a", "b")],
        [2, down("b")],
        [3, quiet],
      ]).brief,
    ).toEqual([
      "1 backend_down:a firing",
      "1 backend_down:b firing",
      "2 backend_down:a resolved",
      "3 backend_down:b resolved",
    ]);
  });

  test("a rule switched off while it fires is resolved and stays silent", () => {
    const { state } = run(only({ backend_down: { for: 0 } }), [[0, down("b")]]);
    expect(
      run(
        only({}),
        [
          [1, down("b")],
          [2, down("b")],
        ],
        state,
      ).brief,
    ).toEqual(["1 backend_down:b resolved"]);
  });
});

describe("the other rules", () => {
  const tiers = (first: boolean[], second: boolean[]): FleetObservation => ({
    ...quiet,
    backends: [
      ...first.map((up, index) => backend(`p1-${index}`, up, 1)),
      ...second.map((up, index) => backend(`p2-${index}`, up, 2)),
    ],
  });

  test("tier_down: when the last of a tier is gone, by tier", () => {
    const rules = only({ tier_down: { for: 0 } });
    expect(
      run(rules, [
        [0, tiers([true, false], [true])],
        [1, tiers([false, false], [true])],
        [2, tiers([true, false], [true])],
      ]).brief,
    ).toEqual(["1 tier_down:1 firing", "2 tier_down:1 resolved"]);
  });

  test("tier_down with a threshold: a tier that is whole is never down, however small", () => {
    const rules = only({ tier_down: { for: 0, threshold: 2 } });
    expect(run(rules, [[0, tiers([true, true], [true])]]).brief).toEqual([]);
    expect(run(rules, [[0, tiers([true, true, false], [true])]]).brief).toEqual(["0 tier_down:1 firing"]);
  });

  const traffic = (requests: number, failed = 0): FleetObservation => ({ ...quiet, lastMinute: { requests, failed } });

  test("error_rate: above the share, not on it, and not on a handful of requests", () => {
    const rules = only({ error_rate: { for: 0, threshold: 0.1 } });
    expect(
      run(rules, [
        [0, traffic(19, 19)],
        [1, traffic(100, 10)],
        [2, traffic(100, 11)],
        [3, traffic(100, 10)],
      ]).brief,
    ).toEqual(["2 error_rate firing", "3 error_rate resolved"]);
  });

  test("latency_p95: in seconds, of enough requests", () => {
    const rules = only({ latency_p95: { for: 0, threshold: 3 } });
    const slow = (requests: number, cheapP95Ms: number | null) => ({ ...traffic(requests), cheapP95Ms });
    expect(
      run(rules, [
        [0, slow(10, 9000)],
        [1, slow(100, 3000)],
        [2, slow(100, 3001)],
        [3, slow(100, null)],
      ]).brief,
    ).toEqual(["2 latency_p95 firing", "3 latency_p95 resolved"]);
  });

  test("many_blocks: a ledger that can't be asked neither starts nor ends it", () => {
    const rules = only({ many_blocks: { for: 0, threshold: 20 } });
    const blocked = (blockedClients: number | null) => ({ ...quiet, blockedClients });
    expect(
      run(rules, [
        [0, blocked(null)],
        [1, blocked(20)],
        [2, blocked(null)],
        [3, blocked(19)],
      ]).brief,
    ).toEqual(["1 many_blocks firing", "3 many_blocks resolved"]);
  });

  test("probe_late: when the alarm ran so late", () => {
    const rules = only({ probe_late: { for: 0, threshold: 180 } });
    expect(
      run(rules, [
        [0, { ...quiet, alarmLateMs: 179_999 }],
        [1, { ...quiet, alarmLateMs: 180_000 }],
        [2, quiet],
      ]).brief,
    ).toEqual(["1 probe_late firing", "2 probe_late resolved"]);
  });

  describe("request_rate", () => {
    const rules = only({ request_rate: { for: 0, threshold: 3 } });
    const steady = (perMinute: number, minutes: number) =>
      Array.from({ length: minutes }, (_, minute) => [minute * 60, traffic(perMinute)] as const);

    test("three times the usual and a third of it are far from usual", () => {
      const before = steady(100, 60);
      expect(run(rules, [...before, [3600, traffic(290)]]).brief).toEqual([]);
      expect(run(rules, [...before, [3600, traffic(310)]]).brief).toEqual(["3600 request_rate firing"]);
      expect(run(rules, [...before, [3600, traffic(30)]]).brief).toEqual(["3600 request_rate firing"]);
      expect(run(rules, [...before, [3600, traffic(310)], [3660, traffic(100)]]).brief).toEqual([
        "3600 request_rate firing",
        "3660 request_rate resolved",
      ]);
    });

    test("nothing is usual in the first half hour", () => {
      expect(run(rules, [...steady(100, 25), [1500, traffic(5000)]]).brief).toEqual([]);
    });

    test("the first traffic after a quiet night is no alarm", () => {
      expect(run(rules, [...steady(0, 600), [36_000, traffic(1000)]]).brief).toEqual([]);
    });

    test("a few requests more than a few are none either", () => {
      expect(run(rules, [...steady(10, 60), [3600, traffic(50)], [3660, traffic(0)]]).brief).toEqual([]);
    });

    test("what stays becomes usual by itself", () => {
      const after = Array.from({ length: 600 }, (_, minute) => [3600 + minute * 60, traffic(400)] as const);
      expect(run(rules, [...steady(100, 60), ...after]).brief).toEqual([
        "3600 request_rate firing",
        expect.stringMatching(/^\d+ request_rate resolved$/u),
      ]);
    });
  });
});

test("any observations, with all rules on: never a throw, the state stays as small as the fleet", () => {
  const seen = fc.record({
    backends: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom("a", "b", "c", "__proto__", "constructor"),
        priority: fc.nat(3),
        healthy: fc.boolean(),
        operatorState: fc.constantFrom("active", "draining", "disabled"),
        state: fc.constantFrom("healthy", "ejected", "trial"),
      }),
      { selector: ({ name }) => name },
    ),
    lastMinute: fc.record({ requests: fc.nat(500), failed: fc.nat(500) }),
    cheapP95Ms: fc.option(fc.double({ min: 0, max: 1e7, noNaN: true })),
    blockedClients: fc.option(fc.nat(100)),
    alarmLateMs: fc.nat(1e6),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -1000, max: 5000 }), seen)), (steps) => {
      const { state } = run(allRules, steps as (readonly [number, FleetObservation])[]);
      expect(Object.keys(state.alerts).length).toBeLessThanOrEqual(5 + 4 + 5);
      expect(Object.values(firingByRule(state)).reduce((sum, count) => sum + count, 0)).toBe(
        Object.values(state.alerts).filter((alert) => alert.phase === "firing").length,
      );
    }),
  );
});

test("evaluating changes nothing of what it was given", () => {
  const { state } = run(allRules, [[0, down("b")]]);
  const before = JSON.stringify(state);
  evaluate(allRules, down("b"), state, 100_000);
  evaluate(allRules, quiet, state, 100_000);
  expect(JSON.stringify(state)).toBe(before);
});

test.each([undefined, null, 5, "x", [], {}, { alerts: null, usual: null }])(
  "a stored %j that is no state begins anew",
  (stored) => {
    expect(readAlertState(stored)).toBe(noAlerts);
  },
);

test("an alert of a newer version's rule, rolled back, is forgotten, and the others are told on", () => {
  const tracked = { phase: "firing", sinceMs: 0, clearSinceMs: null, value: 1 };
  const stored = {
    alerts: {
      newer: { ...tracked, rule: "newer", subject: "" },
      "backend_down:a": { ...tracked, rule: "backend_down", subject: "a" },
    },
    usual: null,
  };
  const seen = { backends: [backend("a", true)], lastMinute: { requests: 0, failed: 0 }, cheapP95Ms: null, blockedClients: 0, alarmLateMs: 0 }; // prettier-ignore
  const rules = only({ backend_down: { for: 0 } });
  const { notifications, state } = evaluate(rules, seen, readAlertState(stored), 1000);
  expect(notifications.map(({ rule, status }) => [rule, status])).toEqual([["backend_down", "resolved"]]);
  expect(firingByRule(state)).toEqual(firingByRule(noAlerts));
});
