/**
 * Merging of `/usage/*`: each server counts for itself, so the fleet's answer is the sum of all. A session that was
 * served by two servers is counted by both; the merged number of sessions is therefore an upper bound, and says so.
 */
import type { Answering } from "../route.ts";
import type { JsonObject } from "./json.ts";
import { asNumber, asObject } from "./json.ts";

/** What one server grants a session per day; `remaining_*` counts down from it. */
const dailyLimits = { images: 10, videos: 2, avatars: 1 } as const;
type Kind = keyof typeof dailyLimits;
const kinds = Object.keys(dailyLimits) as Kind[];
const countFields: Readonly<Record<Kind, string>> = {
  images: "image_count",
  videos: "video_count",
  avatars: "avatar_count",
};

/** Rows a merged list may have: a server keeps one a day, for thirty days unless told otherwise. */
const maxRows = 4000;

export interface UsageMeta {
  readonly backends_asked: number;
  readonly backends_answered: number;
  readonly sessions: "upper bound";
}

export type UsageAnswering = Extract<Answering, `usage_${string}`>;

type Fields = Record<string, unknown>;

/** How each answer's `data` is merged; the servers' own values come in the order they were asked. */
const merges: Readonly<Record<UsageAnswering, (parts: readonly JsonObject[]) => Fields>> = {
  usage_stats: (parts) => withDailyAverages(sumFields(parts)),
  usage_session: (parts) => withRemaining(sumFields(parts)),
  usage_history: (parts) => ({
    ...firstOf(parts),
    history: mergeRows(parts, "history", withRemaining),
  }),
  usage_range: (parts) => ({
    ...firstOf(parts),
    daily_stats: mergeRows(parts, "daily_stats", withRangeAverages),
  }),
};

/**
 * Merges the parsed bodies of the servers that answered (anything else in the list is left out: null, an error, another
 * shape). Null when none is usable. `asked` is the number of servers asked.
 */
export function mergeUsage(answering: UsageAnswering, answers: readonly unknown[], asked: number): Fields | null {
  const usable = answers.map(asObject).filter(isUsage);
  const first = usable[0];
  if (first === undefined) return null;
  const data = merges[answering](usable.map((answer) => answer["data"] as JsonObject));
  const meta: UsageMeta = { backends_asked: asked, backends_answered: usable.length, sessions: "upper bound" };
  return { ...first, data, meta };
}

function isUsage(answer: JsonObject | null): answer is JsonObject {
  return answer !== null && answer["success"] !== false && asObject(answer["data"]) !== null;
}

/** Numbers are summed; of everything else (`date`, `session_id`, …) the first server's value stands. */
function sumFields(parts: readonly JsonObject[]): Fields {
  const sums: Fields = {};
  for (const part of parts) {
    for (const [field, value] of Object.entries(part)) {
      const before = Object.hasOwn(sums, field) ? sums[field] : undefined;
      const numbers = asNumber(before) !== null && asNumber(value) !== null;
      if (numbers) set(sums, field, (before as number) + (value as number));
      else if (before === undefined || before === null) set(sums, field, value);
    }
  }
  return sums;
}

function firstOf(parts: readonly JsonObject[]): JsonObject {
  return parts[0] ?? {};
}

/** The servers divide a day's total by the sessions that were active on it. */
function withDailyAverages(sums: Fields): Fields {
  return withAverages(sums, "active_sessions_today", (kind) => [`total_${kind}_today`, `avg_${kind}_per_session`]);
}

function withRangeAverages(sums: Fields): Fields {
  return withAverages(sums, "active_sessions", (kind) => [`total_${kind}`, `avg_${kind}`]);
}

function withAverages(
  sums: Fields,
  divisor: string,
  names: (kind: Kind) => readonly [total: string, average: string],
): Fields {
  const sessions = asNumber(sums[divisor]);
  const averages: Fields = {};
  for (const [total, average] of kinds.map(names)) {
    if (!Object.hasOwn(sums, average)) continue;
    const count = asNumber(sums[total]);
    averages[average] = count === null || sessions === null || sessions <= 0 ? 0 : count / sessions;
  }
  return { ...sums, ...averages };
}

function withRemaining(sums: Fields): Fields {
  const remaining: Fields = {};
  for (const kind of kinds) {
    const field = `remaining_${kind}`;
    if (!Object.hasOwn(sums, field)) continue;
    remaining[field] = Math.max(0, dailyLimits[kind] - (asNumber(sums[countFields[kind]]) ?? 0));
  }
  return { ...sums, ...remaining };
}

/** Rows of one date become one; the newest date comes first, as the servers order them. Rows without a date count as one day. */
function mergeRows(parts: readonly JsonObject[], field: string, finish: (sums: Fields) => Fields): Fields[] {
  const byDate = new Map<string, JsonObject[]>();
  for (const part of parts) {
    const rows = part[field];
    if (!Array.isArray(rows)) continue;
    for (const row of rows) {
      const fields = asObject(row);
      if (fields === null) continue;
      const date = typeof fields["date"] === "string" ? fields["date"] : "";
      const known = byDate.get(date);
      if (known !== undefined) known.push(fields);
      else if (byDate.size < maxRows) byDate.set(date, [fields]);
    }
  }
  return [...byDate.entries()].sort(([a], [b]) => (a < b ? 1 : -1)).map(([, rows]) => finish(sumRows(rows)));
}

/** As `sumFields`, but a row was made when its first server made it and changed when its last one did. */
function sumRows(rows: readonly JsonObject[]): Fields {
  const sums = sumFields(rows);
  for (const [field, pick] of timestamps) {
    const times = rows.map((row) => row[field]).filter((time) => typeof time === "string");
    if (times.length > 0) sums[field] = times.sort().at(pick);
  }
  return sums;
}

const timestamps = [
  ["created_at", 0],
  ["updated_at", -1],
] as const;

/** Assignment would run a setter for `__proto__`, which a JSON body may name. */
function set(target: Fields, field: string, value: unknown): void {
  Object.defineProperty(target, field, { value, enumerable: true, writable: true, configurable: true });
}
