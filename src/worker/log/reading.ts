/** Pages of the request log, the latest first. */
import { columns } from "./d1.ts";

export interface LogFilter {
  readonly sinceMs: number;
  readonly untilMs: number | null;
  /** `502`, or `5xx`. */
  readonly status?: string | undefined;
  readonly backend?: string | undefined;
  /** Address or client key. */
  readonly client?: string | undefined;
  /** What the path begins with. */
  readonly path?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface LogPage {
  readonly logs: readonly Record<string, unknown>[];
  /** Of the next page; null: there is none. */
  readonly cursor: string | null;
}

type Row = Readonly<Record<string, unknown>> & { readonly timestamp: string; readonly id: string };

interface Condition {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

/** null: the cursor is none that a page has given out. */
export async function readLogs(database: D1Database, filter: LogFilter): Promise<LogPage | null> {
  const conditions = conditionsOf(filter);
  if (conditions === null) return null;
  const where = conditions.map(({ sql }) => sql).join(" AND ");
  const sql = `SELECT ${columns.join(", ")} FROM request_logs WHERE ${where} ORDER BY timestamp DESC, id DESC LIMIT ?`;
  const values = [...conditions.flatMap((condition) => condition.values), filter.limit + 1];
  const { results } = await database
    .prepare(sql)
    .bind(...values)
    .all<Row>();
  const page = results.slice(0, filter.limit);
  const last = page.at(-1);
  const more = results.length > filter.limit && last !== undefined;
  return {
    logs: page.map((row) => Object.assign(row, { limit_reported: row["limit_reported"] === 1 })),
    cursor: more ? `${last.timestamp}~${last.id}` : null,
  };
}

function conditionsOf(filter: LogFilter): readonly Condition[] | null {
  const { status, backend, client, path, cursor, untilMs } = filter;
  const conditions: Condition[] = [{ sql: "timestamp >= ?", values: [isoOf(filter.sinceMs)] }];
  const add = (sql: string, ...values: (string | number)[]): void => void conditions.push({ sql, values });
  if (untilMs !== null) add("timestamp < ?", isoOf(untilMs));
  if (status !== undefined) {
    const [from, to] = status.endsWith("xx")
      ? [Number(status[0]) * 100, Number(status[0]) * 100 + 99]
      : [Number(status), Number(status)];
    add("status BETWEEN ? AND ?", from, to);
  }
  if (backend !== undefined) add("backend = ?", backend);
  if (client !== undefined) add("(client_ip = ? OR client_key = ?)", client, client);
  if (path !== undefined) add("substr(url, 1, ?) = ?", path.length, path);
  if (cursor === undefined) return conditions;
  const [, timestamp, id] = /^(\d{4}-[\d:.TZ-]{1,30})~([0-9a-f-]{1,64})$/u.exec(cursor) ?? [];
  if (timestamp === undefined || id === undefined) return null;
  add("(timestamp, id) < (?, ?)", timestamp, id);
  return conditions;
}

/** Text in this form sorts as time does, for the years 0 to 9999. */
function isoOf(ms: number): string {
  const latest = 253_402_300_799_999;
  return new Date(Math.min(ms, latest)).toISOString();
}
