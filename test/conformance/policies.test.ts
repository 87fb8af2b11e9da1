import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { policies } from "../../src/shared/balance/policies.ts";
import {
  createSelectionMemory,
  forgetBackends,
  select,
  type SelectionMemory,
} from "../../src/shared/balance/select.ts";
import { createTurns } from "../../src/shared/balance/turns.ts";
import { policyNames } from "../../src/shared/config/config.ts";
import { seededRng, type Rng } from "../../src/shared/rng.ts";
import {
  balanceWith,
  countBy,
  generation,
  member,
  membersOfWeights,
  type MutableMember,
} from "../shared/balance/members.ts";

describe.each(policyNames)("policy %s", (name) => {
  const settings = balanceWith(name);

  function picker(rng: Rng, memory: SelectionMemory = createSelectionMemory()) {
    return (members: readonly MutableMember[], nowMs = 0): MutableMember => {
      const selection = select(members, generation, settings, memory, { nowMs, rng });
      if (selection.kind === "none") throw new Error(`refused: ${selection.reason}`);
      return selection.ordered[0]!;
    };
  }

  /** Picks while every request lasts `depth` further picks; returns the shares. */
  function sharesUnderConcurrency(members: readonly MutableMember[], depth: number, picks: number, rng: Rng) {
    const pick = picker(rng);
    const open: MutableMember[] = [];
    const names: string[] = [];
    for (let count = 0; count < picks; count += 1) {
      const chosen = pick(members, count);
      chosen.inFlight += 1;
      names.push(chosen.name);
      open.push(chosen);
      if (open.length > depth) open.shift()!.inFlight -= 1;
    }
    const counts = countBy(names);
    return members.map((one) => (counts[one.name] ?? 0) / picks);
  }

  it("has the name of its row", () => {
    expect(policies[name].name).toBe(name);
  });

  it("answers a fleet of none with a value", () => {
    expect(select([], generation, settings, createSelectionMemory(), { nowMs: 0, rng: seededRng(1) })).toEqual({
      kind: "none",
      reason: "no_backend",
    });
  });

  it("picks the only backend there is", () => {
    expect(picker(seededRng(2))([member("only")]).name).toBe("only");
  });

  it("names every usable backend exactly once and no other", () => {
    const states = fc.constantFrom("healthy", "suspect", "ejected", "trial", "recovering");
    const fleet = fc.array(
      fc.record({
        state: states,
        operatorState: fc.constantFrom("active", "draining", "disabled"),
        weight: fc.integer({ min: 0, max: 9 }),
        inFlight: fc.nat(5),
        maxInFlight: fc.option(fc.integer({ min: 1, max: 5 })),
        trialFor: fc.constantFrom("server", "jimeng", null),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(fleet, fc.integer(), (fields, seed) => {
        const members = fields.map((given, index) => member(`m${index}`, given as Partial<MutableMember>));
        const active = members.filter((one) => one.operatorState === "active" && one.weight > 0);
        const up = active.filter((one) => ["healthy", "suspect", "recovering"].includes(one.state));
        const panic = up.length * 1.4 < active.length && (up.length === 0 || up.length / active.length < 0.5);
        const usable = active
          .filter((one) => panic || up.includes(one) || (one.state === "trial" && one.trialFor !== null))
          .filter((one) => one.maxInFlight === null || one.inFlight < one.maxInFlight);
        const memory = createSelectionMemory();
        const selection = select(members, generation, settings, memory, { nowMs: 0, rng: seededRng(seed) });
        const named = selection.kind === "none" ? [] : selection.ordered.map((one) => one.name);
        expect(named.toSorted()).toEqual(usable.map((one) => one.name).toSorted());
        if (selection.kind === "none")
          expect(selection.reason).toBe(active.length === 0 ? "no_backend" : "no_capacity");
      }),
    );
  });

  it("spreads idle equals evenly: nobody starves and nobody is first by its place", () => {
    const members = membersOfWeights([1, 1, 1, 1]);
    const pick = picker(seededRng(3));
    const counts = countBy(Array.from({ length: 8000 }, () => pick(members).name));
    for (const one of members) expect((counts[one.name] ?? 0) / 8000).toBeCloseTo(0.25, 1.5);
  });

  it("gives fresh isolates different first picks", () => {
    const members = membersOfWeights([1, 1, 1]);
    const rng = seededRng(4);
    const counts = countBy(Array.from({ length: 3000 }, () => picker(rng)(members).name));
    for (const one of members) expect((counts[one.name] ?? 0) / 3000).toBeCloseTo(1 / 3, 1);
  });

  it("honours weights over time while the fleet is idle", () => {
    const members = membersOfWeights([5, 2, 1]);
    const pick = picker(seededRng(5));
    const counts = countBy(Array.from({ length: 16_000 }, () => pick(members).name));
    expect(counts["a"]! / 16_000).toBeCloseTo(5 / 8, 1.5);
    expect(counts["b"]! / 16_000).toBeCloseTo(2 / 8, 1.5);
    expect(counts["c"]! / 16_000).toBeCloseTo(1 / 8, 1.5);
  });

  it("honours weights over time while every backend is busy", () => {
    const shares = sharesUnderConcurrency(membersOfWeights([5, 2, 1]), 64, 16_000, seededRng(6));
    expect(shares[0]).toBeCloseTo(5 / 8, 1.5);
    expect(shares[1]).toBeCloseTo(2 / 8, 1.5);
    expect(shares[2]).toBeCloseTo(1 / 8, 1.5);
  });

  it("honours the share that slow start grants", () => {
    const members = membersOfWeights([1, 1]);
    members[1]!.weightShare = 0.25;
    members[1]!.state = "recovering";
    const pick = picker(seededRng(7));
    const counts = countBy(Array.from({ length: 10_000 }, () => pick(members).name));
    expect(counts["b"]! / 10_000).toBeCloseTo(0.2, 1.5);
  });

  it("gives the same shares whatever the order of the list", () => {
    const members = membersOfWeights([3, 2, 1, 1]);
    const rng = seededRng(8);
    const pick = picker(rng);
    const names = Array.from({ length: 14_000 }, (_, round) => {
      const turned = round % members.length;
      const order = [...members.slice(turned), ...members.slice(0, turned)];
      return pick(round % 2 === 0 ? order : order.toReversed()).name;
    });
    const counts = countBy(names);
    for (const one of members) expect((counts[one.name] ?? 0) / names.length).toBeCloseTo(one.weight / 7, 1.5);
  });

  it("neither floods nor starves a backend that comes back after an absence", () => {
    const members = membersOfWeights([1, 1, 1, 1]);
    const pick = picker(seededRng(9));
    for (let round = 0; round < 40; round += 1) pick(members);
    for (let round = 0; round < 1000; round += 1) pick(members.slice(0, 3));
    const back = countBy(Array.from({ length: 200 }, () => pick(members).name));
    expect(back["d"]).toBeGreaterThan(25);
    expect(back["d"]).toBeLessThan(85);
  });

  it("reads when it ranks: neither turns nor backends are changed", () => {
    const weightLists = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(weightLists, fc.integer(), (weights, seed) => {
        const members = membersOfWeights(weights);
        const rng = seededRng(seed);
        const turns = createTurns(members, rng);
        const before = structuredClone({ turns, members });
        policies[name].rank([...members], { routeClass: "query", affinityKey: null, nowMs: 1, rng, turns });
        expect({ turns, members }).toEqual(before);
      }),
    );
  });

  it("forgets the backends that are gone", () => {
    const memory = createSelectionMemory();
    const pick = picker(seededRng(10), memory);
    for (let round = 0; round < 300; round += 1) pick([member(`old${round}`), member("kept")]);
    forgetBackends(memory, (backend) => backend === "kept");
    const remembered = [...(memory.byClass.get("generate")?.turns.keys() ?? [])];
    expect(remembered.filter((backend) => backend !== "kept")).toEqual([]);
  });
});
