import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { OperationsLedger } from "../../src/durable/operations-ledger.ts";
import { ledgerName, publishedKey, registryName } from "../../src/shared/contract.ts";
import type {
  BackendRegistryApi,
  BackendReply,
  BackendView,
  LedgerEvent,
  OperationsLedgerApi,
  OverridesView,
  PickReply,
  PublishedFleet,
  RegistryOperationsApi,
  RoutingTable,
} from "../../src/shared/contract.ts";
import { maxPurgedPaths } from "../../src/shared/fleet/fleet.ts";
import { asking, nothingSeen } from "../shared/fleet/asked.ts";

const bindings = env as unknown as Record<"BACKEND_REGISTRY" | "OPERATIONS_LEDGER", DurableObjectNamespace> & {
  readonly CACHE: KVNamespace;
};
const by = { name: "alice", from: "198.51.100.7" };
/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;
const dead = new Set<string>();

beforeEach(() => {
  dead.clear();
  vi.useFakeTimers({ toFake: ["Date"], now: start });
  vi.spyOn(console, "warn").mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const url = new URL(input instanceof Request ? input.url : input.toString());
    if (dead.has(url.host)) throw new Error("Network connection lost.");
    return url.pathname === "/v1/models" ? Response.json({ data: [{ id: "m" }] }) : new Response("pong");
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  // A reset deletes what living objects have stored and passes over one that is just being put to rest.
  await runInDurableObject(stub(), (_, state) => state.storage.deleteAll());
  await reset();
});

function stub() {
  return bindings.BACKEND_REGISTRY.get(bindings.BACKEND_REGISTRY.idFromName(registryName));
}

function registry(): BackendRegistryApi & RegistryOperationsApi {
  return stub() as unknown as BackendRegistryApi & RegistryOperationsApi;
}

function ledger(): OperationsLedgerApi {
  const namespace = bindings.OPERATIONS_LEDGER;
  return namespace.get(namespace.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
}

async function events(kind: string | null = null): Promise<readonly LedgerEvent[]> {
  return ledger().events({ sinceMs: 0, kind, limit: 100 });
}

/** The ledger hears of it after the answer. */
async function told(kind: string, count = 1): Promise<readonly LedgerEvent[]> {
  return vi.waitFor(async () => {
    const found = await events(kind);
    expect(found.length).toBe(count);
    return found;
  });
}

async function table(): Promise<RoutingTable> {
  const reply = await registry().report(nothingSeen);
  if (reply.kind !== "ok" || reply.table === null) throw new Error("no table");
  return reply.table;
}

function viewOf(reply: BackendReply): BackendView {
  if (reply.kind !== "ok") throw new Error(JSON.stringify(reply));
  return reply.backend;
}

async function backend(name: string): Promise<BackendView | undefined> {
  return (await registry().listBackends()).find((known) => known.name === name);
}

async function overridden(values: Readonly<Record<string, unknown>>): Promise<OverridesView> {
  const reply = await registry().changeOverrides({ kind: "set", values, version: null }, by);
  if (reply.kind !== "ok") throw new Error(JSON.stringify(reply));
  return reply.overrides;
}

async function lease(): Promise<PickReply> {
  return registry().pick(asking());
}

/** What the configuration would look like to a registry that was written under another. */
async function rewriteFact(kind: string, change: (value: unknown) => unknown): Promise<void> {
  await runInDurableObject(stub(), (_, state) => {
    const row = state.storage.sql.exec<{ value: string }>("SELECT value FROM fact WHERE kind = ?", kind).one();
    const value = JSON.stringify(change(JSON.parse(row.value)));
    state.storage.sql.exec("UPDATE fact SET value = ? WHERE kind = ?", value, kind);
  });
  await abortAllDurableObjects();
}

describe("after abort of every object", () => {
  test("states, patches, added backends, overrides, purges, blocks and events are still there", async () => {
    viewOf(await registry().changeBackend({ kind: "state", name: "a", state: "draining" }, by));
    viewOf(await registry().changeBackend({ kind: "patch", name: "b", values: { weight: 9 } }, by));
    viewOf(await registry().changeBackend({ kind: "add", backend: { url: "http://127.0.0.1:9109", name: "d" } }, by));
    await overridden({ "RATE_LIMIT.requests": 7 });
    await registry().purgeCache(["/v1/models"], by);
    const block = {
      clientKey: "203.0.113.9",
      sinceMs: start,
      untilMs: start + 60_000,
      reason: "r",
      refused: 0,
      byHand: true,
    };
    await ledger().blocked(block);
    await vi.waitFor(async () => expect((await events()).filter(({ actor }) => actor === "alice")).toHaveLength(5));
    await abortAllDurableObjects();
    expect((await backend("a"))?.operatorState).toBe("draining");
    expect(await backend("b")).toMatchObject({ weight: 9, overridden: { weight: { value: 9, configured: 2 } } });
    expect((await backend("d"))?.origin).toBe("added");
    expect(await registry().overrides()).toEqual({
      version: 1,
      values: { "RATE_LIMIT.requests": 7 },
      configured: { "RATE_LIMIT.requests": 100 },
    });
    expect(await table()).toMatchObject({
      cacheGenerations: { "/v1/models": 1 },
      overrides: { version: 1, values: { "RATE_LIMIT.requests": 7 } },
    });
    expect((await ledger().blocks(null, 10)).blocks).toEqual([block]);
    expect((await events()).filter(({ actor }) => actor === "alice")).toHaveLength(5);
  });

  test("a change that was answered is told to the ledger, also when the ledger was down at the time", async () => {
    await table();
    const record = vi.spyOn(OperationsLedger.prototype, "record").mockRejectedValue(new Error("down for the test"));
    viewOf(await registry().changeBackend({ kind: "state", name: "a", state: "draining" }, by));
    await vi.waitFor(() => expect(record).toHaveBeenCalled());
    await abortAllDurableObjects();
    record.mockRestore();
    expect(await events("backend_drained")).toEqual([]);
    await table();
    vi.setSystemTime(start + 70_000);
    await runDurableObjectAlarm(stub());
    const [event] = await told("backend_drained");
    expect(event).toMatchObject({
      subject: "a",
      actor: "alice",
      atMs: start,
      detail: { from: by.from, before: "active" },
    });
  });
});

describe("the ledger says who, what, before, after, when and from where", () => {
  test("of a patch, with the fields that changed only, and nothing of one that changed nothing", async () => {
    await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 5, priority: 1 } }, by);
    await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 5 } }, by);
    const [event] = await told("backend_changed");
    expect(event).toEqual({
      kind: "backend_changed",
      atMs: start,
      subject: "a",
      actor: "alice",
      detail: { from: "198.51.100.7", before: { weight: 3 }, after: { weight: 5 } },
    });
  });

  test("of an override and of its end", async () => {
    await overridden({ "RATE_LIMIT.requests": 7 });
    await registry().changeOverrides({ kind: "remove", path: null, version: 1 }, by);
    expect((await told("override_set"))[0]?.detail).toEqual({ from: by.from, before: 100, after: 7, version: 1 });
    expect((await told("override_removed"))[0]?.detail).toEqual({ from: by.from, before: 7, after: 100, version: 2 });
  });
});

describe("a backend", () => {
  test("that drains takes no new request, keeps those it has, and shows them going down", async () => {
    for (const name of ["b", "c"]) await registry().changeBackend({ kind: "state", name, state: "disabled" }, by);
    const first = await lease();
    const second = await lease();
    if (first.kind !== "picked" || second.kind !== "picked") throw new Error("nothing was picked");
    const drained = viewOf(await registry().changeBackend({ kind: "state", name: "a", state: "draining" }, by));
    expect([drained.inFlight, drained.leases]).toEqual([2, { active: 2, orphaned: 0 }]);
    expect(await lease()).toMatchObject({ kind: "none" });
    const outcome = { kind: "success", executed: "yes", seenByProbe: false, reason: "ok" } as const;
    for (const [index, { leaseId }] of [first, second].entries()) {
      const report = {
        backend: "a", routeClass: "generate", edgeRegion: "local", outcome, latencyMs: 10, responseBytes: 1, learned: null,
      } as const; // prettier-ignore
      await registry().settle({ leaseId, report, orphaned: false });
      expect((await backend("a"))?.inFlight).toBe(1 - index);
    }
    viewOf(await registry().changeBackend({ kind: "state", name: "a", state: "active" }, by));
    expect(await lease()).toMatchObject({ kind: "picked", candidates: [{ name: "a" }] });
  });

  test("is changed with a newer table, so that the edge hears of it", async () => {
    const before = await table();
    await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 0, maxInFlight: 4 } }, by);
    const after = await table();
    expect(after.version).toBeGreaterThan(before.version);
    expect(after.backends.find(({ name }) => name === "a")).toMatchObject({ weight: 0, maxInFlight: 4 });
  });

  test("is not added with headers, under a name or a URL that is taken, or where this runtime can't reach it", async () => {
    const add = (given: Readonly<Record<string, unknown>>): Promise<BackendReply> =>
      registry().changeBackend({ kind: "add", backend: given }, by);
    expect(await add({ url: "http://127.0.0.1:9109", headers: { "x-secret": "s3cret" } })).toMatchObject({
      kind: "invalid",
    });
    expect(
      JSON.stringify(await add({ url: "http://127.0.0.1:9109", headers: { "x-secret": "s3cret" } })),
    ).not.toContain("s3cret");
    expect(await add({ url: "http://127.0.0.1:9101" })).toMatchObject({ kind: "conflict" });
    expect(await add({ url: "http://127.0.0.1:9109", name: "a" })).toMatchObject({ kind: "conflict" });
    expect(await add({ url: "ftp://127.0.0.1" })).toMatchObject({ kind: "invalid" });
    expect(await registry().listBackends()).toHaveLength(3);
  });

  test("that is configured can't be removed, and one that was added leaves with everything said of it", async () => {
    expect(await registry().changeBackend({ kind: "remove", name: "a" }, by)).toMatchObject({
      kind: "conflict",
      message: expect.stringContaining("BACKEND_SERVERS") as string,
    });
    viewOf(await registry().changeBackend({ kind: "add", backend: { url: "http://127.0.0.1:9109", name: "d" } }, by));
    viewOf(await registry().changeBackend({ kind: "patch", name: "d", values: { weight: 5 } }, by));
    viewOf(await registry().changeBackend({ kind: "state", name: "d", state: "draining" }, by));
    viewOf(await registry().changeBackend({ kind: "remove", name: "d" }, by));
    expect(await backend("d")).toBeUndefined();
    const again = viewOf(
      await registry().changeBackend({ kind: "add", backend: { url: "http://127.0.0.1:9109", name: "d" } }, by),
    );
    expect(again).toMatchObject({ weight: 1, operatorState: "active", overridden: {} });
  });

  test("is probed when it is asked for, and the result is told and believed", async () => {
    dead.add("127.0.0.1:9101");
    await table();
    const reply = await registry().probeBackend("a", by);
    expect(reply).toMatchObject({
      kind: "ok",
      result: { ok: false, reason: "unreachable" },
      backend: { consecutiveFailures: 1 },
    });
    expect(await registry().probeBackend("nobody", by)).toMatchObject({ kind: "unknown", known: ["a", "b", "c"] });
    expect((await told("backend_probed"))[0]?.detail).toMatchObject({ ok: false });
  });

  test("whose configured value changes later has the new value, and an event says that the change has ended", async () => {
    viewOf(await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 9 } }, by));
    await rewriteFact("overlay", (value) => {
      const overlay = value as { patches: { a: { weight: { over: number } } } };
      overlay.patches.a.weight.over = 1;
      return overlay;
    });
    expect(await backend("a")).toMatchObject({ weight: 3, overridden: {} });
    const [event] = await told("backend_change_ended");
    expect(event).toMatchObject({
      subject: "a",
      actor: "system",
      detail: { field: "weight", reason: "configured_value_changed" },
    });
    await abortAllDurableObjects();
    await table();
    expect(await events("backend_change_ended")).toHaveLength(1);
  });
});

describe("the configuration", () => {
  test("is the registry's own as soon as it is overridden", async () => {
    await overridden({ "WATCH.leaseExpiry": 200, "HEALTH_CHECK.path": "/alive" });
    await lease();
    const storedLeases = (): Promise<readonly string[]> =>
      runInDurableObject(stub(), (_, state) =>
        state.storage.sql
          .exec<{ value: string }>("SELECT value FROM lease")
          .toArray()
          .map(({ value }) => value),
      );
    const [stored] = await vi.waitFor(
      async () => {
        const leases = await storedLeases();
        expect(leases).toHaveLength(1);
        return leases;
      },
      { timeout: 5000 },
    );
    expect(JSON.parse(stored ?? "")).toMatchObject({ expiresMs: start + 200_000 });
    const asked = vi.mocked(fetch).mock.calls.length;
    await registry().probeBackend("a", by);
    expect(String(vi.mocked(fetch).mock.calls[asked]?.[0])).toBe("http://127.0.0.1:9101/alive");
  });

  test("that was overridden at another version than the operator saw is a conflict, and nothing changes", async () => {
    await overridden({ "RATE_LIMIT.requests": 7 });
    const reply = await registry().changeOverrides(
      { kind: "set", values: { "RATE_LIMIT.requests": 8 }, version: 0 },
      by,
    );
    expect(reply).toMatchObject({ kind: "conflict" });
    expect((await registry().overrides()).values).toEqual({ "RATE_LIMIT.requests": 7 });
  });

  test("that can't be is refused with every fault, and nothing of it comes into force", async () => {
    const values = { "RATE_LIMIT.requests": 8, "CACHE.ttl.models": "soon", "NO.SUCH": 1 };
    const reply = await registry().changeOverrides({ kind: "set", values, version: null }, by);
    expect(reply.kind === "invalid" && reply.faults.map(({ field }) => field).sort()).toEqual([
      "CACHE.ttl.models",
      "NO.SUCH",
    ]);
    expect((await table()).overrides).toEqual({ version: 0, values: {} });
  });

  test("whose overridden value changes later has the new value, the override ends, and an event says so", async () => {
    await overridden({ "RATE_LIMIT.requests": 7, "CACHE.enabled": false });
    await rewriteFact("overrides", (value) => {
      const stored = value as { beneath: Record<string, unknown> };
      stored.beneath["RATE_LIMIT.requests"] = 60;
      return stored;
    });
    expect(await registry().overrides()).toMatchObject({ version: 2, values: { "CACHE.enabled": false } });
    const [event] = await told("override_ended");
    expect(event).toMatchObject({
      subject: "RATE_LIMIT.requests",
      actor: "system",
      detail: { reason: "configured_value_changed", value: 7, configuredThen: 60, configuredNow: 100 },
    });
  });
});

describe("a purge", () => {
  test("makes another generation of a path, or of everything, and never one that was there before", async () => {
    const generation = async (path: string): Promise<string> => {
      const { cacheGenerations } = await table();
      return `${cacheGenerations["*"] ?? 0}.${cacheGenerations[path] ?? 0}`;
    };
    const seen = [await generation("/v1/x")];
    for (const paths of [["/v1/x"], ["/v1/x", "/v1/y"], null, ["/v1/x"], null]) {
      await registry().purgeCache(paths, by);
      seen.push(await generation("/v1/x"));
    }
    expect(new Set(seen).size).toBe(seen.length);
  });

  test("of more paths than the table should carry is one of everything", async () => {
    const paths = Array.from({ length: maxPurgedPaths }, (_, index) => `/test/${index}`);
    await registry().purgeCache(paths, by);
    expect(Object.keys((await table()).cacheGenerations)).toHaveLength(maxPurgedPaths);
    await registry().purgeCache(["/test/one-more"], by);
    expect((await table()).cacheGenerations).toEqual({ "*": 1 });
  });

  test("of the models has them read anew", async () => {
    await registry().probeBackend("a", by);
    expect((await table()).models?.entries).toHaveLength(1);
    vi.setSystemTime(start + 5000);
    await registry().purgeCache(["/v1/models"], by);
    await vi.waitFor(async () => expect((await table()).models?.readAtMs).toBeGreaterThanOrEqual(start + 5000));
  });
});

describe("KV", () => {
  const ring = async (atMs: number): Promise<void> => {
    vi.setSystemTime(atMs);
    await runDurableObjectAlarm(stub());
  };
  const published = (): Promise<PublishedFleet | null> => bindings.CACHE.get<PublishedFleet>(publishedKey, "json");

  test("gets table and configuration when they change in substance, at most once a minute, and every half hour", async () => {
    await table();
    await ring(start + 600);
    const first = await vi.waitFor(async () => {
      const found = await published();
      if (found === null) throw new Error("nothing is published yet");
      return found;
    });
    expect(first.table.backends.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    const at = async (ms: number): Promise<number> => {
      await ring(start + ms);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return ((await published())?.publishedAtMs ?? 0) - start;
    };
    const firstMs = first.publishedAtMs - start;
    viewOf(await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 5 } }, by));
    expect(await at(30_000)).toBe(firstMs);
    viewOf(await registry().changeBackend({ kind: "patch", name: "a", values: { weight: 6 } }, by));
    expect(await at(61_000)).toBe(61_000);
    expect((await published())?.table.backends[0]?.weight).toBe(6);
    expect(await at(130_000)).toBe(61_000);
    await overridden({ "RATE_LIMIT.requests": 7 });
    expect(await at(131_000)).toBe(131_000);
    expect((await published())?.config.RATE_LIMIT.requests).toBe(7);
    expect(await at(131_000 + 1_790_000)).toBe(131_000);
    expect(await at(131_000 + 1_801_000)).toBe(131_000 + 1_801_000);
  });

  test("that is down stops nothing and is asked again after a minute", async () => {
    const put = vi
      .spyOn(Object.getPrototypeOf(bindings.CACHE) as KVNamespace, "put")
      .mockRejectedValue(new Error("down"));
    await table();
    await ring(start + 600);
    expect(await lease()).toMatchObject({ kind: "picked" });
    await vi.waitFor(() => expect(put).toHaveBeenCalledTimes(1));
    await ring(start + 20_000);
    await ring(start + 40_000);
    expect(put).toHaveBeenCalledTimes(1);
    await ring(start + 62_000);
    await vi.waitFor(() => expect(put).toHaveBeenCalledTimes(2));
  });
});

describe("the metrics", () => {
  test("count attempts, bytes and durations since the start, and tell what stands", async () => {
    const picked = await lease();
    if (picked.kind !== "picked") throw new Error("nothing was picked");
    const name = picked.candidates[0]?.name ?? "";
    const outcome = { kind: "success", executed: "yes", seenByProbe: false, reason: "ok" } as const;
    await lease();
    const report = {
      backend: name, routeClass: "generate", edgeRegion: "HKG", outcome, latencyMs: 1500, responseBytes: 77, learned: null,
    } as const; // prettier-ignore
    await registry().settle({ leaseId: picked.leaseId, report, orphaned: false });
    await registry().probeBackend(name, by);
    await overridden({ "RATE_LIMIT.requests": 7 });
    const metrics = await registry().metrics();
    const backend = metrics?.backends.find(({ row }) => row.name === name);
    expect(backend).toMatchObject({
      attempts: { generate: { success: 1 } },
      responseBytes: 77,
      probes: { passed: 1, failed: 0 },
    });
    expect(backend?.latencies).toMatchObject([{ routeClass: "generate", edgeRegion: "HKG", totals: { sumMs: 1500 } }]);
    expect(metrics).toMatchObject({ leases: { active: 1, orphaned: 0 }, overrides: 1, blockedClients: 0 });
  });
});
