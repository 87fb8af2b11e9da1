/** A row of the conformance table: the clause, what it says, and an exchange that shows it. */

export interface OriginSays {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  readonly cut?: "length" | "chunked" | "before";
  readonly chunked?: boolean;
}

export type Fields = Readonly<Record<string, string | readonly string[]>>;
/** null: the field must not be there. */
export type ExpectedFields = Readonly<Record<string, string | RegExp | null>>;

export interface Step {
  /** Seconds after the case began; 0 unless given. */
  readonly at?: number;
  readonly method?: string;
  /** Below the case's own path; `/x` unless given. */
  readonly path?: string;
  readonly headers?: Fields;
  readonly body?: string;
  readonly rule?: string;
  readonly generation?: string;
  readonly host?: string;
  /** What the origin answers, should it be asked. None: it must not be asked. */
  readonly origin?: OriginSays | readonly OriginSays[];
  readonly source?: "hit" | "miss" | "stale" | "collapsed" | "bypass";
  readonly status?: number;
  readonly is?: string;
  readonly fields?: ExpectedFields;
  /** Requests that reached the origin in this step. */
  readonly asked?: number;
  /** Fields of the last request that reached the origin in this step. */
  readonly sent?: ExpectedFields;
  /** Asked again until it comes out so: what happens behind an answer has no moment of its own. */
  readonly eventually?: true;
}

export interface Case {
  readonly clause: string;
  readonly says: string;
  readonly steps: readonly Step[];
}

export interface Twist {
  readonly status?: number;
  readonly body?: string;
  /** Of the first and of the second request. */
  readonly first?: Fields;
  readonly second?: Fields;
  /** Seconds between them; 10 unless given. */
  readonly at?: number;
  readonly rule?: string;
  readonly origin?: OriginSays;
  /** Of the second request, where it reaches the origin. */
  readonly sent?: ExpectedFields;
}

function firstOf(headers: Fields, twist: Twist): Step {
  const origin = { status: twist.status ?? 200, headers, body: twist.body ?? "one", ...twist.origin };
  return { headers: twist.first ?? {}, origin, asked: 1, ...(twist.rule === undefined ? {} : { rule: twist.rule }) };
}

function secondOf(twist: Twist): Step {
  const rule = twist.rule === undefined ? {} : { rule: twist.rule };
  return { at: twist.at ?? 10, headers: twist.second ?? twist.first ?? {}, ...rule };
}

/** The origin's first answer, with these fields, also answers the second request. */
export function reused(clause: string, says: string, headers: Fields, twist: Twist = {}): Case {
  const second: Step = {
    ...secondOf(twist),
    source: "hit",
    status: twist.status ?? 200,
    is: twist.body ?? "one",
    asked: 0,
  };
  return { clause, says, steps: [firstOf(headers, twist), second] };
}

/** The second request is answered by the origin's second answer. */
export function askedAgain(clause: string, says: string, headers: Fields, twist: Twist = {}): Case {
  const second: Step = { ...secondOf(twist), origin: { body: "two" }, is: "two", asked: 1 };
  if (twist.sent !== undefined)
    return { clause, says, steps: [firstOf(headers, twist), { ...second, sent: twist.sent }] };
  return { clause, says, steps: [firstOf(headers, twist), second] };
}

/** The virtual present at which every case begins. */
export const startMs = Date.UTC(2026, 10, 23, 12, 0, 0);

export function httpDate(secondsFromStart: number): string {
  return new Date(startMs + secondsFromStart * 1000).toUTCString();
}
