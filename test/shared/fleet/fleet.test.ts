import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../../src/shared/config/read.ts";
import type { Config } from "../../../src/shared/config/config.ts";
import type { AttemptReport, EdgeCounters, PickReply, Report, ReportLine } from "../../../src/shared/contract.ts";
import { noCounters } from "../../../src/shared/fleet/counters.ts";
import { emptyMemory, Fleet } from "../../../src/shared/fleet/fleet.ts";
import type { FleetMemory } from "../../../src/shared/fleet/fleet.ts";
import { withPatch, withState } from "../../../src/shared/fleet/overlay.ts";
import { rankServers } from "../../../src/shared/fleet/preference.ts";
import { maxRegions, Records } from "../../../src/shared/fleet/records.ts";
import { nextProbeMs } from "../../../src/shared/fleet/schedule.ts";
import { substanceOf } from "../../../src/shared/fleet/table.ts";
import type { Outcome } from "../../../src/shared/outcome.ts";
import { success } from "../../../src/shared/outcome.ts";
import { seededRng } from "../../../src/shared/rng.ts";
import type { RouteClass } from "../../../src/shared/route.ts";
import { asking } from "./asked.ts";

const start = 1_000_000_000;

function configOf(servers: readonly Record<string, unknown>[], settings: Record<string, unknown> = {}): Config {
  const reading = readConfig({ BACKEND_SERVERS: servers, CONFIG: settings });
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return reading.config;
}

const three = [
  { url: "https://a.example.com", name: "a" },
  { url: "https://b.example.com", name: "b" },
  { url: "https://c.example.com", name: "c" },
];

function fleetOf(config = configOf(three), memory: FleetMemory = emptyMemory): Fleet {
  return new Fleet(config, memory, new Records(), start);
}

const now = (nowMs: number) => ({ nowMs, rng: seededRng(7) });

function names(reply: PickReply): string[] {
  return reply.kind === "picked" ? reply.candidates.map(({ name }) => name) : [];
}

function ended(backend: string, given: Partial<AttemptReport> = {}): AttemptReport {
  return {
    backend,
    routeClass: "generate",
    edgeRegion: "local",
    outcome: success,
    latencyMs: 1000,
    responseBytes: 0,
    learned: null,
    ...given,
  };
}

/** What a server answers that can't reach Jimeng. */
const refused: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: false, reason: "code_-1000" };

/** Ejected by its answers at `start`, and on trial half a minute later. */
function tried(fleet: Fleet, name: string): number {
  for (let index = 0; index < 5; index += 1) {
    const report = ended(name, { outcome: refused });
    fleet.settle({ leaseId: `bad${index}`, report, orphaned: false }, start);
  }
  fleet.tick(start + 2000);
  expect(fleet.backend(name)?.state).toBe("ejected");
  fleet.tick(start + 32_000);
  expect(fleet.backend(name)?.state).toBe("trial");
  return start + 32_000;
}

const broken: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "reset" };

describe("the fleet's leases", () => {
  test("make the number in flight at every moment, through picks, moves, repeated releases and time (10,000 random events)", () => {
    const event = fc.record({
      what: fc.constantFrom("pick", "settle", "move", "renew", "wait"),
      which: fc.nat(30),
      waitMs: fc.nat(40_000),
    });
    fc.assert(
      fc.property(fc.array(event, { minLength: 50, maxLength: 100 }), (events) => {
        const fleet = fleetOf();
        const live = new Map<string, { backend: string; untilMs: number; orphaned: boolean }>();
        const ids: string[] = [];
        let nowMs = start;
        for (const [serial, { what, which, waitMs }] of events.entries()) {
          const id = ids[which % Math.max(1, ids.length)] ?? "none";
          const lease = live.get(id);
          if (what === "pick") {
            const reply = fleet.pick(asking(), `l${serial}`, null, now(nowMs));
            ids.push(`l${serial}`);
            live.set(`l${serial}`, { backend: names(reply)[0] as string, untilMs: nowMs + 90_000, orphaned: false });
          } else if (what === "settle") {
            fleet.settle({ leaseId: id, report: ended(lease?.backend ?? "a"), orphaned: false }, nowMs);
            live.delete(id);
          } else if (what === "move" && lease !== undefined && !lease.orphaned) {
            const to = lease.backend === "b" ? "c" : "b";
            const report = ended(lease.backend, { outcome: { ...success, kind: "capacity" } });
            fleet.move({ leaseId: id, routeClass: "generate", report, candidates: [to], gone: false }, nowMs);
            lease.backend = to;
          } else if (what === "renew" && lease !== undefined && !lease.orphaned) {
            expect(fleet.renew(id, lease.backend, "generate", nowMs).known).toBe(true);
            lease.untilMs = nowMs + 90_000;
          } else if (what === "wait") {
            nowMs += waitMs;
            fleet.tick(nowMs);
            for (const [key, { untilMs }] of live) if (untilMs <= nowMs) live.delete(key);
          }
          for (const name of ["a", "b", "c"]) {
            const expected = [...live.values()].filter((held) => held.backend === name).length;
            expect(fleet.leases.inFlight(name)).toBe(expected);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  describe("move where there is room:", () => {
    const full = three.map((server) => ({ ...server, maxInFlight: 1 }));
    const move = { routeClass: "generate", report: null, gone: false } as const;

    /** Each backend has its one lease, named as itself. */
    function allBusy(): Fleet {
      const fleet = fleetOf(configOf(full));
      for (let index = 0; index < 3; index += 1) {
        const name = names(fleet.pick(asking(), `l${index}`, null, now(start)))[0] as string;
        fleet.settle({ leaseId: `l${index}`, report: ended(name), orphaned: false }, start);
        fleet.move({ ...move, leaseId: name, candidates: [name] }, start);
      }
      return fleet;
    }
    const counts = (fleet: Fleet): number[] => ["a", "b", "c"].map((name) => fleet.leases.inFlight(name));

    test("to the first that has some, past one that is full", () => {
      const fleet = allBusy();
      fleet.settle({ leaseId: "c", report: ended("c"), orphaned: false }, start);
      const reply = fleet.move({ ...move, leaseId: "a", candidates: ["b", "c"] }, start);
      expect(reply).toMatchObject({ kind: "moved", backend: "c" });
      expect(counts(fleet)).toEqual([0, 1, 1]);
    });

    test("nowhere if all are full, and then the lease ends; its own place is never full for it", () => {
      const fleet = allBusy();
      expect(fleet.move({ ...move, leaseId: "a", candidates: ["b", "a"] }, start)).toMatchObject({ backend: "a" });
      const reply = fleet.move({ ...move, leaseId: "a", candidates: ["b", "c"] }, start);
      expect(reply).toMatchObject({ kind: "none", reason: "no_capacity" });
      expect(counts(fleet)).toEqual([0, 1, 1]);
    });

    test("not to one that an operator has taken out since the pick", () => {
      const fleet = fleetOf(configOf(full));
      fleet.pick(asking(), "l", null, now(start));
      fleet.reform(fleet.config, withState(fleet.overlay, "b", "disabled"), fleet.overrides, start);
      const reply = fleet.move({ ...move, leaseId: "l", candidates: ["b"] }, start);
      expect(reply).toMatchObject({ kind: "none", reason: "no_backend" });
      expect(counts(fleet)).toEqual([0, 0, 0]);
    });

    test("and to a full one if the request is there already, which renewals and its end then find", () => {
      const fleet = allBusy();
      fleet.move({ ...move, leaseId: "a", candidates: ["b"], gone: true }, start);
      expect(counts(fleet)).toEqual([0, 2, 1]);
      expect(fleet.renew("a", "b", "generate", start).known).toBe(true);
      fleet.settle({ leaseId: "a", report: ended("b"), orphaned: false }, start);
      expect(counts(fleet)).toEqual([0, 1, 1]);
    });

    test("and is counted nowhere any more when it ends elsewhere, since its move never arrived", () => {
      const fleet = allBusy();
      fleet.settle({ leaseId: "a", report: ended("b"), orphaned: false }, start);
      expect(rankServers(fleet, null, start).servers.find(({ name }) => name === "a")?.inFlight).toBe(0);
    });

    test("also of a request whose lease had ended: it lives", () => {
      const fleet = fleetOf(configOf(full));
      fleet.pick(asking(), "l", null, now(start));
      fleet.tick(start + 91_000);
      fleet.move({ ...move, leaseId: "l", candidates: ["b"] }, start + 91_000);
      expect(counts(fleet)).toEqual([0, 1, 0]);
      fleet.settle({ leaseId: "l", report: ended("b"), orphaned: false }, start + 92_000);
      expect(counts(fleet)).toEqual([0, 0, 0]);
    });
  });

  test("fill a backend up to maxInFlight and then answer no_capacity with a time to wait", () => {
    const fleet = fleetOf(configOf(three.map((server) => ({ ...server, maxInFlight: 2 }))));
    for (let index = 0; index < 6; index += 1)
      expect(names(fleet.pick(asking(), `l${index}`, null, now(start)))).not.toEqual([]);
    const full = fleet.pick(asking(), "l6", null, now(start));
    expect(full).toMatchObject({ kind: "none", reason: "no_capacity" });
    expect(full.kind === "none" && full.retryAfterS >= 1 && full.retryAfterS <= 30).toBe(true);
    fleet.settle({ leaseId: "l0", report: ended("a"), orphaned: false }, start);
    expect(names(fleet.pick(asking(), "l7", null, now(start)))).toHaveLength(1);
  });

  test("of an abandoned request last until the class's p95 on that backend has passed", () => {
    const fleet = fleetOf();
    for (let index = 0; index < 100; index += 1) {
      fleet.settle({ leaseId: `s${index}`, report: ended("a", { latencyMs: 10_000 }), orphaned: false }, start);
    }
    fleet.pick(asking(), "gone", null, now(start));
    const held = ["a", "b", "c"].find((name) => fleet.leases.inFlight(name) === 1) as string;
    fleet.settle(
      {
        leaseId: "gone",
        report: ended("a", { latencyMs: 4000, outcome: { ...success, kind: "aborted" } }),
        orphaned: true,
      },
      start,
    );
    fleet.tick(start + 5500);
    expect(fleet.leases.inFlight(held)).toBe(1);
    fleet.tick(start + 6500);
    expect(fleet.leases.inFlight(held)).toBe(0);
  });

  test("of an abandoned stream last as long as a generation there, not as long as its first byte takes", () => {
    const fleet = fleetOf();
    const over = (leaseId: string, report: Partial<AttemptReport>, orphaned = false): void => {
      fleet.settle({ leaseId, report: ended("a", report), orphaned }, start);
    };
    for (let index = 0; index < 100; index += 1) {
      over(`s${index}`, { routeClass: "stream", latencyMs: 5 });
      over(`g${index}`, { latencyMs: 60_000 });
    }
    fleet.pick(asking({ routeClass: "stream" }), "gone", null, now(start));
    over("gone", { routeClass: "stream", latencyMs: 25_000, outcome: { ...success, kind: "aborted" } }, true);
    fleet.tick(start + 33_000);
    expect(fleet.leases.count).toBe(1);
    fleet.tick(start + 37_000);
    expect(fleet.leases.count).toBe(0);
  });
});

describe("a trial", () => {
  test("is one request, and doesn't wait for the long ones that were sent before it", () => {
    const fleet = fleetOf();
    const old = names(fleet.pick(asking(), "old", null, now(start)))[0] as string;
    const nowMs = tried(fleet, old);
    const healthy = (): boolean => fleet.isHealthy(fleet.backend(old)!);
    expect([fleet.leases.inFlight(old), healthy()]).toEqual([1, true]);
    expect(names(fleet.pick(asking(), "trial", null, now(nowMs)))[0]).toBe(old);
    expect(healthy()).toBe(false);
    // However long it takes.
    fleet.renew("trial", old, "generate", nowMs + 80_000);
    fleet.tick(nowMs + 90_000);
    expect(names(fleet.pick(asking(), "other", null, now(nowMs + 90_000)))).not.toContain(old);
    fleet.settle({ leaseId: "trial", report: ended(old), orphaned: false }, nowMs + 90_000);
    expect(fleet.backend(old)?.state).toBe("recovering");
  });

  test("whose request proved nothing is open for the next one at once, and `/health` says so", () => {
    const fleet = fleetOf();
    const nowMs = tried(fleet, "a");
    expect(names(fleet.pick(asking(), "trial", null, now(nowMs)))[0]).toBe("a");
    const outcome: Outcome = { kind: "client_fault", executed: "no", seenByProbe: false, reason: "code_-2000" };
    fleet.settle({ leaseId: "trial", report: ended("a", { outcome }), orphaned: false }, nowMs + 50);
    expect(fleet.isHealthy(fleet.backend("a")!)).toBe(true);
    expect(names(fleet.pick(asking(), "next", null, now(nowMs + 50)))[0]).toBe("a");
  });

  test("comes to the first tier's only backend, though the second tier carries the load", () => {
    const fleet = fleetOf(configOf([three[0]!, { ...three[1], priority: 2 }]));
    const nowMs = tried(fleet, "a");
    expect(names(fleet.pick(asking(), "trial", null, now(nowMs)))).toEqual(["a", "b"]);
    fleet.settle({ leaseId: "trial", report: ended("a"), orphaned: false }, nowMs + 1000);
    expect(names(fleet.pick(asking(), "next", null, now(nowMs + 1000)))[0]).toBe("a");
  });
});

describe("a server that can't reach Jimeng", () => {
  test("and answers every client's `/ping` is ejected all the same, and gets a trial now and then", () => {
    const fleet = fleetOf();
    const counters = { ...noCounters, requests: 3 };
    const lines: ReportLine[] = three.map(({ name }) => ({
      backend: name,
      routeClass: "query",
      outcomes: { success: 1 },
      trailingFailures: 0,
      lastFailure: null,
      latencies: { 20: 1 },
      responseBytes: 4,
      learned: null,
    }));
    const { rng } = now(start);
    let failed = 0;
    for (let second = 0; second < 600; second += 1) {
      const nowMs = start + second * 1000;
      fleet.tick(nowMs);
      fleet.report({ isolate: "i", edgeRegion: "local", inFlight: {}, tableVersion: 0, counters, lines }, nowMs);
      const backend = names(fleet.pick(asking(), `l${second}`, null, { nowMs, rng }))[0] as string;
      const outcome = backend === "a" ? refused : success;
      if (backend === "a") failed += 1;
      const report = ended(backend, { outcome, latencyMs: backend === "a" ? 43 : 900 });
      fleet.settle({ leaseId: `l${second}`, report, orphaned: false }, nowMs + 900);
    }
    expect(fleet.backend("a")?.state).toMatch(/ejected|trial/);
    expect(failed).toBeLessThan(20);
  });
});

describe("a server that refuses at once and is nobody to blame", () => {
  const four = ["a", "b", "c", "d"].map((name) => ({ name, url: `https://${name}.example.com` }));

  /**
   * A request every five seconds for an hour, thirty seconds each; `a` refuses from the tenth minute to the fiftieth. `back`: what it gets
   * of the requests of the last five minutes.
   */
  function asked(policy: string, routeClass: "generate" | "stream", outcome: Outcome): Record<string, number> {
    const fleet = fleetOf(configOf(four, { BALANCE: { policies: { [routeClass]: policy } } }));
    const { rng } = now(start);
    const latencyMs = routeClass === "stream" ? 5 : 30_000;
    const open: { id: string; backend: string; endMs: number }[] = [];
    const counts = { of: 0, refused: 0, back: 0 };
    for (let nowMs = start; nowMs < start + 3_600_000; nowMs += 5000) {
      while (open[0] !== undefined && open[0].endMs <= nowMs) {
        const { id, backend, endMs } = open.shift()!;
        const report = ended(backend, { routeClass, latencyMs });
        fleet.settle({ leaseId: id, report, orphaned: false }, endMs);
      }
      const id = `l${nowMs}`;
      const backend = names(fleet.pick(asking({ routeClass }), id, null, { nowMs, rng }))[0] as string;
      const refuses = nowMs >= start + 600_000 && nowMs < start + 3_000_000;
      if (refuses) counts.of += 1;
      if (nowMs >= start + 3_300_000 && backend === "a") counts.back += 1 / 60;
      if (!refuses || backend !== "a") {
        open.push({ id, backend, endMs: nowMs + 30_000 });
        continue;
      }
      counts.refused += 1;
      const report = ended("a", { routeClass, outcome, latencyMs: 43 });
      fleet.settle({ leaseId: id, report, orphaned: false }, nowMs + 43);
    }
    return counts;
  }

  const cases = ["lowest-latency", "hot-cold"].flatMap((policy) =>
    (["generate", "stream"] as const).flatMap((routeClass) =>
      (["unknown", "capacity"] as const).map((kind) => [policy, routeClass, kind] as const),
    ),
  );

  test.each(cases)(
    "gets no more than its share under %s (%s, %s), though it is always idle and answers in 43 ms, and has it back when it works",
    (policy, routeClass, kind) => {
      const outcome: Outcome = { kind, executed: "unknown", seenByProbe: false, reason: "code_-2001" };
      const counts = asked(policy, routeClass, outcome);
      expect(counts["of"]).toBe(480);
      expect(counts["refused"]! / 480).toBeLessThanOrEqual(0.25);
      expect(counts["refused"]).toBeGreaterThan(0);
      expect(counts["back"]).toBeGreaterThan(0.2);
    },
  );

  test("is as costly in reports of many requests; two in a row and a client's mistakes are no cost", () => {
    const fleet = fleetOf();
    const told = (outcomes: ReportLine["outcomes"], latencies: ReportLine["latencies"]): void => {
      const line = {
        backend: "a",
        routeClass: "query",
        outcomes,
        latencies,
        trailingFailures: 0,
        lastFailure: null,
      } as const;
      const lines = [{ ...line, responseBytes: 0, learned: null }];
      fleet.report(
        { isolate: "i", edgeRegion: "local", inFlight: {}, tableVersion: 0, counters: noCounters, lines },
        start,
      );
    };
    const costMs = (): number => fleet.backend("a")?.load.query?.costMs ?? 0;
    for (const leaseId of ["q1", "q2", "q3"]) {
      const report = ended("b", { routeClass: "query", latencyMs: 800 });
      fleet.settle({ leaseId, report, orphaned: false }, start);
    }
    told({ success: 1 }, { 20: 1 });
    told({ client_fault: 9, token_fault: 9, aborted: 9 }, {});
    expect(costMs()).toBeLessThan(3);
    told({ success: 1, capacity: 5 }, { 20: 1 });
    told({ capacity: 2 }, {});
    expect(costMs()).toBeLessThan(3);
    told({ capacity: 1 }, {});
    expect(costMs()).toBeGreaterThan(700);
    // What it takes when it works is no matter of its failures.
    told({ success: 1 }, { 20: 1 });
    expect(costMs()).toBeLessThan(3);
  });
});

describe("proof of life", () => {
  test("is needed again 5 s after the last sign, and at once after a transport failure", () => {
    const fleet = fleetOf();
    const proofs = (nowMs: number): Record<string, boolean> => {
      const reply = fleet.pick(asking(), `p${nowMs}`, null, now(nowMs));
      return Object.fromEntries(
        reply.kind === "picked" ? reply.candidates.map(({ name, needsProof }) => [name, needsProof]) : [],
      );
    };
    expect(proofs(start)).toEqual({ a: true, b: true, c: true });
    fleet.probed({ backend: "a", ok: true, reason: "ok", latencyMs: 3, alive: true }, start);
    fleet.settle({ leaseId: "x", report: ended("b"), orphaned: false }, start);
    expect(proofs(start + 5000)).toEqual({ a: false, b: false, c: true });
    fleet.settle({ leaseId: "y", report: ended("a", { outcome: broken }), orphaned: false }, start + 5000);
    expect(proofs(start + 5000)).toMatchObject({ a: true, b: false });
    expect(proofs(start + 5001)).toMatchObject({ b: true });
  });

  test("is needed after what a gateway says in place of a server, to a request as to a ping", () => {
    const fleet = fleetOf();
    const isNeeded = (backend: string): boolean | undefined => {
      const reply = fleet.pick(asking(), "p", null, now(start));
      return reply.kind === "picked" ? reply.candidates.find(({ name }) => name === backend)?.needsProof : undefined;
    };
    for (const name of ["a", "b"]) fleet.settle({ leaseId: name, report: ended(name), orphaned: false }, start);
    expect([isNeeded("a"), isNeeded("b")]).toEqual([false, false]);
    const outcome: Outcome = { ...broken, seenByProbe: false, reason: "http_502" };
    fleet.settle({ leaseId: "x", report: ended("a", { outcome }), orphaned: false }, start);
    fleet.probed({ backend: "b", ok: false, reason: "http_502", latencyMs: 3, alive: true }, start);
    expect([isNeeded("a"), isNeeded("b")]).toEqual([true, true]);
  });
});

describe("what a backend taught", () => {
  test("about a route it doesn't have is remembered for an hour, and a pattern never", () => {
    const fleet = fleetOf();
    const refused = (refusedRouteId: string): void => {
      fleet.settle(
        {
          leaseId: refusedRouteId,
          report: ended("a", { learned: { dialect: "flat-2", refusedRouteId } }),
          orphaned: false,
        },
        start,
      );
    };
    refused("POST /v1/videos/generations");
    refused("GET /test/*");
    expect(fleet.backend("a")).toMatchObject({ dialect: "flat-2", refusedRoutes: ["POST /v1/videos/generations"] });
    expect(names(fleet.pick(asking({ routeId: "POST /v1/videos/generations" }), "v", null, now(start)))).not.toContain(
      "a",
    );
    fleet.probed({ backend: "a", ok: true, reason: "ok", latencyMs: 1, alive: true }, start + 3_600_000);
    expect(fleet.backend("a")?.refusedRoutes).toEqual([]);
  });

  test("stays when operators or a deployment change the fleet around it", () => {
    const fleet = fleetOf();
    fleet.modelsRead("a", [{ id: "m", object: "model", owned_by: "x" }], start);
    fleet.reform(configOf(three.slice(0, 2)), fleet.overlay, fleet.overrides, start + 1);
    expect(fleet.backends.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(fleet.backend("a")?.models).toEqual(["m"]);
    expect(fleet.table(start + 1).models?.entries.map(({ id }) => id)).toEqual(["m"]);
  });
});

describe("the list of models", () => {
  test.each([1, 17, 250])(
    "never gets older than clients may be shown, though readings and probes take %s ms",
    (tookMs) => {
      const fleet = fleetOf(configOf(three.slice(0, 1)));
      let readMs = 0;
      let oldestMs = 0;
      for (let round = 0; round < 50; round += 1) {
        const probedMs = fleet.nextDueMs(new Set()) || start;
        if (readMs > 0) oldestMs = Math.max(oldestMs, probedMs + tookMs - readMs);
        fleet.probed({ backend: "a", ok: true, reason: "ok", latencyMs: 1, alive: true }, probedMs + tookMs);
        if (!fleet.modelsDue("a", probedMs + tookMs)) continue;
        readMs = probedMs + 2 * tookMs;
        fleet.modelsRead("a", [], readMs);
      }
      expect(readMs).toBeGreaterThan(start);
      expect(oldestMs).toBeLessThanOrEqual(fleet.config.CACHE.ttl.models * 1000);
    },
  );

  const listed = (fleet: Fleet, nowMs: number): string[] | undefined =>
    fleet.table(nowMs).models?.entries.map(({ id }) => id);
  const read = (fleet: Fleet, name: string, ...ids: string[]): void =>
    fleet.modelsRead(
      name,
      ids.map((id) => ({ id, object: "model", owned_by: name })),
      start,
    );

  test("has of a backend with configured models those, whatever it lists itself: others would be refused", () => {
    const fleet = fleetOf(configOf([{ ...three[0], models: ["own", "m1"] }, ...three.slice(1)]));
    read(fleet, "a", "m1", "m2");
    expect(listed(fleet, start)).toEqual(["own", "m1"]);
    read(fleet, "b", "m1", "m3");
    expect(listed(fleet, start)).toEqual(["own", "m1", "m3"]);
  });

  test("leaves out what only an ejected or a weightless backend has, and is kept where nobody is left", () => {
    const fleet = fleetOf(configOf([three[0]!, three[1]!, { ...three[2], weight: 0 }]));
    for (const name of ["a", "b", "c"]) read(fleet, name, "all", `only-${name}`);
    expect(listed(fleet, start)).toEqual(["all", "only-a", "only-b"]);
    const probed = (backend: string, ok: boolean, nowMs: number): void =>
      void fleet.probed({ backend, ok, reason: "", latencyMs: null, alive: ok }, nowMs);
    probed("a", false, start + 1);
    expect(fleet.isHealthy(fleet.backend("a")!)).toBe(false);
    expect(listed(fleet, start + 1)).toEqual(["all", "only-a", "only-b"]);
    probed("b", true, start + 2);
    expect(fleet.backend("a")?.state).toBe("ejected");
    expect(listed(fleet, start + 3)).toEqual(["all", "only-b"]);
    for (const name of ["b", "c"]) probed(name, false, start + 4);
    expect(fleet.isHealthy(fleet.backend("b")!)).toBe(false);
    expect(listed(fleet, start + 5)).toEqual(["all", "only-a", "only-b"]);
  });
});

describe("operators' states", () => {
  test("draining takes no new requests and lets those in flight end; disabled is not even probed", () => {
    const fleet = fleetOf();
    fleet.pick(asking(), "l", null, now(start));
    const held = fleet.backends.find(({ name }) => fleet.leases.inFlight(name) === 1)!.name;
    fleet.reform(fleet.config, withState(fleet.overlay, held, "draining"), fleet.overrides, start);
    for (let index = 0; index < 20; index += 1)
      expect(names(fleet.pick(asking(), `n${index}`, null, now(start)))).not.toContain(held);
    expect(fleet.leases.inFlight(held)).toBe(1);
    expect(fleet.dueProbes(start)).toContain(held);
    fleet.reform(fleet.config, withState(fleet.overlay, held, "disabled"), fleet.overrides, start);
    expect(fleet.dueProbes(start)).not.toContain(held);
    // Enabled again, it starts as one of whom nothing is known.
    fleet.reform(fleet.config, withState(fleet.overlay, held, "active"), fleet.overrides, start);
    expect(fleet.isHealthy(fleet.backend(held)!)).toBe(true);
    fleet.reform(fleet.config, withState(fleet.overlay, held, "disabled"), fleet.overrides, start);
    expect(nextProbeMs(fleet.backend(held)!, 0, fleet.config.HEALTH_CHECK, fleet.config.WATCH)).toBeNull();
  });
});

describe("one client", () => {
  test("that sends a thousand invalid requests and as many with a dead token ejects nothing", () => {
    const fleet = fleetOf();
    for (let index = 0; index < 2000; index += 1) {
      const kind = index % 2 === 0 ? "client_fault" : "token_fault";
      const outcome: Outcome = { kind, executed: "no", seenByProbe: false, reason: "code_-2000" };
      const report = ended(["a", "b", "c"][index % 3] as string, { outcome });
      fleet.settle({ leaseId: `bad${index}`, report, orphaned: false }, start + index * 10);
    }
    fleet.tick(start + 60_000);
    expect(fleet.backends.map(({ state }) => state)).toEqual(["healthy", "healthy", "healthy"]);
  });
});

describe("the table", () => {
  test("of equal substance is equal for storage, whatever the load", () => {
    const fleet = fleetOf();
    const before = substanceOf(fleet.table(start).backends, 0);
    fleet.pick(asking(), "l", null, now(start));
    const loaded = fleet.table(start + 1000);
    expect(loaded.backends.some(({ inFlight }) => inFlight === 1)).toBe(true);
    expect(substanceOf(loaded.backends, 0)).toBe(before);
  });

  test.each([{ weight: 9 }, { priority: 9 }, { region: "asia" }, { maxInFlight: 9 }])(
    "with %o changed by an operator is of another substance",
    (values) => {
      const fleet = fleetOf();
      const before = substanceOf(fleet.table(start).backends, 0);
      const patched = withPatch(fleet.overlay, fleet.backend("a")!.config, values);
      fleet.reform(fleet.config, patched, fleet.overrides, start + 2000);
      expect(substanceOf(fleet.table(start + 2000).backends, 0)).not.toBe(before);
    },
  );

  test("is the same object while nothing has changed, and a new version at once when its substance has", () => {
    const fleet = fleetOf();
    const table = fleet.table(start);
    expect(fleet.table(start + 60_000)).toBe(table);
    fleet.modelsRead("a", [], start + 60_000);
    expect(fleet.table(start + 60_000).version).toBeGreaterThan(table.version);
  });
});

describe("the retry budget", () => {
  const report = (isolate: string, counters: Partial<EdgeCounters>): Report => ({
    isolate,
    edgeRegion: "local",
    lines: [],
    inFlight: {},
    counters: { ...noCounters, ...counters },
    tableVersion: -1,
  });

  test("is a fifth of ten seconds' requests and a hundred; each request and each retry counts once", () => {
    const fleet = fleetOf();
    for (let index = 0; index < 50; index += 1) {
      fleet.pick(asking(), `l${index}`, null, now(start));
      const retried = index < 20;
      const settlement = { leaseId: `l${index}`, report: ended("a"), orphaned: false };
      const move = { ...settlement, routeClass: "generate", candidates: ["b"], gone: false } as const;
      if (retried) fleet.move(move, start);
      fleet.settle(settlement, start);
    }
    fleet.report(report("one", { requests: 50, retries: 20 }), start);
    expect(fleet.retryBudget(start)).toBe(100 + 10 - 20);
    expect(fleet.retryBudget(start + 11_000)).toBe(100);
  });

  test("does not grow with clients that are refused, and is not spent by pings that fail", () => {
    const fleet = fleetOf();
    fleet.report(report("one", { requests: 1000, limiter: { refused: 100, remembered: 800, admitted: 100 } }), start);
    expect(fleet.retryBudget(start)).toBe(120);
    fleet.pick(asking(), "l", null, now(start));
    const failed = ended("a", { outcome: broken });
    fleet.move({ leaseId: "l", routeClass: "generate", report: failed, candidates: ["b"], gone: false }, start);
    expect(fleet.retryBudget(start)).toBe(120);
  });

  test("travels with the table, an equal share for each isolate", () => {
    const fleet = fleetOf();
    for (const isolate of ["one", "two", "three", "four"]) fleet.report(report(isolate, { requests: 25 }), start);
    expect(fleet.table(start).retryAllowance).toBe(30);
  });
});

describe("the preference", () => {
  test("orders servers by health, then by what the region asked for measured", () => {
    const fleet = fleetOf();
    const measured = (backend: string, region: string, latencyMs: number): void => {
      fleet.settle(
        {
          leaseId: `${backend}${region}`,
          report: ended(backend, { edgeRegion: region, latencyMs }),
          orphaned: false,
        },
        start,
      );
    };
    measured("a", "HKG", 300);
    measured("b", "HKG", 100);
    measured("a", "LAX", 20);
    measured("b", "LAX", 200);
    const order = (region: string | null): string[] =>
      rankServers(fleet, region, start).servers.map(({ name }) => name);
    expect(order("HKG")).toEqual(["b", "a", "c"]);
    expect(order("LAX")).toEqual(["a", "b", "c"]);
    fleet.probed({ backend: "b", ok: true, reason: "ok", latencyMs: 1, alive: true }, start);
    fleet.probed({ backend: "a", ok: false, reason: "unreachable", latencyMs: null, alive: false }, start);
    expect(order("LAX")[2]).toBe("a");
  });

  test("compares like with like: who is given the pictures does not look slower than who is only pinged", () => {
    const fleet = fleetOf();
    const measured = (backend: string, routeClass: RouteClass, latencyMs: number): void => {
      for (let index = 0; index < 3; index += 1) {
        const report = ended(backend, { routeClass, latencyMs });
        fleet.settle({ leaseId: `${backend}${routeClass}${index}`, report, orphaned: false }, start);
      }
    };
    const order = (): string[] => rankServers(fleet, null, start).servers.map(({ name }) => name);
    measured("a", "query", 10);
    for (let index = 0; index < 5; index += 1) measured("a", "generate", 15_000 + index);
    measured("b", "query", 60);
    expect(order()).toEqual(["a", "b", "c"]);
    // Without a measurement of that class a server comes after those that have one, by what else it has.
    measured("c", "usage", 5);
    expect(order()).toEqual(["a", "b", "c"]);
  });

  test("by region compares like with like: a backend asked only for pictures is not far, it is not measured yet", () => {
    const fleet = fleetOf();
    const measured = (backend: string, routeClass: RouteClass, latencyMs: number): void => {
      const report = ended(backend, { edgeRegion: "HKG", routeClass, latencyMs });
      fleet.settle({ leaseId: `${backend}${routeClass}`, report, orphaned: false }, start);
    };
    measured("a", "generate", 60_000);
    measured("b", "generate", 20_000);
    fleet.tick(start + 10_000);
    expect(Object.keys(fleet.backend("a")!.regionMs)).toEqual(["HKG"]);
    measured("b", "query", 30);
    fleet.tick(start + 20_000);
    expect(fleet.backend("a")?.regionMs).toEqual({});
    expect(fleet.backend("b")?.regionMs["HKG"]).toBeCloseTo(30, -1);
  });

  test("keeps at most so many regions apart", () => {
    const records = new Records();
    for (let index = 0; index < 100; index += 1) records.record(ended("a", { edgeRegion: `R${index}` }), start);
    expect(records.regions()).toHaveLength(maxRegions);
    expect(records.summary("a", null, "hour", start).requests).toBe(100);
    expect(records.summary("a", "other", "hour", start).requests).toBe(100 - maxRegions);
  });

  test("survives storage, and forgets a backend that left with all its rows", () => {
    const records = new Records();
    records.record(ended("a"), start);
    records.record(ended("b"), start);
    const rows = records.drainChanges(start, new Set(["a", "b"]));
    const restored = Records.restore(rows.filter(({ value }) => value !== null));
    expect(restored.summary("a", null, "day", start)).toEqual(records.summary("a", null, "day", start));
    const gone = restored.drainChanges(start, new Set(["a"]));
    expect(gone.filter(({ series }) => series.startsWith("b|")).every(({ value }) => value === null)).toBe(true);
    expect(restored.summary("b", null, "day", start).requests).toBe(0);
  });
});
