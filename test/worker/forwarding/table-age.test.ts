/** How old a table may be, who waits for a newer one, and what serves while none comes. */
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backendDefaults } from "../../../src/shared/config/defaults.ts";
import type { BackendConfig } from "../../../src/shared/config/config.ts";
import type { Report, ReportReply, RoutingTable } from "../../../src/shared/contract.ts";
import { success } from "../../../src/shared/outcome.ts";
import type { Outcome } from "../../../src/shared/outcome.ts";
import { Edge } from "../../../src/worker/edge.ts";
import type { Env } from "../../../src/worker/env.ts";
import { readEnvConfig } from "../../../src/worker/env.ts";
import { tableOfConfiguration } from "../../../src/worker/table.ts";

const broken: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "unclear" };

let told: Report[];
/** When each report was told, from the test's beginning. */
let toldAtMs: number[];
let works: Promise<unknown>[];
let beganMs: number;
let answer: () => Promise<unknown>;
let kept: RoutingTable | null;
let kvAsked: number;

const sinceMs = (): number => Date.now() - beganMs;
const waitUntil = (work: Promise<unknown>): void => void works.push(work);
const gone = (): Promise<never> => Promise.reject(new Error("gone"));
const after = <Value>(ms: number, value: Value): Promise<Value> =>
  new Promise((resolve) => setTimeout(() => resolve(value), ms));

function backends(count: number): BackendConfig[] {
  return Array.from({ length: count }, (_, index) => ({
    ...backendDefaults,
    name: `b${index + 1}`,
    url: `http://b${index + 1}.example`,
  }));
}

/** A table that says by its first backend who made it. */
function tableBy(maker: string, version: number): RoutingTable {
  const table = tableOfConfiguration(backends(1).map((backend) => ({ ...backend, name: maker })));
  return { ...table, version, madeAtMs: version };
}

const newTable = (version: number): ReportReply => ({ kind: "ok", table: tableBy("registry", version) });

function isolate(): Edge {
  const registry = {
    report: (report: Report) => {
      told.push(report);
      toldAtMs.push(sinceMs());
      return answer();
    },
  };
  const kv = {
    get: () => {
      kvAsked += 1;
      return Promise.resolve(kept === null ? null : { table: kept });
    },
  };
  const given = { BACKEND_REGISTRY: { idFromName: () => ({}), get: () => registry }, CACHE: kv };
  const env = { ...bindings, ...given } as unknown as Env;
  const reading = readEnvConfig(env);
  if (!reading.ok) throw new Error("misconfigured");
  return new Edge(env, reading.config, null);
}

const ask = async (edge: Edge): Promise<void> => void (await edge.freshen("r", waitUntil, Date.now()));
const serving = (edge: Edge): string | undefined => edge.table.members[0]?.name;

/** How long a request that comes now waits for a table. */
async function waitedMs(edge: Edge): Promise<number> {
  const fromMs = Date.now();
  let untilMs = Number.NaN;
  void ask(edge).then(() => (untilMs = Date.now()));
  await vi.advanceTimersByTimeAsync(2000);
  return untilMs - fromMs;
}

beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.useFakeTimers();
  beganMs = Date.now();
  told = [];
  toldAtMs = [];
  works = [];
  kept = null;
  kvAsked = 0;
  answer = () => Promise.resolve(newTable(1));
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("a table", () => {
  test("younger than 1.5 s is used without a word to the registry", async () => {
    const edge = isolate();
    await ask(edge);
    await vi.advanceTimersByTimeAsync(1499);
    expect([edge.freshen("r", waitUntil, Date.now()), told.length]).toEqual([null, 1]);
  });

  test("from 1.5 to 2 s old is used at once, and one refresh for all requests runs in waitUntil", async () => {
    const edge = isolate();
    await ask(edge);
    await vi.advanceTimersByTimeAsync(1500);
    answer = () => after(400, newTable(2));
    works = [];
    const fromMs = Date.now();
    const waits = [0, 200, 399].map((ms) => edge.freshen("r", waitUntil, fromMs + ms));
    expect([waits, told.length, works.length]).toEqual([[null, null, null], 2, 1]);
    await vi.advanceTimersByTimeAsync(400);
    expect(edge.table.table.version).toBe(2);
  });

  test("older than 2 s is refreshed before it is used", async () => {
    const edge = isolate();
    await ask(edge);
    await vi.advanceTimersByTimeAsync(2000);
    answer = () => after(100, newTable(2));
    expect([await waitedMs(edge), edge.table.table.version]).toEqual([100, 2]);
  });

  test("older than 2 s serves after 250 ms if none comes, and the one that comes late is taken", async () => {
    const edge = isolate();
    await ask(edge);
    await vi.advanceTimersByTimeAsync(2000);
    answer = () => after(900, newTable(2));
    const fromMs = Date.now();
    let seen = 0;
    void ask(edge).then(() => (seen = edge.table.table.version));
    await vi.advanceTimersByTimeAsync(250);
    expect([seen, Date.now() - fromMs]).toEqual([1, 250]);
    await vi.advanceTimersByTimeAsync(650);
    expect(edge.table.table.version).toBe(2);
  });
});

describe("without the registry", () => {
  test("the table in hand serves for 30 s, and from then on KV's where that is newer", async () => {
    kept = tableBy("kv", 5);
    const edge = isolate();
    await ask(edge);
    answer = gone;
    await vi.advanceTimersByTimeAsync(29_000);
    await waitedMs(edge);
    expect([serving(edge), kvAsked]).toEqual(["registry", 0]);
    await vi.advanceTimersByTimeAsync(2000);
    await waitedMs(edge);
    expect([serving(edge), kvAsked]).toEqual(["kv", 1]);
  });

  test("a table in hand that is no older than KV's goes on serving", async () => {
    kept = tableBy("kv", 1);
    const edge = isolate();
    await ask(edge);
    answer = gone;
    await vi.advanceTimersByTimeAsync(40_000);
    await waitedMs(edge);
    expect([serving(edge), kvAsked]).toEqual(["registry", 1]);
  });

  test("KV is asked once in ten seconds, and what is published meanwhile is taken", async () => {
    answer = gone;
    kept = tableBy("kv", 5);
    const edge = isolate();
    for (let second = 0; second < 10; second += 1) await waitedMs(edge).then(() => vi.advanceTimersByTimeAsync(500));
    expect([serving(edge), kvAsked]).toEqual(["kv", 3]);
    kept = tableBy("kv later", 6);
    await vi.advanceTimersByTimeAsync(10_000);
    await waitedMs(edge);
    expect(serving(edge)).toBe("kv later");
  });

  test("and without KV's the configuration's weights serve", async () => {
    answer = gone;
    const edge = isolate();
    await waitedMs(edge);
    expect([edge.table.source, serving(edge)]).toEqual(["configuration", "a"]);
  });

  test("the registry's table is taken as soon as it can be reached again, whatever KV had", async () => {
    answer = gone;
    kept = tableBy("kv", 5);
    const edge = isolate();
    await waitedMs(edge);
    answer = () => Promise.resolve(newTable(2));
    await waitedMs(edge);
    expect([edge.table.source, serving(edge)]).toEqual(["registry", "registry"]);
  });
});

describe("what is seen", () => {
  const note = (edge: Edge, backend: string, outcome: Outcome): void => {
    edge.findings.note(backend, "query", outcome, 5, 0, null);
    edge.reportSoon("r", waitUntil, Date.now());
  };
  const successes = (): number =>
    told.flatMap(({ lines }) => lines).reduce((sum, line) => sum + (line.outcomes.success ?? 0), 0);

  test.each([
    [2, 500, 4],
    [20, 500, 4],
    [2, 2000, 1],
    [20, 2000, 1],
  ])("of %i backends at %i requests a second makes at most %i calls for a thousand", async (count, rate, most) => {
    const edge = isolate();
    const seconds = 5;
    for (let sent = 0; sent < rate * seconds; sent += 1) {
      await ask(edge);
      note(edge, `b${(sent % count) + 1}`, success);
      if (sent % (rate / 100) === 0) await vi.advanceTimersByTimeAsync(10);
    }
    await vi.advanceTimersByTimeAsync(2000);
    expect(successes()).toBe(rate * seconds);
    expect(Math.max(...told.map(({ lines }) => lines.length))).toBe(count);
    expect((told.length / (rate * seconds)) * 1000).toBeLessThanOrEqual(most);
    // Histograms: a line for each backend, whatever the number of outcomes.
    for (const { lines } of told) expect(JSON.stringify(lines).length).toBeLessThan(count * 300);
  });

  test("a failure is told at once, and a thousand in a second at most ten times", async () => {
    const edge = isolate();
    await ask(edge);
    told.length = 0;
    toldAtMs.length = 0;
    for (let ms = 0; ms < 1000; ms += 1) {
      note(edge, "b1", broken);
      edge.reportUrgently("r", waitUntil, Date.now());
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(toldAtMs[0]).toBe(0);
    // And the one of each second.
    expect(told.length).toBeLessThanOrEqual(11);
  });

  test("a failure that comes while a report is under way is told as soon as that has ended", async () => {
    const edge = isolate();
    await ask(edge);
    answer = () => after(300, { kind: "ok", table: null });
    void edge.report("r", waitUntil);
    told.length = 0;
    toldAtMs.length = 0;
    await vi.advanceTimersByTimeAsync(100);
    note(edge, "b1", broken);
    edge.reportUrgently("r", waitUntil, Date.now());
    await vi.advanceTimersByTimeAsync(250);
    expect(toldAtMs).toEqual([300]);
    expect(told[0]?.lines[0]?.outcomes).toEqual({ backend_fault: 1 });
  });

  test("at the end of a second in which a report is under way is told when that has ended", async () => {
    const edge = isolate();
    note(edge, "b1", success);
    await vi.advanceTimersByTimeAsync(990);
    answer = () => after(300, { kind: "ok", table: null });
    void edge.report("r", waitUntil);
    note(edge, "b1", success);
    await vi.advanceTimersByTimeAsync(2000);
    expect([successes(), edge.findings.isEmpty]).toEqual([2, true]);
  });

  test("is not lost to a registry that has another configuration and can't use it", async () => {
    const edge = isolate();
    answer = () => Promise.resolve({ kind: "misconfigured", faults: [] });
    note(edge, "b1", success);
    await vi.advanceTimersByTimeAsync(1500);
    expect(told.length).toBeGreaterThan(0);
    answer = () => Promise.resolve(newTable(2));
    told.length = 0;
    await vi.advanceTimersByTimeAsync(2000);
    note(edge, "b1", success);
    await vi.advanceTimersByTimeAsync(2000);
    expect(successes()).toBe(2);
  });
});
