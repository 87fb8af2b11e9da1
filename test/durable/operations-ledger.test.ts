import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { OperationsLedger } from "../../src/durable/operations-ledger.ts";
import { ledgerName } from "../../src/shared/contract.ts";
import type { BlockEntry, LedgerEvent, OperationsLedgerApi } from "../../src/shared/contract.ts";

const { OPERATIONS_LEDGER } = env as unknown as {
  readonly OPERATIONS_LEDGER: DurableObjectNamespace<OperationsLedger>;
};

/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;
const dayMs = 86_400_000;

function stub() {
  return OPERATIONS_LEDGER.get(OPERATIONS_LEDGER.idFromName(ledgerName));
}

/** As the other objects and the Worker see it. */
function ledger(): OperationsLedgerApi {
  return stub() as unknown as OperationsLedgerApi;
}

function entryOf(clientKey: string, given: Partial<BlockEntry> = {}): BlockEntry {
  return {
    clientKey,
    sinceMs: start,
    untilMs: start + 300_000,
    reason: "more than 100 requests in 60 s",
    refused: 1,
    byHand: false,
    ...given,
  };
}

function eventOf(subject: string, given: Partial<LedgerEvent> = {}): LedgerEvent {
  return { kind: "backend_state", atMs: start, subject, actor: "system", detail: {}, ...given };
}

function rowsOf(table: "blocks" | "events"): Promise<number> {
  return runInDurableObject(
    stub(),
    (_, state) => state.storage.sql.exec<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table}`).one().n,
  );
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: start });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

describe("the list of blocks", () => {
  test("shows each block in force once, as it was told last", async () => {
    const seen = entryOf("203.0.113.1");
    await ledger().blocked(seen);
    await ledger().blocked({ ...seen, refused: 70 });
    expect(await ledger().blocks(null, 10)).toEqual({ blocks: [{ ...seen, refused: 70 }], cursor: null });
  });

  test("heals: a block that is over, or was lifted, is not shown and leaves the disk", async () => {
    await ledger().blocked(entryOf("over", { untilMs: start + 1000 }));
    await ledger().blocked(entryOf("lifted"));
    await ledger().blocked(entryOf("stays"));
    await ledger().unblocked("lifted");
    await ledger().unblocked("never-listed");
    vi.setSystemTime(start + 1000);
    expect((await ledger().blocks(null, 10)).blocks.map((block) => block.clientKey)).toEqual(["stays"]);
    expect(await rowsOf("blocks")).toBe(2);
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await rowsOf("blocks")).toBe(1);
  });

  test("comes in pages, the newest first, each block on exactly one page", async () => {
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    for (const [index, name] of names.entries())
      await ledger().blocked(entryOf(name, { sinceMs: start - Math.floor(index / 2) }));
    const shown: string[][] = [];
    let cursor: string | null = null;
    do {
      const page: { blocks: readonly BlockEntry[]; cursor: string | null } = await ledger().blocks(cursor, 3);
      shown.push(page.blocks.map((block) => block.clientKey));
      cursor = page.cursor;
    } while (cursor !== null);
    expect(shown).toEqual([["a", "b", "c"], ["d", "e", "f"], ["g"]]);
  });

  test("finds nothing after a cursor that it has not given out", async () => {
    await ledger().blocked(entryOf("a"));
    expect(await ledger().blocks("'; DROP TABLE blocks; --", 10)).toEqual({ blocks: [], cursor: null });
    expect((await ledger().blocks(null, 10)).blocks).toHaveLength(1);
  });

  test("survives a crash", async () => {
    await ledger().blocked(entryOf("a"));
    await abortAllDurableObjects();
    expect((await ledger().blocks(null, 10)).blocks).toEqual([entryOf("a")]);
  });
});

describe("the timeline", () => {
  test("shows what was recorded since then, the latest first, of one kind or of all", async () => {
    await ledger().record([
      eventOf("a", { atMs: start - 2000 }),
      eventOf("b", { atMs: start - 1000, detail: { from: "healthy", to: "ejected" } }),
    ]);
    await ledger().record([eventOf("RATE_LIMIT.requests", { kind: "config_changed", actor: "alice@192.0.2.1" })]);
    const subjects = async (sinceMs: number, kind: string | null, limit = 10) =>
      (await ledger().events({ sinceMs, kind, limit })).map((event) => event.subject);
    expect(await subjects(0, null)).toEqual(["RATE_LIMIT.requests", "b", "a"]);
    expect(await subjects(start - 1000, null)).toEqual(["RATE_LIMIT.requests", "b"]);
    expect(await subjects(0, "backend_state")).toEqual(["b", "a"]);
    expect(await subjects(0, null, 1)).toEqual(["RATE_LIMIT.requests"]);
    expect((await ledger().events({ sinceMs: 0, kind: "backend_state", limit: 1 }))[0]).toEqual(
      eventOf("b", { atMs: start - 1000, detail: { from: "healthy", to: "ejected" } }),
    );
  });

  test("tells once of a block, however often its count is told, and again of the client's next one", async () => {
    await ledger().blocked(entryOf("203.0.113.1"));
    await ledger().blocked(entryOf("203.0.113.1", { refused: 70 }));
    await ledger().blocked(entryOf("203.0.113.1", { sinceMs: start + 400_000, untilMs: start + 700_000 }));
    const events = await ledger().events({ sinceMs: 0, kind: "client_blocked", limit: 10 });
    expect(events.map((event) => event.atMs)).toEqual([start + 400_000, start]);
  });

  test("leaves an operator's block to the entry under the operator's name", async () => {
    await ledger().blocked(entryOf("203.0.113.1", { byHand: true }));
    expect(await ledger().events({ sinceMs: 0, kind: null, limit: 10 })).toEqual([]);
  });

  test("keeps the latest 50,000 events", async () => {
    const batch = Array.from({ length: 10_000 }, (_, index) => eventOf(`b${index}`));
    await ledger().record([eventOf("first")]);
    for (let index = 0; index < 5; index += 1) await ledger().record(batch);
    expect(await rowsOf("events")).toBe(50_000);
    expect(await ledger().events({ sinceMs: 0, kind: null, limit: 1 })).toMatchObject([{ subject: "b9999" }]);
  });

  test("keeps 30 days", async () => {
    await ledger().record([eventOf("old", { atMs: start - 30 * dayMs }), eventOf("new")]);
    vi.setSystemTime(start + 1);
    expect((await ledger().events({ sinceMs: 0, kind: null, limit: 10 })).map((event) => event.subject)).toEqual([
      "new",
    ]);
    expect(await rowsOf("events")).toBe(2);
    await runDurableObjectAlarm(stub());
    expect(await rowsOf("events")).toBe(1);
  });

  test("a detail without end is shortened, not refused", async () => {
    await ledger().record([eventOf("a", { detail: { text: "x".repeat(100_000) } })]);
    const [event] = await ledger().events({ sinceMs: 0, kind: null, limit: 1 });
    expect(JSON.stringify(event).length).toBeLessThan(5000);
    expect(event?.detail).toHaveProperty("shortened");
  });
});
