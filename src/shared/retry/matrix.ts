/** May the request be sent once more? One table, and the header that says the same to the client's SDK. */
import type { RetryConfig } from "../config/config.ts";
import { routeUnknown } from "../jimeng/answer.ts";
import type { Outcome } from "../outcome.ts";
import type { RouteClass } from "../route.ts";

/**
 * - `never`: the answer stands.
 * - `same`: only at the backend that was asked; no other can answer in its place.
 * - `elsewhere`: only at a backend that has not been tried.
 * - `anywhere`: at an untried backend while there is one, else at the same.
 */
export type Again = "never" | "same" | "elsewhere" | "anywhere";

/** What became of the attempt, as far as sending again is concerned. */
export const happenings = [
  "answered",
  "client_left",
  "client_mistake",
  "token_dead",
  "route_missing",
  "full_unexecuted",
  "failed_unexecuted",
  "perhaps_executed",
  "executed",
] as const;
export type Happening = (typeof happenings)[number];

/** Kinds of request; `paid` ones spend credits when they are executed. */
export const senders = ["cheap", "tied", "paid", "paid_unsafe"] as const;
export type Sender = (typeof senders)[number];

/**
 * `cheap`: query and token. `tied`: usage (every server counts for itself) and look-ups of a task at its home.
 * `paid`: generations, streams and submissions. `paid_unsafe`: the same under the operator's `RETRY.generations: "unsafe"`.
 */
export const retryMatrix: Readonly<Record<Happening, Readonly<Record<Sender, Again>>>> = {
  answered: { cheap: "never", tied: "never", paid: "never", paid_unsafe: "never" },
  client_left: { cheap: "never", tied: "never", paid: "never", paid_unsafe: "never" },
  client_mistake: { cheap: "never", tied: "never", paid: "never", paid_unsafe: "never" },
  token_dead: { cheap: "never", tied: "never", paid: "never", paid_unsafe: "never" },
  route_missing: { cheap: "elsewhere", tied: "never", paid: "elsewhere", paid_unsafe: "elsewhere" },
  full_unexecuted: { cheap: "elsewhere", tied: "never", paid: "elsewhere", paid_unsafe: "elsewhere" },
  failed_unexecuted: { cheap: "anywhere", tied: "same", paid: "elsewhere", paid_unsafe: "anywhere" },
  perhaps_executed: { cheap: "anywhere", tied: "same", paid: "never", paid_unsafe: "anywhere" },
  executed: { cheap: "anywhere", tied: "same", paid: "never", paid_unsafe: "never" },
};

export interface RetryQuestion {
  readonly routeClass: RouteClass;
  readonly paid: boolean;
  readonly generations: RetryConfig["generations"];
}

/** Whether the rules allow another attempt; number of attempts, budget and deadline are the caller's to keep. */
export function anotherAttempt(outcome: Outcome, question: RetryQuestion): Again {
  return retryMatrix[happeningOf(outcome)][senderOf(question)];
}

export function happeningOf(outcome: Outcome): Happening {
  switch (outcome.kind) {
    case "success":
      return "answered";
    case "aborted":
      return "client_left";
    case "token_fault":
      return "token_dead";
    case "client_fault":
      return outcome.reason === routeUnknown ? "route_missing" : "client_mistake";
    default:
      if (outcome.executed === "yes") return "executed";
      if (outcome.executed === "unknown") return "perhaps_executed";
      return outcome.kind === "capacity" ? "full_unexecuted" : "failed_unexecuted";
  }
}

export function senderOf({ routeClass, paid, generations }: RetryQuestion): Sender {
  if (paid || routeClass === "generate" || routeClass === "stream")
    return generations === "unsafe" ? "paid_unsafe" : "paid";
  return routeClass === "usage" || routeClass === "task" ? "tied" : "cheap";
}

/**
 * The value of `x-should-retry` for an answer that goes to the client; null: none, the SDK decides by the status.
 * `false` where sending again would or might spend credits twice, and where it can only be refused again. A failure has
 * it under a status below 400 too: a flat dialect's 200 may yet be given its proper status, which an SDK retries.
 */
export function shouldRetryHeader(outcome: Outcome, status: number, paid: boolean): "true" | "false" | null {
  const happening = happeningOf(outcome);
  if (happening === "answered" && status < 400) return null;
  if (happening === "client_mistake" || happening === "token_dead" || happening === "route_missing") return "false";
  if (!paid) return null;
  return happening === "full_unexecuted" || happening === "failed_unexecuted" ? null : "false";
}
