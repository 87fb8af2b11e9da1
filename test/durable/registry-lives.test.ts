/** The registry over its lives: deployments with another list of backends, answers that are too long, what an hour costs. */
import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BackendRegistry } from "../../src/durable/backend-registry.ts";
import { connectionsAtOnce } from "../../src/durable/connections.ts";
import type { DurableEnv } from "../../src/durable/settings.ts";
import type { AttemptReport, PickReply, RoutingTable } from "../../src/shared/contract.ts";
import { registryName } from "../../src/shared/contract.ts";
import type { Outcome } from "../../src/shared/outcome.ts";
import { success } from "../../src/shared/outcome.ts";
import { asking, nothingSeen } from "../shared/fleet/asked.ts";

const { BACKEND_REGISTRY } = env as unknown as { BACKEND_REGISTRY: DurableObjectNamespace<BackendRegistry> };

/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;

let answer: (url: URL) => Response | Promise<Response>;

beforeEach(() => {
  answer = ({ pathname }) =>
    pathname === "/v1/models" ? Response.json({ data: [{ id: "m" }] }) : new Response("pong");
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.setSystemTime(start);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => answer(new URL(String(input))));
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await reset();
});

type Life = (backends: readonly Record<string, unknown>[], config?: Record<string, unknown>) => BackendRegistry;

/** Lives of one object, one after the other over one storage, each under the environment of another deployment. */
async function living(story: (begin: Life, storage: DurableObjectStorage) => Promise<void>): Promise<void> {
  await runInDurableObject(BACKEND_REGISTRY.get(BACKEND_REGISTRY.idFromName(registryName)), (_, state) =>
    story((backends, config = {}) => {
      const { CACHE: _published, ...bound } = env as unknown as DurableEnv;
      const deployed = { ...bound, BACKEND_SERVERS: backends, CONFIG: config };
      return new BackendRegistry(state as DurableObjectState<Record<string, never>>, deployed);
    }, state.storage),
  );
}

const server = (name: string, more: Record<string, unknown> = {}) => ({ name, url: `http://${name}.test`, ...more });

const generation = asking();

function ended(backend: string, outcome: Outcome = success): AttemptReport {
  const rest = { edgeRegion: "local", latencyMs: 1000, responseBytes: 0, learned: null };
  return { backend, routeClass: "generate", outcome, ...rest };
}

async function tableOf(registry: BackendRegistry): Promise<RoutingTable> {
  const reply = await registry.report(nothingSeen);
  if (reply.kind !== "ok" || reply.table === null) throw new Error("no table");
  return reply.table;
}

async function picked(registry: BackendRegistry): Promise<Extract<PickReply, { kind: "picked" }>> {
  const reply = await registry.pick(generation);
  if (reply.kind !== "picked") throw new Error(reply.kind);
  return reply;
}

/** What is written behind is on disk. */
const written = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1100));

test("what an older version stored of health in another shape is forgotten, not tripped over", async () => {
  await living(async (begin, storage) => {
    begin([server("a"), server("b")]);
    const old = {
      state: "ejected",
      sinceMs: start,
      reason: "old",
      probe: "passed",
      counts: [],
      consecutiveFailures: 5,
    };
    storage.sql.exec("INSERT OR REPLACE INTO fact VALUES ('health', 'a', ?)", JSON.stringify(old));
    storage.sql.exec("UPDATE schema_version SET version = 2");
    const registry = begin([server("a"), server("b")]);
    expect((await tableOf(registry)).backends.map(({ state }) => state)).toEqual(["healthy", "healthy"]);
    await registry.settle({ leaseId: "l", report: ended("a"), orphaned: false });
  });
});

describe("a deployment with another list of backends", () => {
  test("keeps what is known of those who stay, takes in those who come, and forgets those who leave", async () => {
    await living(async (begin) => {
      answer = ({ hostname }) => {
        if (hostname === "b.test") throw new Error("Network connection lost.");
        return hostname === "a.test" ? Response.json({ data: [{ id: "of-a" }] }) : new Response("pong");
      };
      const before = begin([server("a"), server("b"), server("leaving")]);
      await before.alarm();
      const { leaseId, candidates } = await picked(before);
      await before.settle({ leaseId, report: ended(candidates[0]!.name), orphaned: false });
      await before.rememberTask("t-1", "a");
      const busy = await picked(before);
      await written();

      vi.setSystemTime(start + 5000);
      const after = begin([server("a", { weight: 5 }), server("b"), server("new")]);
      const { backends, models } = await tableOf(after);
      const rows = backends.map(({ name, healthy, weight, lastCheckMs }) => [name, healthy, weight, lastCheckMs]);
      expect(rows).toEqual([
        ["a", true, 5, null],
        ["b", false, 1, null],
        ["new", true, 1, null],
      ]);
      expect(models?.entries.map(({ id }) => id)).toEqual(["of-a"]);
      const inFlight = backends.reduce((sum, backend) => sum + backend.inFlight, 0);
      expect(inFlight).toBe(busy.candidates[0]!.name === "leaving" ? 0 : 1);
      const home = await after.pick({ ...generation, taskId: "t-1", routeClass: "task" });
      expect(home.kind === "picked" && home.candidates[0]!.name).toBe("a");
    });
  });

  test("that breaks the configuration serves nothing and loses nothing", async () => {
    await living(async (begin) => {
      answer = ({ hostname }) => {
        if (hostname === "b.test") throw new Error("Network connection lost.");
        return new Response("pong");
      };
      const before = begin([server("a"), server("b")]);
      await before.alarm();
      await written();
      const broken = begin([]);
      expect((await broken.pick(generation)).kind).toBe("misconfigured");
      await broken.alarm();
      const { backends } = await tableOf(begin([server("a"), server("b")]));
      expect(backends.map(({ healthy }) => healthy)).toEqual([true, false]);
    });
  });
});

describe("probes", () => {
  test("of a large fleet are never more at once than an object may have connections, whoever asks for them", async () => {
    let open = 0;
    let most = 0;
    answer = async () => {
      open += 1;
      most = Math.max(most, open);
      await new Promise((resolve) => setTimeout(resolve, 5));
      open -= 1;
      return new Response("pong");
    };
    await living(async (begin) => {
      const names = Array.from({ length: 20 }, (_, index) => `b${index}`);
      const registry = begin(names.map((name) => server(name)));
      const failed: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "reset" };
      const ringing = registry.alarm();
      await Promise.all(
        names.map((name) => registry.settle({ leaseId: name, report: ended(name, failed), orphaned: false })),
      );
      const by = { name: "ops", from: null };
      await Promise.all([ringing, ...names.map((name) => registry.probeBackend(name, by))]);
    });
    expect(most).toBe(connectionsAtOnce);
  });

  test("that hang are not asked for again while they do, so that the alarm doesn't spin", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
    vi.setSystemTime(start);
    await living(async (begin, storage) => {
      const registry = begin([server("a"), server("b")]);
      const release: (() => void)[] = [];
      answer = () => new Promise((resolve) => release.push(() => resolve(new Response("pong"))));
      const ringing = registry.alarm();
      await registry.report(nothingSeen);
      await storage.deleteAlarm();
      // The handler waits so long for its probes.
      await vi.advanceTimersByTimeAsync(10_000);
      await ringing;
      expect(await storage.getAlarm()).toBeGreaterThanOrEqual(start + 60_000);
      answer = () => new Response("pong");
      for (const free of release) free();
      await vi.waitFor(async () => expect((await tableOf(registry)).backends[0]?.lastCheckMs).not.toBeNull());
      expect(await storage.getAlarm()).toBeGreaterThanOrEqual(start + 60_000);
    });
  });

  test("set the alarm once for the next of them", async () => {
    await living(async (begin, storage) => {
      const registry = begin([server("a"), server("b")]);
      await registry.alarm();
      await storage.deleteAlarm();
      const setAlarm = vi.spyOn(Object.getPrototypeOf(storage) as DurableObjectStorage, "setAlarm");
      vi.setSystemTime(start + 60_000);
      await registry.alarm();
      await registry.report(nothingSeen);
      expect(setAlarm.mock.calls).toEqual([[start + 120_000]]);
    });
  });

  test("read no list of models that is longer than any", async () => {
    const piece = new TextEncoder().encode(" ".repeat(65_536));
    let sent = 0;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          sent += piece.byteLength;
          controller.enqueue(piece);
        },
      });
    answer = ({ pathname }) => new Response(pathname === "/v1/models" ? endless() : "pong");
    await living(async (begin) => {
      const registry = begin([server("a")]);
      await registry.alarm();
      expect(sent).toBeLessThan(2 * 1_048_576);
      expect((await tableOf(registry)).models).toBeNull();
    });
  });
});

describe("an object that nobody calls", () => {
  test("has its figures on disk before it is put out of memory, also where requests come one at a time", async () => {
    await living(async (begin) => {
      vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
      vi.setSystemTime(start);
      for (let life = 1; life <= 3; life += 1) {
        const registry = begin([server("a")]);
        const { leaseId } = await picked(registry);
        await registry.settle({ leaseId, report: ended("a"), orphaned: false });
        // The runtime waits ten seconds.
        await vi.advanceTimersByTimeAsync(9000);
        const { servers } = (await begin([server("a")]).preference(null)) as {
          servers: readonly { lastHour: { requests: number; p50Ms: number | null } }[];
        };
        expect(servers[0]?.lastHour).toMatchObject({ requests: life, p50Ms: expect.closeTo(1000, -2) });
      }
    });
  });
});

describe("rows written", () => {
  /** By statements, and by setting the alarm, which is a row too; in five minutes, with what happens each second. */
  async function rowsWritten(
    eachSecond: (registry: BackendRegistry, second: number) => Promise<void>,
  ): Promise<number> {
    let rows = 0;
    await living(async (begin, storage) => {
      const sql = Object.getPrototypeOf(storage.sql) as SqlStorage;
      const { exec } = sql;
      vi.spyOn(sql, "exec").mockImplementation(function (this: SqlStorage, query: string, ...bindings: unknown[]) {
        const cursor = exec.call(this, query, ...bindings);
        rows += cursor.rowsWritten;
        return cursor;
      } as typeof exec);
      const setAlarm = vi.spyOn(Object.getPrototypeOf(storage) as DurableObjectStorage, "setAlarm");
      vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
      vi.setSystemTime(start);
      const registry = begin([server("a"), server("b"), server("c")]);
      for (let second = 0; second < 300; second += 1) {
        await ringIfDue(registry, storage);
        await eachSecond(registry, second);
        await vi.advanceTimersByTimeAsync(1000 - (Date.now() % 1000));
      }
      rows += setAlarm.mock.calls.length;
    });
    return rows;
  }

  async function ringIfDue(registry: BackendRegistry, storage: DurableObjectStorage): Promise<void> {
    const dueMs = await storage.getAlarm();
    if (dueMs === null || dueMs > Date.now()) return;
    await storage.deleteAlarm();
    const ringing = registry.alarm();
    await vi.advanceTimersByTimeAsync(1);
    await ringing;
  }

  test("are a few a minute for each backend without a request, and hardly more with nine hundred a second", async () => {
    expect(await rowsWritten(async () => undefined)).toBeLessThan(70);
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("pong"));
    const line = (backend: string) => ({
      backend,
      routeClass: "query" as const,
      outcomes: { success: 100 },
      trailingFailures: 0,
      lastFailure: null,
      latencies: { 60: 50, 70: 50 },
      responseBytes: 1000,
      learned: null,
    });
    const report = { ...nothingSeen, edgeRegion: "HKG", lines: ["a", "b", "c"].map(line), inFlight: { a: 1 } };
    const rows = await rowsWritten(async (registry) => {
      for (const isolate of ["i", "j", "k"]) await registry.report({ ...report, isolate });
    });
    expect(rows).toBeLessThan(150);
  });

  test("are three for a generation of forty seconds: its lease made, renewed and ended", async () => {
    const open: { readonly since: number; readonly leaseId: string; readonly name: string }[] = [];
    let generations = 0;
    const rows = await rowsWritten(async (registry, second) => {
      if (second % 2 === 0) {
        const { leaseId, candidates } = await picked(registry);
        open.push({ since: second, leaseId, name: candidates[0]!.name });
        generations += 1;
      }
      for (const { since, leaseId, name } of open) {
        if (second - since === 30) await registry.renew(leaseId, name, "generate");
      }
      while (open[0] !== undefined && open[0].since <= second - 40) {
        const { leaseId, name } = open.shift()!;
        await registry.settle({ leaseId, report: ended(name), orphaned: false });
      }
    });
    // And the watch over the backends while they run.
    expect(rows).toBeLessThan(3 * generations + 200);
  });
});
