import { readFile } from "node:fs/promises";
import { format } from "prettier";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  ejections,
  ejectionsAMinute,
  p99,
  recoveredShare,
  secondsToEjection,
  slowShare,
  wrongEjections,
} from "../../sim/claims.ts";
import { globeOptions, simulateGlobe, type Layout } from "../../sim/globe.ts";
import { main } from "../../sim/main.ts";
import { policyLabels } from "../../sim/policies.ts";
import { simulate } from "../../sim/run.ts";
import { scenarioNames } from "../../sim/scenarios.ts";
import { summarize } from "../../sim/summary.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("what knowing everything is worth", () => {
  const smallFleet = (policy: string) => p99(simulate({ scenario: "small-fleet", policy, seed: 11, requests: 8000 }));

  it("halves the tail of a small fleet: exact least-requests has p99 ≤ 0.7 × that of counters local to each edge", () => {
    const local = smallFleet("least-requests-local");
    expect(smallFleet("least-requests") / local).toBeLessThanOrEqual(0.7);
    expect(smallFleet("lowest-latency") / local).toBeLessThanOrEqual(0.7);
  });

  it("keeps the published order in Prequal's experiment, made small", () => {
    const at = (policy: string) =>
      p99(simulate({ scenario: "prequal", policy, seed: 11, servers: 30, clients: 30, load: 0.9 }));
    const [random, local, exact] = [at("random"), at("least-requests-local"), at("lowest-latency")];
    expect(random).toBeGreaterThan(local);
    expect(local).toBeGreaterThan(exact);
  });
});

describe("faults", () => {
  it.each(["lowest-latency", "hot-cold"])(
    "%s leaves a ten times slower server within 10 s and comes back within 60 s",
    (policy) => {
      const run = simulate({ scenario: "slow-backend", policy, seed: 12 });
      expect(slowShare(run)).toBeLessThan(0.2);
      expect(recoveredShare(run)).toBeGreaterThan(0.8);
    },
  );

  it.each(["weighted-round-robin", "weighted-round-robin-table", "least-requests"])(
    "with %s a server that fails three of ten requests is ejected within 20 s, and nobody else is",
    (policy) => {
      const run = simulate({ scenario: "failing", policy, seed: 12 });
      expect(secondsToEjection(run)).toBeLessThanOrEqual(20);
      expect(wrongEjections(run)).toBe(0);
    },
  );

  it("a client's thousand mistakes eject nobody", () => {
    const run = simulate({ scenario: "invalid-requests", policy: "weighted-round-robin-table", seed: 12 });
    expect(run.finished.filter((one) => one.end === "invalid")).toHaveLength(1000);
    expect(ejections(run)).toBe(0);
  });

  it("flapping every 20 s costs at most one ejection a minute after five minutes", () => {
    expect(
      ejectionsAMinute(simulate({ scenario: "flapping", policy: "least-requests", seed: 12 })),
    ).toBeLessThanOrEqual(1);
  });

  it("no request is lost to a dead server that refuses connections", () => {
    const { errors, timeouts, requests } = summarize(
      simulate({ scenario: "dead", policy: "lowest-latency", seed: 12 }),
    );
    expect({ errors, timeouts }).toEqual({ errors: 0, timeouts: 0 });
    expect(requests).toBeGreaterThan(10_000);
  });
});

describe("the registry's load", () => {
  it("grows with isolates and not with requests", () => {
    const calls = (isolates: number, rps: number) =>
      simulateGlobe({ layout: "one registry", isolates, rps, seed: 1 }).registryCallsPerS;
    const [few, many] = [calls(20, 1000), calls(20, 1_000_000)];
    expect(many / few).toBeLessThan(1.2);
    expect(many).toBeLessThan(25);
  });

  it("is one call a second of each busy isolate, as the product makes them, wherever the isolate stands", () => {
    for (const isolates of [1, 30]) {
      const { registryCallsPerS } = simulateGlobe({ layout: "one registry", isolates, rps: 500 * isolates, seed: 1 });
      expect(registryCallsPerS / isolates).toBeCloseTo(1, 1);
    }
  });

  it("with a relay in each of 300 data centres is at most theirs, while news takes no longer than two more seconds", () => {
    const at = (layout: Layout) => simulateGlobe({ layout, isolates: 1000, rps: 10_000, seed: 1 });
    const [direct, relayed] = [at("one registry"), at("a relay per data centre")];
    expect(direct.registryCallsPerS).toBeGreaterThan(900);
    expect(relayed.registryCallsPerS).toBeLessThanOrEqual(300);
    expect((relayed.allKnowMs ?? Infinity) - (direct.allKnowMs ?? 0)).toBeLessThan(2000);
  });

  it("is studied from 1 to 10,000 isolates and from 1,000 to 1,000,000 requests a second", () => {
    const options = globeOptions(1);
    expect(new Set(options.map((one) => one.isolates))).toEqual(new Set([1, 10, 100, 1000, 10_000]));
    expect(Math.min(...options.map((one) => one.rps))).toBe(1000);
    expect(Math.max(...options.map((one) => one.rps))).toBe(1_000_000);
  });
});

it("the report begins with the preface as it stands, so that writing it anew loses nothing", async () => {
  const read = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), "utf8");
  const preface = await format(await read("../../sim/preface.md"), { parser: "markdown", printWidth: 120 });
  expect((await read("../../docs/balancing.md")).slice(0, preface.length)).toBe(preface);
});

describe("npm run sim", () => {
  async function run(...given: string[]): Promise<{ code: number; out: string; err: string }> {
    const out: string[] = [];
    const err: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => void out.push(line));
    vi.spyOn(console, "error").mockImplementation((line: string) => void err.push(line));
    const code = await main(given);
    vi.restoreAllMocks();
    return { code, out: out.join("\n"), err: err.join("\n") };
  }

  it("prints one JSON object, the same for the same seed", async () => {
    const flags = ["--scenario", "failing", "--policy", "power-of-two", "--seed", "7", "--edges", "3", "--json"];
    const first = await run(...flags);
    expect(first.code).toBe(0);
    expect(first.out).toBe((await run(...flags)).out);
    const summary = JSON.parse(first.out) as Record<string, unknown>;
    expect(Object.keys(summary).join(" ")).toBe(
      "policy scenario seed load requests errors timeouts p50_ms p90_ms p99_ms p999_ms share",
    );
    const shares = Object.values(summary["share"] as Record<string, number>);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 2);
  });

  it.each([
    [["--policy", "best"], /policy: expected weighted-round-robin, .*received "best"/],
    [["--scenario", "nowhere"], /scenario: expected prequal, .*received "nowhere"/],
    [["--load", "much"], /--load: expected a number from 0.001 to 2, received "much"/],
    [["--servers", "0"], /--servers: expected a number from 1 to 1000, received "0"/],
    [["--edges", "1.5"], /--edges: expected a whole number/],
    [["--fast"], /--fast: expected one of --scenario/],
    [["small-fleet"], /expected flags only, received "small-fleet"/],
  ])("tells what is wrong with %j", async (given, message) => {
    const { code, out, err } = await run(...given);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toMatch(message);
  });

  it("names every scenario and policy in its help", async () => {
    const { code, out } = await run("--help");
    expect(code).toBe(0);
    for (const name of [...scenarioNames, "globe", ...policyLabels]) expect(out).toContain(name);
  });
});
