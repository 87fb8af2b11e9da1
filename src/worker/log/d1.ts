/**
 * Rows in D1, written in batches after the answers have gone. The buffer is bounded: what finds no room is dropped and
 * counted, and a database in trouble costs a request nothing.
 */
import type { LogEntry, LogSink } from "./entry.ts";

export const columns = [
  "id", "timestamp", "method", "url", "route", "status", "latency", "client_ip", "client_key", "api_key", "limit_reported",
  "backend", "attempts", "user_agent", "cache", "outcome", "reason", "region",
] as const satisfies readonly (keyof LogEntry)[]; // prettier-ignore

/** Rows that wait in one isolate, about 400 bytes each. */
export const maxBuffered = 1000;
/** Rows of one statement: together far below the 2 MB that a bound value may have. */
const rowsAtOnce = 200;
/** A row waits no longer, while somebody asks. */
const rowWaitMs = 1000;
/** A write under way for longer than this was lost with the request that made it. */
const lostMs = 15_000;
const patienceMs = 10_000;
/** After a failure the database is left alone for so long. */
const pauseMs = 5000;

/** One bound value whatever the number of rows: D1 binds at most 100. A row that is written again is the same row. */
const insert = `INSERT OR IGNORE INTO request_logs (${columns.join(", ")})
  SELECT ${columns.map((column) => `json_extract(value, '$.${column}')`).join(", ")} FROM json_each(?1)`;

type WaitUntil = (work: Promise<unknown>) => void;

export class D1Sink implements LogSink {
  readonly name = "d1";
  /** Written only by who wants to see the rows sooner. */
  waitMs = rowWaitMs;
  readonly #database: D1Database;
  readonly #warn: (event: string, error: unknown) => void;
  #rows: LogEntry[] = [];
  #dropped = 0;
  /** Since when a write is planned or under way; null: none is. */
  #plannedMs: number | null = null;
  #notBeforeMs = 0;

  /** `warn` tells at most once a minute. */
  constructor(database: D1Database, warn: (event: string, error: unknown) => void) {
    this.#database = database;
    this.#warn = warn;
  }

  write(entry: LogEntry, waitUntil: WaitUntil): void {
    if (this.#rows.length >= maxBuffered) this.#dropped += 1;
    else this.#rows.push(entry);
    const nowMs = Date.now();
    const isPlanned = this.#plannedMs !== null && nowMs - this.#plannedMs < lostMs + this.waitMs;
    if (isPlanned || nowMs < this.#notBeforeMs) return;
    this.#plannedMs = nowMs;
    waitUntil(this.#writeSoon());
  }

  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  async #writeSoon(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.waitMs));
    while (this.#rows.length > 0 && (await this.#writeSome()));
    this.#plannedMs = null;
  }

  async #writeSome(): Promise<boolean> {
    const rows = this.#rows.splice(0, rowsAtOnce);
    try {
      await patiently(this.#database.prepare(insert).bind(JSON.stringify(rows)).run());
      return true;
    } catch (error) {
      this.#notBeforeMs = Date.now() + pauseMs;
      this.#putBack(rows);
      this.#warn("d1_unavailable", explained(error));
      return false;
    }
  }

  /** The oldest go first when there is no room for all. */
  #putBack(rows: readonly LogEntry[]): void {
    const all = [...rows, ...this.#rows];
    const excess = Math.max(0, all.length - maxBuffered);
    this.#dropped += excess;
    this.#rows = all.slice(excess);
  }
}

async function patiently(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${patienceMs / 1000} s`)), patienceMs);
  });
  try {
    await Promise.race([work, silence]);
  } finally {
    clearTimeout(timer);
  }
}

function explained(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!message.includes("no such table")) return message;
  return `${message}; make it with: npx wrangler d1 migrations apply DB --remote`;
}

// ── Retention ────────────────────────────────────────────────────────────────────────────────────

/** A statement that runs for long keeps the others out. */
const deletedAtOnce = 1000;
/** By one ring of the cron trigger, each minute: seven million rows a day. */
const deletionsAtOnce = 5;

/** Deletes what is older than `retentionDays`, in bounded steps; the number of rows deleted. */
export async function deleteOld(database: D1Database, retentionDays: number, nowMs: number): Promise<number> {
  const before = new Date(nowMs - retentionDays * 86_400_000).toISOString();
  const old = "SELECT id FROM request_logs INDEXED BY request_logs_time WHERE timestamp < ?1 LIMIT ?2";
  const statement = `DELETE FROM request_logs WHERE id IN (${old})`;
  let deleted = 0;
  for (let step = 0; step < deletionsAtOnce; step += 1) {
    const { meta } = await database.prepare(statement).bind(before, deletedAtOnce).run();
    // `changes` counts rows, `rows_written` their index entries, too.
    deleted += meta.changes;
    if (meta.changes < deletedAtOnce) break;
  }
  return deleted;
}
