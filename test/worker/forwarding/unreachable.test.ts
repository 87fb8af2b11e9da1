/** An isolate that can't reach the registry: what it knows for itself must do. */
import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backendDefaults } from "../../../src/shared/config/defaults.ts";
import type { Outcome } from "../../../src/shared/outcome.ts";
import { success } from "../../../src/shared/outcome.ts";
import type { Env } from "../../../src/worker/env.ts";
import { handle } from "../../../src/worker/pipeline.ts";
import { LocalTable, tableOfConfiguration } from "../../../src/worker/table.ts";

const broken: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "unclear" };

describe("a table", () => {
  const names = ["a", "b", "c"];
  const backends = names.map((name) => ({ ...backendDefaults, name, url: `http://${name}.example` }));
  const made = (): LocalTable => new LocalTable(tableOfConfiguration(backends));
  const order = (table: LocalTable, nowMs: number): string =>
    table
      .reachableFirst(backends, nowMs)
      .map(({ name }) => name)
      .join("");

  test("puts last what has failed three times in a row, and no sooner", () => {
    const table = made();
    table.heard("a", broken, 0);
    table.heard("a", broken, 1);
    expect(order(table, 2)).toBe("abc");
    table.heard("a", broken, 3);
    expect(order(table, 4)).toBe("bca");
  });

  test("lets one request a second find out, and believes a success at once", () => {
    const table = made();
    for (let time = 0; time < 3; time += 1) table.heard("a", broken, time);
    expect([order(table, 1100), order(table, 1101), order(table, 2050)]).toEqual(["abc", "bca", "bca"]);
    expect(order(table, 2200)).toBe("abc");
    table.heard("a", success, 2201);
    expect(order(table, 2202)).toBe("abc");
  });

  test("is not moved by answers that a probe could not have foreseen, nor by clients that leave", () => {
    const table = made();
    for (let time = 0; time < 9; time += 1) {
      table.heard("a", { ...broken, seenByProbe: false }, time);
      table.heard("b", { ...broken, kind: "aborted" }, time);
    }
    expect(order(table, 10)).toBe("abc");
  });

  test("gives a backend on trial one request, however it ends, until the next table tells more", () => {
    const table = made();
    const [first, ...rest] = table.table.backends;
    const told = { ...table.table, backends: [{ ...first!, state: "trial", trialFor: "server" } as const, ...rest] };
    const trialOfA = (): string | null | undefined => table.members.find(({ name }) => name === "a")?.trialFor;
    table.adopt(told, "registry", 1000, {});
    expect(trialOfA()).toBe("server");
    table.opened("a");
    table.closed("a");
    expect(trialOfA()).toBeNull();
    table.adopt(told, "registry", 2000, {});
    expect(trialOfA()).toBe("server");
  });

  test("joins what is in flight here with what the registry counts of the others", () => {
    const table = made();
    for (let sent = 0; sent < 3; sent += 1) table.opened("a");
    const [first, ...rest] = table.table.backends;
    const counted = { ...table.table, backends: [{ ...first!, inFlight: 5 }, ...rest] };
    const inFlight = (): number | undefined => table.members.find(({ name }) => name === "a")?.inFlight;
    // Of its five two are this isolate's, told a moment ago; a third was opened since.
    table.adopt(counted, "registry", 1000, { a: 2 });
    expect(inFlight()).toBe(6);
    table.opened("a");
    expect(inFlight()).toBe(7);
    for (let ended = 0; ended < 4; ended += 1) table.closed("a");
    expect(inFlight()).toBe(3);
    table.adopt(counted, "registry", 2000, { a: 9 });
    expect(inFlight()).toBe(0);
  });

  test("keeps the order of all where all fail", () => {
    const table = made();
    for (const name of names) for (let time = 0; time < 3; time += 1) table.heard(name, broken, time);
    expect(order(table, 4)).toBe("abc");
  });

  test("has a retry budget of its own once the registry has been silent for five seconds", () => {
    const table = made();
    table.adopt({ ...table.table, retryAllowance: 1 }, "registry", 1000, {});
    expect([table.takeRetry(1001, 0), table.takeRetry(1002, 0), table.takeRetry(5999, 0)]).toEqual([
      true,
      false,
      false,
    ]);
    for (let index = 0; index < 1000; index += 1) table.requested(6000);
    let granted = 0;
    while (table.takeRetry(6500, 0)) granted += 1;
    // A hundred, and a fifth of the requests, less the one that was taken within the ten seconds.
    expect(granted).toBe(299);
    expect(table.takeRetry(17_000, 0)).toBe(true);
  });

  test("draws for a share that is a fraction", () => {
    const table = made();
    table.adopt({ ...table.table, retryAllowance: 0.4 }, "registry", 1000, {});
    expect(table.takeRetry(1001, 0.5)).toBe(false);
    expect([table.takeRetry(1002, 0.3), table.takeRetry(1003, 0)]).toEqual([true, false]);
  });
});

describe("without the registry", () => {
  let dead = "";
  let reached: string[] = [];
  beforeEach(() => {
    reached = [];
    vi.spyOn(console, "log").mockImplementation(() => undefined);
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
      const { port } = new URL(String(input));
      reached.push(port);
      if (port === dead) throw new Error("Network connection lost.");
      return new Response("pong", { headers: { "content-length": "4" } });
    });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await reset();
  });

  test("300 cheap requests succeed with one backend of three dead, which is asked only now and then", async () => {
    dead = "9101";
    const namespace = {
      idFromName: (name: string) => name,
      get: () => ({ report: () => Promise.reject(new Error("no registry")) }),
    };
    const env = {
      ...(bindings as unknown as Env),
      BACKEND_REGISTRY: namespace as unknown as DurableObjectNamespace,
      CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false } }),
    };
    const statuses = new Set<number>();
    for (let index = 0; index < 300; index += 1) {
      const ctx = createExecutionContext();
      statuses.add((await handle(new Request("https://edge.example/ping"), env, ctx)).status);
      if (index % 100 === 99) await waitOnExecutionContext(ctx);
    }
    expect([...statuses]).toEqual([200]);
    expect(reached.filter((port) => port === dead).length).toBeLessThan(15);
  });
});
