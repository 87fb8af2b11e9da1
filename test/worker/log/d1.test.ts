import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import worker from "../../../src/worker/index.ts";
import { columns, D1Sink, deleteOld, maxBuffered } from "../../../src/worker/log/d1.ts";
import type { LogEntry } from "../../../src/worker/log/entry.ts";
import { readLogs } from "../../../src/worker/log/reading.ts";
import type { LogFilter } from "../../../src/worker/log/reading.ts";
import { ask, bindings, environment, json, migrate } from "../operator/fixture.ts";

const database = bindings.DB as D1Database;
const day = Date.parse("2026-11-23T00:00:00.000Z");

let serial = 0;
function entryOf(given: Partial<LogEntry> = {}): LogEntry {
  serial += 1;
  return {
    id: `00000000-0000-4000-8000-${String(serial).padStart(12, "0")}`,
    timestamp: new Date(day + serial * 1000).toISOString(),
    method: "GET",
    url: "/v1/models?x='\"%",
    route: "GET /v1/models",
    status: 200,
    latency: 12.5,
    client_ip: "203.0.113.7",
    client_key: "203.0.113.7",
    api_key: null,
    limit_reported: false,
    backend: "a",
    attempts: 1,
    user_agent: "cur'l; DROP TABLE request_logs; --",
    cache: null,
    outcome: "success",
    reason: "ok",
    region: "HKG",
    ...given,
  };
}

async function write(sink: D1Sink, entries: readonly LogEntry[]): Promise<void> {
  const ctx = createExecutionContext();
  for (const entry of entries) sink.write(entry, (work) => ctx.waitUntil(work));
  await waitOnExecutionContext(ctx);
}

async function rows(given: Partial<LogFilter> = {}): Promise<readonly Record<string, unknown>[]> {
  const page = await readLogs(database, { sinceMs: 0, untilMs: null, limit: 1000, ...given });
  return page?.logs ?? [];
}

/** At once, without the sink's pause. */
async function insert(entries: readonly LogEntry[]): Promise<void> {
  const taken = columns.map((column) => `json_extract(value, '$.${column}')`).join(", ");
  const sql = `INSERT INTO request_logs (${columns.join(", ")}) SELECT ${taken} FROM json_each(?)`;
  await database.prepare(sql).bind(JSON.stringify(entries)).run();
}

/** A database that fails, or never answers. */
function down(how: "throws" | "hangs"): D1Database & { readonly asked: number } {
  const state = { asked: 0 };
  const run = (): Promise<never> => {
    state.asked += 1;
    return how === "throws" ? Promise.reject(new Error("D1 is down for the test")) : new Promise(() => undefined);
  };
  const prepare = () => ({ bind: () => ({ run, all: run }) });
  return Object.defineProperty({ prepare }, "asked", { get: () => state.asked }) as unknown as D1Database & {
    asked: number;
  };
}

let warnings: string[] = [];
const warn = (event: string): void => void warnings.push(event);

beforeEach(() => {
  serial = 0;
  warnings = [];
  vi.spyOn(console, "log").mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("pong"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await reset();
});

describe("the sink", () => {
  test("stores entries as they are, whatever stands in them, in few statements", async () => {
    await migrate();
    const prepare = vi.spyOn(database, "prepare");
    const entries = [
      entryOf(),
      entryOf({ limit_reported: true, backend: null, status: 502, url: "/x\u2028💥" }),
      entryOf(),
    ];
    await write(new D1Sink(database, warn), entries);
    expect(prepare).toHaveBeenCalledTimes(1);
    expect(await rows()).toEqual(entries.toReversed());
    expect(warnings).toEqual([]);
  });

  test("takes 450 rows of one second in three statements, and each of them once", async () => {
    await migrate();
    const entries = Array.from({ length: 450 }, () => entryOf());
    const prepare = vi.spyOn(database, "prepare");
    await write(new D1Sink(database, warn), [...entries, entries[0] as LogEntry]);
    expect(prepare).toHaveBeenCalledTimes(3);
    expect(await rows()).toHaveLength(450);
  });

  test("keeps a bounded number of rows while the database is down, counts what it drops, and stores the rest later", async () => {
    await migrate();
    const flaky = vi.spyOn(database, "prepare").mockImplementation(() => down("throws").prepare(""));
    const sink = new D1Sink(database, warn);
    await write(
      sink,
      Array.from({ length: maxBuffered + 50 }, () => entryOf()),
    );
    expect(sink.takeDropped()).toBe(50);
    expect(sink.takeDropped()).toBe(0);
    expect(warnings).toEqual(["d1_unavailable"]);
    flaky.mockRestore();
    await write(sink, [entryOf()]);
    expect(await rows()).toEqual([]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 6000 });
    await write(sink, [entryOf()]);
    expect(await rows()).toHaveLength(1000);
    expect(sink.takeDropped()).toBe(2);
  });

  test("whose write was lost with its request writes again", async () => {
    await migrate();
    const sink = new D1Sink(database, warn);
    // The maker of the write is torn down: its work never goes on.
    sink.write(entryOf(), () => undefined);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 20_000 });
    await write(sink, [entryOf()]);
    expect(await rows()).toHaveLength(2);
  });

  test("says which command makes the table that is missing", async () => {
    const told: unknown[] = [];
    await write(new D1Sink(database, (_, error) => void told.push(error)), [entryOf()]);
    expect(told.join()).toContain("wrangler d1 migrations apply");
  });
});

describe("an outage of the log's homes costs no request anything", () => {
  test.each(["throws", "hangs"] as const)(
    "D1 %s, Analytics Engine and KV fail: all answers are right and quick, one line a minute",
    async (how) => {
      const lines: string[] = [];
      vi.spyOn(console, "warn").mockImplementation((line: string) => void lines.push(line));
      const broken = down(how);
      const at = environment({
        DB: broken,
        ANALYTICS: { writeDataPoint: () => { throw new Error("down"); } }, // prettier-ignore
        CACHE: { get: () => Promise.reject(new Error("down")), put: () => Promise.reject(new Error("down")) },
      });
      const request = (): Request<unknown, IncomingRequestCfProperties> =>
        new Request("https://edge.example/ping") as Request<unknown, IncomingRequestCfProperties>;
      const tookMs: number[] = [];
      const left: Promise<unknown>[] = [];
      for (let sent = 0; sent < 100; sent += 1) {
        const ctx = createExecutionContext();
        const began = performance.now();
        const answer = await worker.fetch(request(), at, ctx);
        expect([answer.status, await answer.text()]).toEqual([200, "pong"]);
        tookMs.push(performance.now() - began);
        left.push(waitOnExecutionContext(ctx));
      }
      await Promise.race([Promise.all(left), new Promise((resolve) => setTimeout(resolve, 3000))]);
      expect(tookMs.sort((one, other) => one - other)[98]).toBeLessThan(500);
      const events = lines.map((line) => (JSON.parse(line) as { event: string }).event);
      expect(events.filter((event) => event === "analytics_unavailable")).toHaveLength(1);
      expect(events.filter((event) => event === "d1_unavailable").length).toBeLessThanOrEqual(1);
      expect(broken.asked).toBeGreaterThan(0);
    },
  );
});

describe("reading", () => {
  test("finds by time, status, backend, client and path", async () => {
    await migrate();
    const entries = [
      entryOf({ status: 502, backend: "b" }),
      entryOf({ status: 503, client_key: "token:abc" }),
      entryOf({ url: "/v1/images/generations", client_ip: "2001:db8::1" }),
      entryOf({ url: "/v1_images%" }),
    ];
    await insert(entries);
    const found = async (given: Partial<LogFilter>): Promise<number[]> =>
      (await rows(given)).map(({ id }) => entries.findIndex((entry) => entry.id === id)).sort();
    expect(await found({ status: "502" })).toEqual([0]);
    expect(await found({ status: "5xx" })).toEqual([0, 1]);
    expect(await found({ backend: "b" })).toEqual([0]);
    expect(await found({ client: "token:abc" })).toEqual([1]);
    expect(await found({ client: "2001:db8::1" })).toEqual([2]);
    expect(await found({ path: "/v1/images" })).toEqual([2]);
    expect(await found({ path: "/v1_" })).toEqual([3]);
    expect(
      await found({
        sinceMs: Date.parse(entries[1]?.timestamp ?? ""),
        untilMs: Date.parse(entries[3]?.timestamp ?? ""),
      }),
    ).toEqual([1, 2]);
  });

  test("by pages of any size shows every row once, the latest first, also where many have one time", async () => {
    await migrate();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(5), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 9 }),
        async (times, limit) => {
          await database.prepare("DELETE FROM request_logs").run();
          const entries = times.map((second) => entryOf({ timestamp: new Date(day + second * 1000).toISOString() }));
          await insert(entries);
          const seen: unknown[] = [];
          let cursor: string | undefined;
          do {
            const page = await readLogs(database, { sinceMs: 0, untilMs: null, limit, cursor });
            expect(page?.logs.length).toBeLessThanOrEqual(limit);
            seen.push(...(page?.logs ?? []).map(({ id }) => id));
            cursor = page?.cursor ?? undefined;
          } while (cursor !== undefined);
          const expected = entries.toSorted((one, other) =>
            `${one.timestamp}${one.id}` < `${other.timestamp}${other.id}` ? 1 : -1,
          );
          expect(seen).toEqual(expected.map(({ id }) => id));
        },
      ),
      { numRuns: 20 },
    );
  });

  test("takes no cursor that it hasn't given out", async () => {
    await migrate();
    for (const cursor of ["x", "2026-11-23~", "' OR 1=1 --", "2026-11-23T00:00:00.000Z~';"])
      expect(await readLogs(database, { sinceMs: 0, untilMs: null, limit: 5, cursor })).toBeNull();
  });

  test("over the API shows what was asked for, without Jimeng's tokens or the query's secrets", async () => {
    await migrate();
    const at = environment({ DB: database });
    await ask(at, "/ping?token=sid-secret&x=1", { token: "sid-secret" });
    const { logs } = (await json(await ask(at, "/api/logs?path=/ping&status=2xx&client=198.51.100.7"))) as {
      logs: Record<string, unknown>[];
    };
    expect(logs).toHaveLength(1);
    expect(logs[0]).toMatchObject({
      url: "/ping?token=***&x=1",
      status: 200,
      client_ip: "198.51.100.7",
      outcome: "success",
    });
    expect(JSON.stringify(logs)).not.toContain("sid-secret");
  });
});

describe("retention", () => {
  test("deletes what is too old, in bounded steps, and nothing else", async () => {
    await migrate();
    const old = Array.from({ length: 2500 }, (_, index) => entryOf({ timestamp: new Date(day - index).toISOString() }));
    const young = entryOf({ timestamp: new Date(day + 1).toISOString() });
    await insert([...old, young]);
    const prepare = vi.spyOn(database, "prepare");
    // A row from the very end of the day's retention stays.
    expect(await deleteOld(database, 1, day + 86_400_000 - 1)).toBe(2498);
    expect(prepare).toHaveBeenCalledTimes(3);
    expect(await deleteOld(database, 1, day + 86_400_001)).toBe(2);
    expect((await rows()).map(({ id }) => id)).toEqual([young.id]);
  });

  test("by the cron trigger follows LOG.retentionDays, and a broken database doesn't keep the registry from being woken", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    await migrate();
    const nowMs = Date.now();
    const entries = [nowMs - 3 * 86_400_000, nowMs - 86_400_000].map((ms) =>
      entryOf({ timestamp: new Date(ms).toISOString() }),
    );
    await insert(entries);
    const ring = async (variables: Readonly<Record<string, unknown>>): Promise<void> => {
      const ctx = createExecutionContext();
      await worker.scheduled({} as ScheduledController, environment(variables), ctx);
      await waitOnExecutionContext(ctx);
    };
    await ring({ DB: down("throws") });
    await ring({ DB: database, CONFIG: '{"LOG":{"console":false,"retentionDays":2}}' });
    expect((await rows()).map(({ id }) => id)).toEqual([entries[1]?.id]);
  });
});

test("rows that were dropped are in the metrics", async () => {
  vi.spyOn(console, "warn").mockReturnValue();
  const at = environment({ ANALYTICS: { writeDataPoint: () => { throw new Error("down"); } } }); // prettier-ignore
  await ask(at, "/ping");
  await ask(at, "/ping");
  await vi.waitFor(async () => {
    const text = await (await ask(at, "/metrics")).text();
    expect(Number(/^jimeng_edge_log_rows_dropped_total (\d+)$/m.exec(text)?.[1])).toBeGreaterThanOrEqual(2);
  });
});
