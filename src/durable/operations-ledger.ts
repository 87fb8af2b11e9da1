/**
 * What happened, for an operator who asks at night: the blocks in force and a timeline of events. Nothing waits for it and
 * nothing is decided by it, so it may lose a word, and what it shows heals: a block that is over is not shown.
 */
import { DurableObject } from "cloudflare:workers";
import { formatBlockCursor, parseBlockCursor } from "../shared/block-cursor.ts";
import type { BlockEntry, LedgerEvent, OperationsLedgerApi } from "../shared/contract.ts";
import type { DurableEnv } from "./settings.ts";

/** About 10 MB at 200 bytes a row; at a row a minute, a month. */
const maxEvents = 50_000;
const eventRetentionMs = 30 * 24 * 3_600_000;
/** An attack from more networks than this has other remedies than a list. */
const maxBlocks = 20_000;
const maxPage = 1000;
const sweepMs = 3_600_000;
/** What one event may say, in characters of JSON. */
const maxDetail = 4096;
const maxText = 300;

/** Each runs once, in this order; a released one is never changed. */
const schema = [
  `CREATE TABLE blocks (client_key TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, reason TEXT NOT NULL,
     refused INTEGER NOT NULL, by_hand INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE events (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
     actor TEXT NOT NULL, detail TEXT NOT NULL);`,
] as const;
const schemaKey = "schema";

type BlockRow = Record<"client_key" | "reason", string> &
  Record<"since_ms" | "until_ms" | "refused" | "by_hand", number>;
type EventRow = Record<"kind" | "subject" | "actor" | "detail", string> & Record<"at_ms", number>;

export class OperationsLedger extends DurableObject<DurableEnv> implements OperationsLedgerApi {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: DurableEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    const done = ctx.storage.kv.get<number>(schemaKey) ?? 0;
    if (done >= schema.length) return;
    ctx.storage.transactionSync(() => {
      for (const step of schema.slice(done)) this.#sql.exec(step);
      ctx.storage.kv.put(schemaKey, schema.length);
    });
  }

  async record(events: readonly LedgerEvent[]): Promise<void> {
    for (const event of events) this.#insert(event);
    this.#sql.exec("DELETE FROM events WHERE id <= (SELECT MAX(id) FROM events) - ?", maxEvents);
    await this.#sweepLater();
  }

  async blocked(entry: BlockEntry): Promise<void> {
    const { clientKey, sinceMs, untilMs, reason, refused, byHand } = entry;
    const known = this.#sql
      .exec<{ since_ms: number }>("SELECT since_ms FROM blocks WHERE client_key = ?", clientKey)
      .toArray()[0];
    this.#sql.exec(
      "INSERT OR REPLACE INTO blocks (client_key, since_ms, until_ms, reason, refused, by_hand) VALUES (?, ?, ?, ?, ?, ?)",
      clientKey,
      sinceMs,
      untilMs,
      reason.slice(0, maxText),
      refused,
      byHand ? 1 : 0,
    );
    if (known === undefined) this.#boundBlocks(Date.now());
    // An operator's act is in the timeline under the operator's name, written by whoever let them.
    const isNews = !byHand && known?.since_ms !== sinceMs;
    if (!isNews) return this.#sweepLater();
    await this.record([
      { kind: "client_blocked", atMs: sinceMs, subject: clientKey, actor: "system", detail: { reason, untilMs } },
    ]);
  }

  async unblocked(clientKey: string): Promise<void> {
    this.#sql.exec("DELETE FROM blocks WHERE client_key = ?", clientKey);
  }

  /** In force now, newest first. A cursor that this list has not given out finds nothing. */
  async blocks(
    cursor: string | null,
    limit: number,
  ): Promise<{ readonly blocks: readonly BlockEntry[]; readonly cursor: string | null }> {
    const after = cursor === null ? { sinceMs: Number.MAX_SAFE_INTEGER, clientKey: "" } : parseBlockCursor(cursor);
    if (after === null) return { blocks: [], cursor: null };
    const size = Math.max(1, Math.min(limit, maxPage));
    const rows = this.#sql.exec<BlockRow>(
      `SELECT * FROM blocks WHERE until_ms > ? AND (since_ms < ? OR (since_ms = ? AND client_key > ?))
       ORDER BY since_ms DESC, client_key LIMIT ?`,
      Date.now(),
      after.sinceMs,
      after.sinceMs,
      after.clientKey,
      size + 1,
    );
    const found = rows.toArray().map(toEntry);
    const page = found.slice(0, size);
    const last = page.at(-1);
    return { blocks: page, cursor: found.length > size && last !== undefined ? formatBlockCursor(last) : null };
  }

  /** As they were recorded, the latest first. */
  async events(query: {
    readonly sinceMs: number;
    readonly kind: string | null;
    readonly limit: number;
  }): Promise<readonly LedgerEvent[]> {
    const sinceMs = Math.max(query.sinceMs, Date.now() - eventRetentionMs);
    const rows = this.#sql.exec<EventRow>(
      "SELECT at_ms, kind, subject, actor, detail FROM events WHERE at_ms >= ? AND (? IS NULL OR kind = ?) ORDER BY id DESC LIMIT ?",
      sinceMs,
      query.kind,
      query.kind,
      Math.max(1, Math.min(query.limit, maxPage)),
    );
    return rows.toArray().map(toEvent);
  }

  async blockCount(): Promise<number> {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM blocks WHERE until_ms > ?", Date.now()).one().n;
  }

  /** Reads never show what is over; the alarm takes it off the disk. */
  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    try {
      this.#sql.exec("DELETE FROM blocks WHERE until_ms <= ?", nowMs);
      this.#sql.exec("DELETE FROM events WHERE at_ms < ?", nowMs - eventRetentionMs);
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "ledger_sweep_failed", message: String(error) }));
    } finally {
      await this.ctx.storage.setAlarm(nowMs + sweepMs);
    }
  }

  async #sweepLater(): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + sweepMs);
  }

  #insert({ atMs, kind, subject, actor, detail }: LedgerEvent): void {
    this.#sql.exec(
      "INSERT INTO events (at_ms, kind, subject, actor, detail) VALUES (?, ?, ?, ?, ?)",
      atMs,
      kind.slice(0, maxText),
      subject.slice(0, maxText),
      actor.slice(0, maxText),
      boundedJson(detail),
    );
  }

  #boundBlocks(nowMs: number): void {
    const count = () => this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM blocks").one().n;
    if (count() <= maxBlocks) return;
    this.#sql.exec("DELETE FROM blocks WHERE until_ms <= ?", nowMs);
    const excess = count() - maxBlocks;
    if (excess <= 0) return;
    this.#sql.exec(
      "DELETE FROM blocks WHERE client_key IN (SELECT client_key FROM blocks ORDER BY until_ms LIMIT ?)",
      excess,
    );
  }
}

function toEntry(row: BlockRow): BlockEntry {
  const { client_key: clientKey, since_ms: sinceMs, until_ms: untilMs, reason, refused } = row;
  return { clientKey, sinceMs, untilMs, reason, refused, byHand: row.by_hand === 1 };
}

function toEvent(row: EventRow): LedgerEvent {
  const { kind, at_ms: atMs, subject, actor } = row;
  return { kind, atMs, subject, actor, detail: JSON.parse(row.detail) as Record<string, unknown> };
}

function boundedJson(detail: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(detail);
  return text.length <= maxDetail ? text : JSON.stringify({ shortened: text.slice(0, maxDetail / 2) });
}
