import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectedLatencyMs, requestLoad } from "../../../src/shared/balance/load-score.ts";
import { effectiveWeight } from "../../../src/shared/balance/member.ts";
import { policies } from "../../../src/shared/balance/policies.ts";
import type { RankContext } from "../../../src/shared/balance/policy.ts";
import { createSelectionMemory, select } from "../../../src/shared/balance/select.ts";
import type { PolicyName } from "../../../src/shared/config/config.ts";
import { seededRng, type Rng } from "../../../src/shared/rng.ts";
import { balanceWith, countBy, generation, member, membersOfWeights, query, type MutableMember } from "./members.ts";

const firstPhase: Rng = () => 0;

function sequence(policy: PolicyName, members: readonly MutableMember[], picks: number, rng: Rng): string[] {
  const memory = createSelectionMemory();
  return Array.from({ length: picks }, () => {
    const selection = select(members, query, balanceWith(policy), memory, { nowMs: 0, rng });
    return selection.kind === "candidates" ? selection.ordered[0]!.name : selection.reason;
  });
}

function ranked(policy: PolicyName, members: readonly MutableMember[], given: Partial<RankContext> = {}): string[] {
  const order = [...members];
  const context = { routeClass: "query", affinityKey: null, nowMs: 0, rng: seededRng(1), turns: new Map() } as const;
  policies[policy].rank(order, { ...context, ...given });
  return order.map((one) => one.name);
}

const weightLists = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });

describe("weighted-round-robin", () => {
  it.each([
    [[5, 1, 1], "aabacaa"],
    [[4, 2, 1], "abacaba"],
    [[3, 2, 1], "abacba"],
    [[3, 1], "aaba"],
  ])("picks %j in nginx's order", (weights, expected) => {
    const names = sequence("weighted-round-robin", membersOfWeights(weights), expected.length * 3, firstPhase);
    expect(names.join("")).toBe(expected.repeat(3));
  });

  it("equals nginx's loop for any weights", () => {
    fc.assert(
      fc.property(weightLists, (weights) => {
        const current = weights.map(() => 0);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const expected = Array.from({ length: total }, () => {
          for (const [index, weight] of weights.entries()) current[index]! += weight;
          const best = current.indexOf(Math.max(...current));
          current[best]! -= total;
          return String.fromCodePoint(97 + best);
        });
        expect(sequence("weighted-round-robin", membersOfWeights(weights), total, firstPhase)).toEqual(expected);
      }),
    );
  });

  it("gives each its exact share in every cycle, from whatever phase it starts", () => {
    fc.assert(
      fc.property(weightLists, fc.integer(), (weights, seed) => {
        const members = membersOfWeights(weights);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = countBy(sequence("weighted-round-robin", members, total, seededRng(seed)));
        expect(members.map((one) => counts[one.name] ?? 0)).toEqual(weights);
      }),
    );
  });
});

describe("least-requests", () => {
  it("ties weight 2 with one in flight and weight 1 with none, and takes turns", () => {
    const members = [member("heavy", { weight: 2, inFlight: 1 }), member("light")];
    const counts = countBy(sequence("least-requests", members, 300, seededRng(1)));
    expect(counts).toEqual({ heavy: 200, light: 100 });
  });

  it("picks the least (in flight + 1) / weight, or an idle one where the least is idle", () => {
    const fleet = fc.array(fc.record({ inFlight: fc.nat(6), weight: fc.integer({ min: 1, max: 6 }) }), {
      minLength: 1,
      maxLength: 9,
    });
    fc.assert(
      fc.property(fleet, fc.integer(), (fields, seed) => {
        const members = fields.map((given, index) => member(`m${index}`, given));
        const load = (one: MutableMember) => (one.inFlight + 1) / one.weight;
        const least = Math.min(...members.map(load));
        const allowed = members.filter(
          (one) =>
            load(one) === least ||
            (one.inFlight === 0 && members.some((best) => load(best) === least && best.inFlight === 0)),
        );
        const [picked] = sequence("least-requests", members, 1, seededRng(seed));
        expect(allowed.map((one) => one.name)).toContain(picked);
      }),
    );
  });

  it("rotates among idle backends whatever their number", () => {
    const names = sequence("least-requests", membersOfWeights([1, 1, 1, 1, 1]), 50, seededRng(3));
    for (let start = 0; start < 50; start += 5) expect(new Set(names.slice(start, start + 5)).size).toBe(5);
  });
});

describe("lowest-latency", () => {
  const seen = (costMs: number) => ({ load: { query: { costMs, atMs: 0 } } });

  it("picks the least latency times queue", () => {
    const members = [
      member("slow", seen(300)),
      member("busy", { ...seen(100), inFlight: 3 }),
      member("best", seen(200)),
    ];
    expect(ranked("lowest-latency", members)).toEqual(["best", "slow", "busy"]);
  });

  it("weighs 20 ms with five in flight as 120 ms, and work without history as a million and more", () => {
    const context = { routeClass: "query", affinityKey: null, nowMs: 0, rng: seededRng(1), turns: new Map() } as const;
    const weigh = (one: MutableMember): number => expectedLatencyMs(one, context) * requestLoad(one);
    expect(weigh(member("a", { ...seen(20), inFlight: 5 }))).toBe(120);
    expect(weigh(member("a", { ...seen(20), inFlight: 5, weight: 2 }))).toBe(60);
    expect(weigh(member("a", { inFlight: 1 }))).toBeGreaterThanOrEqual(1_000_000);
    expect(weigh(member("a"))).toBe(0);
  });

  it("takes latencies within a tenth of each other for the same", () => {
    const members = [member("a", seen(100)), member("b", seen(109))];
    expect(countBy(sequence("lowest-latency", members, 100, seededRng(1)))).toEqual({ a: 50, b: 50 });
  });

  it("believes the age of open requests before any of them has ended", () => {
    const members = [
      member("hangs", { ...seen(100), inFlight: 1, openAgeMs: 60_000 }),
      member("works", { ...seen(20_000) }),
    ];
    expect(ranked("lowest-latency", members)[0]).toBe("works");
  });

  it("tries a backend without history at once, and not a second time before it has answered", () => {
    expect(ranked("lowest-latency", [member("known", seen(50)), member("new")])[0]).toBe("new");
    expect(ranked("lowest-latency", [member("known", seen(50)), member("new", { inFlight: 1 })])[0]).toBe("known");
  });

  it("keeps the latencies of route classes apart", () => {
    const members = [
      member("a", { load: { query: { costMs: 10, atMs: 0 }, generate: { costMs: 9e4, atMs: 0 } } }),
      member("b", seen(20)),
    ];
    expect(ranked("lowest-latency", members)[0]).toBe("a");
    expect(ranked("lowest-latency", members, { routeClass: "generate" })[0]).toBe("b");
  });
});

describe("power-of-two", () => {
  it.each([
    [3, 1 / 9],
    [2, 1 / 4],
  ])("gives one busy of %i backends %d of the picks", (size, share) => {
    const members = membersOfWeights(Array.from({ length: size }, () => 1));
    members[0]!.inFlight = 1;
    const counts = countBy(sequence("power-of-two", members, 100_000, seededRng(7)));
    expect(Math.abs(counts["a"]! / 100_000 - share)).toBeLessThan(0.01);
  });
});

describe("hot-cold", () => {
  const seen = (inFlight: number, costMs: number) => ({ inFlight, load: { query: { costMs, atMs: 0 } } });

  it("takes the fastest of the cold and leaves the hot to the end", () => {
    const members = [member("hot", seen(9, 1)), member("slow", seen(1, 300)), member("fast", seen(2, 50))];
    expect(ranked("hot-cold", members)).toEqual(["fast", "slow", "hot"]);
  });

  it("equals the lexicographic rule for any pool", () => {
    const pool = fc.array(
      fc.record({ inFlight: fc.nat(9), costMs: fc.integer({ min: 1, max: 9 }).map((power) => 2 ** power) }),
      { minLength: 1, maxLength: 20 },
    );
    fc.assert(
      fc.property(pool, (fields) => {
        const members = fields.map((given, index) => member(`m${index}`, seen(given.inFlight, given.costMs)));
        const rifs = fields.map((given) => given.inFlight).sort((a, b) => a - b);
        const limit = rifs[Math.floor(0.84 * (rifs.length - 1))]!;
        const cold = members.filter((one) => one.inFlight <= limit);
        const wait = (one: MutableMember) => one.load.query!.costMs * (one.inFlight + 1);
        const least = Math.min(...cold.map(wait));
        const picked = members.find((one) => one.name === ranked("hot-cold", members)[0])!;
        expect(cold).toContain(picked);
        expect(wait(picked)).toBeLessThanOrEqual(least * 1.1);
      }),
    );
  });
});

describe("rendezvous", () => {
  const keys = Array.from({ length: 6000 }, (_, index) => `client-${index}`);
  const home = (members: readonly MutableMember[], affinityKey: string) =>
    ranked("rendezvous", members, { affinityKey })[0]!;

  it("sends a key to the same backend whatever the order of the list", () => {
    const members = membersOfWeights([3, 1, 2, 5]);
    fc.assert(
      fc.property(fc.string(), fc.shuffledSubarray(members, { minLength: 4 }), (key, shuffled) => {
        expect(home(shuffled, key)).toBe(home(members, key));
      }),
    );
  });

  it("moves only the keys of a backend that leaves, each to the next of its order", () => {
    const members = membersOfWeights([1, 1, 1, 1]);
    for (const key of keys.slice(0, 500)) {
      const before = ranked("rendezvous", members, { affinityKey: key });
      const without = members.filter((one) => one.name !== "b");
      expect(home(without, key)).toBe(before[0] === "b" ? before[1] : before[0]);
    }
  });

  it("gives each backend keys in proportion to its weight", () => {
    const members = membersOfWeights([3, 2, 1]);
    const counts = countBy(keys.map((key) => home(members, key)));
    for (const one of members)
      expect(Math.abs(counts[one.name]! / keys.length - effectiveWeight(one) / 6)).toBeLessThan(0.02);
  });
});

describe("switching", () => {
  it("takes effect at the next pick and leaves other route classes alone", () => {
    const members = [member("a", { inFlight: 5 }), member("b")];
    const memory = createSelectionMemory();
    const now = { nowMs: 0, rng: seededRng(1) };
    select(members, generation, balanceWith("weighted-round-robin"), memory, now);
    select(members, query, balanceWith("weighted-round-robin"), memory, now);
    for (let round = 0; round < 5; round += 1) {
      const selection = select(members, generation, balanceWith("least-requests"), memory, now);
      expect(selection.kind === "candidates" && selection.ordered[0]!.name).toBe("b");
    }
    expect(memory.byClass.get("generate")!.policy).toBe("least-requests");
    expect(memory.byClass.get("query")!.policy).toBe("weighted-round-robin");
  });
});
