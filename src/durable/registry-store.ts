/** The registry's SQL: tables, versions of their shape, and codecs of rows. It decides nothing. */
import type { LedgerEvent } from "../shared/contract.ts";
import { nothingLearned } from "../shared/fleet/backend.ts";
import type { FleetMemory } from "../shared/fleet/fleet.ts";
import { emptyMemory } from "../shared/fleet/fleet.ts";
import type { StoredRecord } from "../shared/fleet/records.ts";
import type { Lease } from "../shared/lease.ts";

/** Each entry brings the tables from the version of its index to the next one. */
const schema: readonly string[] = [
  `CREATE TABLE fact (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
   CREATE TABLE lease (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE task_home (task_id TEXT PRIMARY KEY, backend TEXT NOT NULL, made_ms INTEGER NOT NULL) WITHOUT ROWID;
   CREATE INDEX task_home_age ON task_home (made_ms);
   CREATE TABLE record (series TEXT NOT NULL, slot TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (series, slot)) WITHOUT ROWID;`,
  "CREATE TABLE pending_event (id INTEGER PRIMARY KEY, value TEXT NOT NULL);",
  // What is known of health has another shape; probes and requests tell it anew within seconds.
  "DELETE FROM fact WHERE kind = 'health';",
];

/** Events that wait for the ledger; beyond these the oldest are given up. */
const maxPendingEvents = 2000;

export interface PendingEvent {
  readonly id: number;
  readonly event: LedgerEvent;
}

/** One per backend: `learned`, `moment`, `health`. One each, named "": `overlay`, `overrides`, `generations`, `version`, `alerts`, `published`. */
export type FactKind =
  "learned" | "moment" | "health" | "overlay" | "overrides" | "generations" | "version" | "alerts" | "published";

/** A server keeps a task's result for hours; after a week nobody asks for it. */
const taskHomeMs = 7 * 24 * 3_600_000;

type Facts = Map<string, Map<string, unknown>>;

function learnedOf(facts: Facts): FleetMemory["learned"] {
  const moments = facts.get("moment");
  const learned = [...(facts.get("learned") ?? [])].map(([name, lasting]) => [
    name,
    { ...nothingLearned(), ...(lasting as object), ...(moments?.get(name) as object | undefined) },
  ]);
  return Object.fromEntries(learned) as FleetMemory["learned"];
}

export class RegistryStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  /** What is on disk, to leave a row alone that would be written as it is. */
  readonly #written = new Map<string, string>();

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#migrate();
  }

  #migrate(): void {
    this.#sql.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
    const row = this.#sql.exec<{ version: number }>("SELECT version FROM schema_version").toArray()[0];
    const from = row?.version ?? 0;
    if (from >= schema.length) return;
    this.#storage.transactionSync(() => {
      for (const statements of schema.slice(from)) this.#sql.exec(statements);
      this.#sql.exec("DELETE FROM schema_version");
      this.#sql.exec("INSERT INTO schema_version VALUES (?)", schema.length);
    });
  }

  load(): FleetMemory {
    const facts = this.#facts();
    const single = <T>(kind: FactKind, otherwise: T): T => (facts.get(kind)?.get("") as T | undefined) ?? otherwise;
    const leases = this.#sql.exec<{ value: string }>("SELECT value FROM lease").toArray();
    return {
      learned: learnedOf(facts),
      health: Object.fromEntries(facts.get("health") ?? []) as FleetMemory["health"],
      leases: leases.map((row) => JSON.parse(row.value) as Lease),
      overlay: single("overlay", emptyMemory.overlay),
      overrides: single("overrides", emptyMemory.overrides),
      cacheGenerations: single("generations", emptyMemory.cacheGenerations),
      tableVersion: single("version", 0),
    };
  }

  #facts(): Facts {
    const facts: Facts = new Map();
    for (const row of this.#sql.exec<{ kind: string; name: string; value: string }>(
      "SELECT kind, name, value FROM fact",
    )) {
      this.#written.set(`${row.kind} ${row.name}`, row.value);
      const kind = facts.get(row.kind) ?? new Map<string, unknown>();
      kind.set(row.name, JSON.parse(row.value));
      facts.set(row.kind, kind);
    }
    return facts;
  }

  fact<T>(kind: FactKind, name = ""): T | null {
    const text = this.#written.get(`${kind} ${name}`);
    return text === undefined ? null : (JSON.parse(text) as T);
  }

  writeFact(kind: FactKind, name: string, value: unknown): void {
    const text = JSON.stringify(value);
    const key = `${kind} ${name}`;
    if (this.#written.get(key) === text) return;
    this.#sql.exec("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", kind, name, text);
    this.#written.set(key, text);
  }

  /** Forgets the rows of backends that are not among `names`. */
  forgetOthers(kind: FactKind, names: ReadonlySet<string>): void {
    const prefix = `${kind} `;
    for (const key of this.#written.keys()) {
      const name = key.slice(prefix.length);
      if (!key.startsWith(prefix) || names.has(name)) continue;
      this.#sql.exec("DELETE FROM fact WHERE kind = ? AND name = ?", kind, name);
      this.#written.delete(key);
    }
  }

  writeLeases(changes: { readonly upserts: readonly Lease[]; readonly deletes: readonly string[] }): void {
    for (const lease of changes.upserts)
      this.#sql.exec("INSERT OR REPLACE INTO lease VALUES (?, ?)", lease.id, JSON.stringify(lease));
    for (const id of changes.deletes) this.#sql.exec("DELETE FROM lease WHERE id = ?", id);
  }

  keepEvents(events: readonly LedgerEvent[]): void {
    for (const event of events) this.#sql.exec("INSERT INTO pending_event (value) VALUES (?)", JSON.stringify(event));
    this.#sql.exec("DELETE FROM pending_event WHERE id <= (SELECT MAX(id) FROM pending_event) - ?", maxPendingEvents);
  }

  /** The oldest first. */
  pendingEvents(limit: number): readonly PendingEvent[] {
    const rows = this.#sql.exec<{ id: number; value: string }>(
      "SELECT * FROM pending_event ORDER BY id LIMIT ?",
      limit,
    );
    return rows.toArray().map(({ id, value }) => ({ id, event: JSON.parse(value) as LedgerEvent }));
  }

  forgetEvents(upToId: number): void {
    this.#sql.exec("DELETE FROM pending_event WHERE id <= ?", upToId);
  }

  rememberTask(taskId: string, backend: string, nowMs: number): void {
    this.#sql.exec("INSERT OR REPLACE INTO task_home VALUES (?, ?, ?)", taskId, backend, nowMs);
  }

  taskHome(taskId: string): string | null {
    const rows = this.#sql
      .exec<{ backend: string }>("SELECT backend FROM task_home WHERE task_id = ?", taskId)
      .toArray();
    return rows[0]?.backend ?? null;
  }

  forgetOldTasks(nowMs: number): void {
    this.#sql.exec("DELETE FROM task_home WHERE made_ms < ?", nowMs - taskHomeMs);
  }

  *records(): Generator<StoredRecord> {
    for (const row of this.#sql.exec<{ series: string; slot: string; value: string }>("SELECT * FROM record")) {
      yield { series: row.series, slot: row.slot, value: JSON.parse(row.value) as unknown };
    }
  }

  writeRecords(rows: readonly StoredRecord[]): void {
    for (const { series, slot, value } of rows) {
      if (value === null) this.#sql.exec("DELETE FROM record WHERE series = ? AND slot = ?", series, slot);
      else this.#sql.exec("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", series, slot, JSON.stringify(value));
    }
  }
}
