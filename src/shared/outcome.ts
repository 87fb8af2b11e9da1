/**
 * What became of one attempt at one backend. The union is closed: every answer, every thrown error and
 * every client that left is exactly one of these, and it is decided in one place (`jimeng/answer.ts`).
 */

export const outcomeKinds = [
  "success",
  "client_fault",
  "token_fault",
  "backend_fault",
  "capacity",
  "aborted",
  "unknown",
] as const;

/**
 * - `success`: the backend did what was asked.
 * - `client_fault`: the request was wrong; any backend would have said so.
 * - `token_fault`: the client's Jimeng account is dead or out of credits; it travels with the client, not with the backend.
 * - `backend_fault`: this server failed; another might not.
 * - `capacity`: this server is full (429, 503 with Retry-After).
 * - `aborted`: the client went away before the end.
 * - `unknown`: nobody can tell; nobody is blamed.
 */
export type OutcomeKind = (typeof outcomeKinds)[number];

/** Whether the backend carried the request out, so whether credits may have been spent. */
export type Executed = "yes" | "no" | "unknown";

export interface Outcome {
  readonly kind: OutcomeKind;
  readonly executed: Executed;
  /**
   * Whether an active probe of the health path could see this failure. An ejection earned by such failures may be
   * ended by a passing probe; one earned by answers may not, since `/ping` answers while Jimeng itself is down.
   */
  readonly seenByProbe: boolean;
  /** A short stable word for logs and metrics: `ok`, `refused`, `reset`, `timeout`, `http_502`, `code_-2001`, … */
  readonly reason: string;
}

export const success: Outcome = { kind: "success", executed: "yes", seenByProbe: false, reason: "ok" };

export const aborted: Outcome = { kind: "aborted", executed: "unknown", seenByProbe: false, reason: "client_left" };
