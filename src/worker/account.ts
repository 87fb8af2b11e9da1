/** How one request is counted while it runs and reported when it ends: by its lease at the registry, or in the isolate's findings. */
import type { AttemptReport } from "../shared/contract.ts";
import { classOfAnswer } from "../shared/jimeng/request-body.ts";
import type { RouteClass } from "../shared/route.ts";
import type { AttemptResult } from "./attempt.ts";
import type { Edge, WaitUntil } from "./edge.ts";

export interface Account {
  /** An attempt at `backend` begins. */
  opened(backend: string): void;
  /** It ended; `next` is the backend that the next one goes to, or null. Repeated calls after the last change nothing. */
  closed(backend: string, result: AttemptResult, bytes: number, next: string | null): void;
  /** The client has gone and will not be waited for any longer, while the backend is still busy. */
  abandoned(backend: string, openMs: number): void;
}

export interface Accounting {
  readonly edge: Edge;
  readonly waitUntil: WaitUntil;
  readonly region: string;
  readonly routeClass: RouteClass;
}

export function accountFor(accounting: Accounting, leaseId: string | null): Account {
  return leaseId === null ? localAccount(accounting) : leaseAccount(accounting, leaseId);
}

function localAccount({ edge, waitUntil, region, routeClass }: Accounting): Account {
  let over = false;
  /** A backend that failed its proof of life was never opened. */
  let open: string | null = null;
  const close = (): void => {
    if (open !== null) edge.table.closed(open);
    open = null;
  };
  return {
    opened(backend) {
      open = backend;
      edge.table.opened(backend);
    },
    closed(backend, result, bytes, next) {
      if (over) return;
      over = next === null;
      close();
      const { outcome, latencyMs, learned } = result;
      edge.findings.note(backend, answeredClass(routeClass, result), outcome, latencyMs, bytes, learned);
      const nowMs = Date.now();
      edge.table.heard(backend, outcome, nowMs);
      edge.reportSoon(region, waitUntil, nowMs);
      if (outcome.kind === "backend_fault") edge.reportUrgently(region, waitUntil, nowMs);
    },
    abandoned() {
      if (over) return;
      over = true;
      close();
    },
  };
}

function leaseAccount({ edge, waitUntil, region, routeClass }: Accounting, leaseId: string): Account {
  let over = false;
  /** One after the other: a lease that is moved twice must end up where it was moved last. */
  let told: Promise<void> = Promise.resolve();
  const settle = (report: AttemptReport, moveTo: string | null, orphaned: boolean): void => {
    told = told.then(() => settled(edge, { leaseId, report, moveTo, orphaned }));
    waitUntil(told);
  };
  return {
    opened: () => undefined,
    closed(backend, result, bytes, next) {
      if (over) return;
      over = next === null;
      const { outcome, latencyMs, learned } = result;
      const answered = answeredClass(routeClass, result);
      settle(
        { backend, routeClass: answered, edgeRegion: region, outcome, latencyMs, responseBytes: bytes, learned },
        next,
        false,
      );
      // The registry has heard of the attempt; the isolate's counters, and its share of the retries, go by the report.
      edge.reportSoon(region, waitUntil, Date.now());
    },
    abandoned(backend, openMs) {
      if (over) return;
      const outcome = { kind: "aborted", executed: "unknown", seenByProbe: false, reason: "client_left" } as const;
      settle(
        { backend, routeClass, edgeRegion: region, outcome, latencyMs: openMs, responseBytes: 0, learned: null },
        null,
        true,
      );
    },
  };
}

/** A stream's first byte comes within milliseconds: counted as a generation, it would make this server seem the fastest. */
function answeredClass(routeClass: RouteClass, { answer }: AttemptResult): RouteClass {
  return classOfAnswer(routeClass, answer?.body.kind === "events");
}

type Settlement = Parameters<Edge["registry"]["settle"]>[0];

/** Tells the registry; once more on a new stub where the platform says that this may help. A lost one is healed by the lease's expiry. */
async function settled(edge: Edge, settlement: Settlement): Promise<void> {
  edge.findings.counters.registryCalls.settle += 1;
  try {
    await edge.registry.settle(settlement);
  } catch (error) {
    if (!isRetryable(error)) return edge.warnOncePerMinute("settlement_lost", error);
    await edge.registry.settle(settlement).catch((again: unknown) => edge.warnOncePerMinute("settlement_lost", again));
  }
}

/** https://developers.cloudflare.com/durable-objects/best-practices/error-handling/ */
function isRetryable(error: unknown): boolean {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
  return retryable === true && overloaded !== true;
}
