import {
  abortAllDurableObjects,
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { BackendRegistry } from "../../src/durable/backend-registry.ts";
import type {
  AttemptReport,
  PickReply,
  PickRequest,
  Report,
  ReportReply,
  RoutingTable,
} from "../../src/shared/contract.ts";
import { registryName } from "../../src/shared/contract.ts";
import type { Outcome } from "../../src/shared/outcome.ts";
import { success } from "../../src/shared/outcome.ts";
import { asking, nothingSeen } from "../shared/fleet/asked.ts";

const { BACKEND_REGISTRY } = env as unknown as { BACKEND_REGISTRY: DurableObjectNamespace<BackendRegistry> };

/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;

/** Which hosts answer their pings; `fetch` of the whole isolate is replaced, since these tests are about the object. */
const alive = new Map<string, boolean>();
let pings: string[] = [];

beforeEach(() => {
  alive.clear();
  pings = [];
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.setSystemTime(start);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const url = new URL(input instanceof Request ? input.url : input.toString());
    pings.push(`${url.host}${url.pathname}`);
    if (alive.get(url.host) === false) throw new Error("Network connection lost.");
    return url.pathname === "/v1/models"
      ? Response.json({ data: [{ id: `model-of-${url.port}` }] })
      : new Response("pong");
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await reset();
});

function registry() {
  return BACKEND_REGISTRY.get(BACKEND_REGISTRY.idFromName(registryName));
}

type Picked = Extract<PickReply, { kind: "picked" }>;

async function picked(given: Partial<PickRequest> = {}): Promise<Picked> {
  const reply = await registry().pick(asking(given));
  if (reply.kind !== "picked") throw new Error(JSON.stringify(reply));
  return reply as Picked;
}

function ended(backend: string, outcome: Outcome = success, latencyMs = 1000): AttemptReport {
  return { backend, routeClass: "generate", edgeRegion: "local", outcome, latencyMs, responseBytes: 0, learned: null };
}

const reset502: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "unclear" };

function asked(given: Partial<Report> = {}): Report {
  return { ...nothingSeen, ...given };
}

async function table(): Promise<RoutingTable> {
  // The stub's types leave out an answer that holds `unknown` values.
  const reply = (await registry().report(asked())) as ReportReply;
  if (reply.kind !== "ok" || reply.table === null) throw new Error("no table");
  return reply.table;
}

/** A table is shared for a quarter of a second while only load has changed. */
async function inFlight(): Promise<Record<string, number>> {
  vi.setSystemTime(Date.now() + 250);
  return Object.fromEntries((await table()).backends.map((backend) => [backend.name, backend.inFlight]));
}

/** What is written behind is on disk. */
async function written(): Promise<void> {
  await runInDurableObject(registry(), () => new Promise((resolve) => setTimeout(resolve, 1100)));
}

describe("leases", () => {
  test("are counted at assignment and end once, however often they are settled", async () => {
    const { leaseId, candidates } = await picked();
    const name = candidates[0]!.name;
    expect((await inFlight())[name]).toBe(1);
    const settlement = { leaseId, report: ended(name), orphaned: false };
    await registry().settle(settlement);
    await registry().settle(settlement);
    expect((await inFlight())[name]).toBe(0);
    const { servers } = await registry().preference(null);
    expect(servers.find((server) => server.name === name)?.lastHour.requests).toBe(1);
  });

  test("that are settled for a request never picked change no count", async () => {
    await registry().settle({ leaseId: "nobody's", report: ended("a"), orphaned: false });
    expect(await inFlight()).toEqual({ a: 0, b: 0, c: 0 });
  });

  test("move with a request that goes on elsewhere", async () => {
    const { leaseId, candidates } = await picked();
    const [first, second] = candidates.map((candidate) => candidate.name) as [string, string];
    const move = { leaseId, routeClass: "generate", report: ended(first, reset502), gone: false } as const;
    expect(await registry().move({ ...move, candidates: [second] })).toEqual({ kind: "moved", backend: second });
    expect((await inFlight())[first]).toBe(0);
    expect((await inFlight())[second]).toBe(1);
  });

  test("of a Worker that died end by themselves after 90 s, and not before", async () => {
    const { candidates } = await picked();
    const name = candidates[0]!.name;
    vi.setSystemTime(start + 89_000);
    await runDurableObjectAlarm(registry());
    expect((await inFlight())[name]).toBe(1);
    vi.setSystemTime(start + 90_001);
    await runDurableObjectAlarm(registry());
    expect((await inFlight())[name]).toBe(0);
  });

  test("that are renewed live on", async () => {
    const { leaseId, candidates } = await picked();
    const name = candidates[0]!.name;
    vi.setSystemTime(start + 80_000);
    expect(await registry().renew(leaseId, name, "generate")).toMatchObject({ known: true, lost: false });
    vi.setSystemTime(start + 160_000);
    await runDurableObjectAlarm(registry());
    expect((await inFlight())[name]).toBe(1);
  });

  test("of a client that disappeared are counted as long as the backend is taken to be busy", async () => {
    const { leaseId, candidates } = await picked();
    const name = candidates[0]!.name;
    const aborted: Outcome = { kind: "aborted", executed: "unknown", seenByProbe: false, reason: "client_left" };
    await registry().settle({ leaseId, report: ended(name, aborted, 5000), orphaned: true });
    expect((await inFlight())[name]).toBe(1);
    vi.setSystemTime(start + 120_000);
    await runDurableObjectAlarm(registry());
    expect((await inFlight())[name]).toBe(0);
  });

  test("outlive eviction and abort once they are a second old", async () => {
    const first = await picked();
    await written();
    await evictDurableObject(registry());
    expect((await inFlight())[first.candidates[0]!.name]).toBe(1);
    await abortAllDurableObjects();
    expect((await inFlight())[first.candidates[0]!.name]).toBe(1);
    const settlement = {
      leaseId: first.leaseId,
      report: ended(first.candidates[0]!.name),
      orphaned: false,
    };
    await registry().settle(settlement);
    expect(await inFlight()).toEqual({ a: 0, b: 0, c: 0 });
  });

  test("of short requests cost no row", async () => {
    const { leaseId, candidates } = await picked();
    await registry().settle({ leaseId, report: ended(candidates[0]!.name), orphaned: false });
    await written();
    const rows = await runInDurableObject(registry(), (_, state) =>
      state.storage.sql.exec("SELECT * FROM lease").toArray(),
    );
    expect(rows).toEqual([]);
  });

  test("are counted exactly under concurrency", async () => {
    const all = await Promise.all(Array.from({ length: 60 }, () => picked()));
    const counts = await inFlight();
    expect(counts["a"]! + counts["b"]! + counts["c"]!).toBe(60);
    await Promise.all(
      all.map(({ leaseId, candidates }) =>
        registry().settle({ leaseId, report: ended(candidates[0]!.name), orphaned: false }),
      ),
    );
    expect(await inFlight()).toEqual({ a: 0, b: 0, c: 0 });
  });
});

describe("health", () => {
  test("of a backend that just failed is probed at once, and a dead one is picked no more", async () => {
    await runDurableObjectAlarm(registry());
    alive.set("127.0.0.1:9101", false);
    const { leaseId } = await picked();
    pings = [];
    await registry().settle({ leaseId, report: ended("a", reset502), orphaned: false });
    await vi.waitFor(async () => {
      expect((await table()).backends.find((backend) => backend.name === "a")?.healthy).toBe(false);
    });
    expect(pings.filter((ping) => ping === "127.0.0.1:9101/ping")).toHaveLength(3);
    for (let round = 0; round < 12; round += 1) {
      const reply = await picked({ routeClass: "query", routeId: "GET /ping" });
      expect(reply.candidates[0]?.name).not.toBe("a");
    }
  });

  test("survives eviction and abort", async () => {
    await runDurableObjectAlarm(registry());
    alive.set("127.0.0.1:9101", false);
    await registry().settle({ leaseId: "x", report: ended("a", reset502), orphaned: false });
    await vi.waitFor(async () => {
      expect((await table()).backends[0]?.healthy).toBe(false);
    });
    await evictDurableObject(registry());
    expect((await table()).backends[0]?.healthy).toBe(false);
    await abortAllDurableObjects();
    expect((await table()).backends[0]?.healthy).toBe(false);
  });

  test("comes back with the first passing probe of a backend that was only unreachable", async () => {
    await runDurableObjectAlarm(registry());
    alive.set("127.0.0.1:9101", false);
    vi.setSystemTime(start + 61_000);
    await runDurableObjectAlarm(registry());
    expect((await table()).backends[0]?.healthy).toBe(false);
    alive.set("127.0.0.1:9101", true);
    vi.setSystemTime(start + 72_000);
    await runDurableObjectAlarm(registry());
    expect((await table()).backends[0]?.healthy).toBe(true);
  });

  test("never suffers from a client's or a token's fault", async () => {
    await runDurableObjectAlarm(registry());
    const faults: Outcome[] = [
      { kind: "client_fault", executed: "no", seenByProbe: false, reason: "code_-2000" },
      { kind: "token_fault", executed: "no", seenByProbe: false, reason: "code_-2002" },
    ];
    for (let round = 0; round < 100; round += 1) {
      const report = ended("a", faults[round % 2] as Outcome);
      await registry().settle({ leaseId: `l${round}`, report, orphaned: false });
    }
    expect((await table()).backends[0]).toMatchObject({ state: "healthy", healthy: true });
  });

  test("of a backend that holds a lease is watched every 20 s, others every minute", async () => {
    await runDurableObjectAlarm(registry());
    const { candidates } = await picked();
    const port = { a: 9101, b: 9102, c: 9103 }[candidates[0]!.name];
    pings = [];
    vi.setSystemTime(start + 21_000);
    await runDurableObjectAlarm(registry());
    expect(pings).toEqual([`127.0.0.1:${port}/ping`]);
  });

  test("says that a backend is lost after three minutes without a sign of life, and a failed ping alone does not", async () => {
    await runDurableObjectAlarm(registry());
    const { leaseId, candidates } = await picked();
    const name = candidates[0]!.name;
    for (const port of [9101, 9102, 9103]) alive.set(`127.0.0.1:${port}`, false);
    for (let second = 20; second <= 160; second += 20) {
      vi.setSystemTime(start + second * 1000);
      await runDurableObjectAlarm(registry());
      expect(await registry().renew(leaseId, name, "generate")).toEqual({ known: true, lost: false });
    }
    vi.setSystemTime(start + 181_000);
    expect(await registry().renew(leaseId, name, "generate")).toEqual({ known: true, lost: true });
  });
});

describe("the alarm", () => {
  test("is set from the first request on and re-armed after every ring", async () => {
    await registry().pick(asking());
    for (let ring = 0; ring < 5; ring += 1) {
      expect(await runDurableObjectAlarm(registry())).toBe(true);
      vi.setSystemTime(start + ring * 60_000);
    }
  });

  test("is put back by the cron trigger if it is missing, and left alone otherwise", async () => {
    await registry().pick(asking());
    expect(await registry().wake()).toBe(false);
    await runInDurableObject(registry(), (_, state) => state.storage.deleteAlarm());
    expect(await registry().wake()).toBe(true);
    expect(await runDurableObjectAlarm(registry())).toBe(true);
  });

  test("survives whatever its work throws", async () => {
    await registry().pick(asking());
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    await runInDurableObject(registry(), (_, state) => {
      state.storage.sql.exec("DROP TABLE lease");
    });
    expect(await runDurableObjectAlarm(registry())).toBe(true);
    expect(await runDurableObjectAlarm(registry())).toBe(true);
  });
});

describe("the table", () => {
  test("is sent only to those who have an older one", async () => {
    const { version } = await table();
    expect(await registry().report(asked({ tableVersion: version }))).toEqual({ kind: "ok", table: null });
  });

  test("never repeats a version, not even after a restart", async () => {
    const first = (await table()).version;
    await abortAllDurableObjects();
    vi.setSystemTime(start + 1);
    expect((await table()).version).toBeGreaterThan(first);
  });

  test("carries the models that the prober read", async () => {
    await runDurableObjectAlarm(registry());
    const { models } = await table();
    expect(models?.entries.map((model) => model.id)).toEqual(["model-of-9101", "model-of-9102", "model-of-9103"]);
  });

  test("adds the cheap requests that isolates have in flight, and forgets those of an isolate that fell silent", async () => {
    await registry().report(asked({ isolate: "one", inFlight: { a: 3 } }));
    await registry().report(asked({ isolate: "two", inFlight: { a: 2, b: 1 } }));
    vi.setSystemTime(start + 1000);
    await registry().report(asked({ isolate: "one", inFlight: { a: 1 } }));
    vi.setSystemTime(start + 2000);
    expect(await inFlight()).toEqual({ a: 3, b: 1, c: 0 });
    vi.setSystemTime(start + 13_000);
    await runDurableObjectAlarm(registry());
    expect(await inFlight()).toEqual({ a: 0, b: 0, c: 0 });
  });

  test("merges reports into the statistics that the admin sees", async () => {
    const lines = [
      {
        backend: "b",
        routeClass: "query" as const,
        outcomes: { success: 9, backend_fault: 1 },
        trailingFailures: 0,
        lastFailure: { seenByProbe: false, reason: "http_502" },
        latencies: { 60: 9 },
        responseBytes: 0,
        learned: null,
      },
    ];
    await registry().report(asked({ lines, edgeRegion: "HKG" }));
    const { servers, regions } = await registry().preference("HKG");
    expect(regions).toEqual(["HKG"]);
    expect(servers[0]).toMatchObject({ name: "b", lastMinute: { requests: 10, successRate: 0.9 } });
  });
});

describe("a task", () => {
  test("leads back to its home, through eviction and abort", async () => {
    await registry().rememberTask("t-1", "c");
    await evictDurableObject(registry());
    await abortAllDurableObjects();
    const reply = await picked({ taskId: "t-1", routeClass: "task", routeId: "GET /v1/async/tasks/:id/status" });
    expect(reply.candidates.map((candidate) => candidate.name)).toEqual(["c"]);
  });

  test("whose home has left the fleet is gone", async () => {
    await registry().rememberTask("t-2", "left");
    const reply = await registry().pick(asking({ taskId: "t-2", routeClass: "task" }));
    expect(reply).toMatchObject({ kind: "none", reason: "task_home_gone" });
  });
});
