import { describe, expect, it } from "vitest";
import { createSelectionMemory, select, type SelectRequest } from "../../../src/shared/balance/select.ts";
import type { BalanceConfig } from "../../../src/shared/config/config.ts";
import { seededRng } from "../../../src/shared/rng.ts";
import { balanceWith, countBy, generation, member, query, type MutableMember } from "./members.ts";

const leastRequests = balanceWith("least-requests");

function order(
  members: readonly MutableMember[],
  request: SelectRequest = generation,
  settings: BalanceConfig = leastRequests,
) {
  const selection = select(members, request, settings, createSelectionMemory(), { nowMs: 0, rng: seededRng(5) });
  return selection.kind === "none" ? selection.reason : selection.ordered.map((one) => one.name);
}

function picks(
  members: readonly MutableMember[],
  count: number,
  request = generation,
  settings = leastRequests,
): string[] {
  const memory = createSelectionMemory();
  const rng = seededRng(6);
  return Array.from({ length: count }, () => {
    const selection = select(members, request, settings, memory, { nowMs: 0, rng });
    return selection.kind === "none" ? selection.reason : selection.ordered[0]!.name;
  });
}

describe("membership", () => {
  it("is no_backend only where nobody is active with a weight", () => {
    expect(order([])).toBe("no_backend");
    expect(order([member("a", { operatorState: "draining" }), member("b", { operatorState: "disabled" })])).toBe(
      "no_backend",
    );
    expect(order([member("a", { weight: 0 })])).toBe("no_backend");
  });

  it("uses ejected backends rather than none", () => {
    expect(
      order([member("a", { state: "ejected", weightShare: 0 }), member("b", { operatorState: "disabled" })]),
    ).toEqual(["a"]);
  });

  it("is no_capacity when everybody who may is full, and never piles up", () => {
    const full = { maxInFlight: 2, inFlight: 2 };
    expect(order([member("a", full), member("b", { ...full, state: "ejected" })])).toBe("no_capacity");
    expect(order([member("a", full), member("b", { maxInFlight: 2, inFlight: 1 })])).toEqual(["b"]);
  });

  it("holds maxInFlight in panic too", () => {
    expect(order([member("a", { state: "ejected", maxInFlight: 1, inFlight: 1 })])).toBe("no_capacity");
  });

  it("does not send beyond a full tier while the next one has room", () => {
    expect(order([member("a", { maxInFlight: 1, inFlight: 1 }), member("b", { priority: 2 })])).toEqual(["b"]);
  });
});

describe("what a backend can do", () => {
  it("passes by a backend that refused the route, or whose routes don't name it", () => {
    const members = [
      member("refused", { refusedRoutes: ["POST /v1/images/generations"] }),
      member("videos", { routes: ["/v1/videos/*"] }),
      member("images", { routes: ["/v1/images/*"] }),
      member("exact", { routes: ["POST /v1/images/generations"] }),
    ];
    expect(new Set(order(members))).toEqual(new Set(["images", "exact"]));
    expect(order(members.slice(0, 2))).toBe("route_unsupported");
  });

  it("obeys a configured list of models and prefers a learned one", () => {
    const request = { ...generation, model: "jimeng-4.5" };
    const names = member("names", { models: ["jimeng-4.5"] });
    const denies = member("denies", { models: ["jimeng-3.0"], modelsBinding: true });
    const unlisted = member("unlisted", { models: ["jimeng-3.0"] });
    const unread = member("unread");
    expect(order([denies, unlisted, names], request)).toEqual(["names", "unlisted"]);
    expect(order([denies], request)).toBe("model_unsupported");
    expect(order([unlisted], request)).toEqual(["unlisted"]);
    expect(new Set(order([unread, names], request))).toEqual(new Set(["unread", "names"]));
    expect(order([denies, unlisted], { ...request, model: null })).toHaveLength(2);
  });

  it("takes one that doesn't list the model when all that do are down or full", () => {
    const request = { ...generation, model: "x" };
    const unlisted = member("unlisted", { models: ["y"] });
    expect(picks([member("names", { models: ["x"], state: "ejected" }), unlisted], 20, request)).not.toContain("names");
    expect(order([member("names", { models: ["x"], inFlight: 1, maxInFlight: 1 }), unlisted], request)).toEqual([
      "unlisted",
    ]);
  });
});

describe("trial", () => {
  const fleet = () => [member("a"), member("b"), member("tried", { state: "trial" })];

  it("gets exactly one request where in-flight is exact, whatever was sent to it before", () => {
    const members = fleet();
    members[2]!.inFlight = 3;
    expect(order(members)[0]).toBe("tried");
    members[2]!.trialFor = null;
    expect(order(members)).not.toContain("tried");
  });

  it("that generations are to end gets no other request", () => {
    const members = [member("a"), member("tried", { state: "trial", trialFor: "jimeng" })];
    expect(order(members)[0]).toBe("tried");
    for (const routeClass of ["task", "query", "usage", "token"] as const)
      expect(picks(members, 200, { ...query, routeClass })).not.toContain("tried");
  });

  it("comes also to a tier that is down as a whole, while another carries the load", () => {
    const members = [member("main", { state: "trial" }), member("spare", { priority: 2 })];
    expect(order(members)).toEqual(["main", "spare"]);
    const share = picks(members, 20_000, query).filter((name) => name === "main").length / 20_000;
    expect(Math.abs(share - 0.1)).toBeLessThan(0.01);
  });

  it("comes to a later tier when it is needed, and spares one that is not", () => {
    const spare = member("spare", { state: "trial", priority: 2 });
    expect(order([member("main"), spare])).toEqual(["main", "spare"]);
    expect(order([member("main"), member("ill", { state: "ejected" }), spare])[0]).toBe("spare");
  });

  it("gets a small share from edges with tables, which know only their own", () => {
    const share = picks(fleet(), 20_000, query).filter((name) => name === "tried").length / 20_000;
    expect(share).toBeGreaterThan(0.02);
    expect(share).toBeLessThan(0.05);
  });

  it("is the last resort of a failover", () => {
    const members = [member("a"), member("tried", { state: "trial" })];
    const ordered = Array.from({ length: 20 }, (_, seed) =>
      select(members, query, leastRequests, createSelectionMemory(), { nowMs: 0, rng: seededRng(seed) }),
    );
    const last = ordered.map((one) => (one.kind === "candidates" ? one.ordered.at(-1)!.name : ""));
    expect(countBy(last)["tried"]).toBeGreaterThan(15);
  });
});

describe("tiers and failover", () => {
  it("names the drawn tier first and the others in order of priority", () => {
    const members = [member("c", { priority: 3 }), member("a", { priority: 1 }), member("b", { priority: 2 })];
    expect(order(members)).toEqual(["a", "b", "c"]);
  });

  it("spills 30 % to the second tier when half of the first is ejected", () => {
    const members = [
      ...["a1", "a2"].map((name) => member(name)),
      ...["a3", "a4"].map((name) => member(name, { state: "ejected" as const })),
      ...["b1", "b2", "b3", "b4"].map((name) => member(name, { priority: 2 })),
    ];
    const first = picks(members, 50_000).filter((name) => name.startsWith("a")).length / 50_000;
    expect(Math.abs(first - 0.7)).toBeLessThan(0.01);
  });

  it("spreads over all of two tiers in panic, and tries those that are up next", () => {
    const tier = (letter: string, priority: number) =>
      [0, 1, 2, 3].map((index) =>
        member(`${letter}${index}`, { priority, state: index === 0 ? "healthy" : "ejected" }),
      );
    const members = [...tier("a", 1), ...tier("b", 2)];
    const counts = countBy(picks(members, 40_000));
    for (const one of members) expect(Math.abs(counts[one.name]! / 40_000 - 1 / 8)).toBeLessThan(0.01);
    const ordered = order(members) as string[];
    const [first] = ordered;
    const letter = first![0]!;
    if (first !== `${letter}0`) expect(ordered[1]).toBe(`${letter}0`);
  });

  it("lets no failover order cost a turn", () => {
    const members = [member("a"), ...[3, 2, 1].map((weight) => member(`z${4 - weight}`, { weight, priority: 2 }))];
    const settings = balanceWith("weighted-round-robin");
    const memory = createSelectionMemory();
    const now = { nowMs: 0, rng: () => 0 };
    for (let round = 0; round < 4; round += 1) select(members, query, settings, memory, now);
    members[0]!.operatorState = "disabled";
    const names = Array.from({ length: 6 }, () => {
      const selection = select(members, query, settings, memory, now);
      return selection.kind === "candidates" ? selection.ordered[0]!.name : "";
    });
    expect(names).toEqual(["z1", "z2", "z1", "z3", "z2", "z1"]);
  });
});

describe("regions", () => {
  const near = member("near", { regionMs: { FRA: 20, NRT: 200 } });
  const far = member("far", { regionMs: { FRA: 180, NRT: 30 } });
  const preferring = balanceWith("least-requests", { regionPreference: 2 });

  it("prefers what the asking region measured to be faster", () => {
    expect(order([far, near], generation, preferring)).toEqual(["near", "far"]);
    expect(order([far, near], { ...generation, edgeRegion: "NRT" }, preferring)).toEqual(["far", "near"]);
  });

  it("is off by default, and where nothing is measured", () => {
    expect(new Set(picks([near, far], 20))).toEqual(new Set(["near", "far"]));
    expect(new Set(picks([near, far], 20, { ...generation, edgeRegion: "GRU" }, preferring))).toEqual(
      new Set(["near", "far"]),
    );
  });

  it("gets an unmeasured backend measured", () => {
    expect(picks([near, member("new")], 20, generation, preferring)).toContain("new");
  });

  it("sends far rather than to a crowd", () => {
    const crowded = { ...near, inFlight: 8 };
    expect(order([crowded, far], generation, preferring)).toEqual(["far", "near"]);
  });

  it("keeps tiers above distance", () => {
    expect(order([member("near", { ...near, priority: 2 }), far], generation, preferring)).toEqual(["far", "near"]);
  });
});
