/** How one request is counted while it runs and reported when it ends: by its lease at the registry, or in the isolate's findings. */
import type { AttemptReport, MoveReply, MoveRequest } from "../shared/contract.ts";
import { classOfAnswer } from "../shared/jimeng/request-body.ts";
import type { RouteClass } from "../shared/route.ts";
import type { AttemptResult } from "./attempt.ts";
import type { Edge, WaitUntil } from "./edge.ts";
import { patiently } from "./patience.ts";

export interface Account {
  /** An attempt at `backend` begins. */
  opened(backend: string): void;
  /** It ended, and with it the request. Repeated calls change nothing. */
  closed(backend: string, result: AttemptResult, bytes: number): void;
  /** It ended, and the next one goes to the first of `candidates` that has room; with no room anywhere the request is over. */
  moved(backend: string, result: AttemptResult, candidates: readonly string[]): Promise<MoveReply>;
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
  const ended = (backend: string, result: AttemptResult, bytes: number): void => {
    close();
    const { outcome, latencyMs, learned } = result;
    edge.findings.note(backend, answeredClass(routeClass, result), outcome, latencyMs, bytes, learned);
    const nowMs = Date.now();
    edge.table.heard(backend, outcome, nowMs);
    edge.reportSoon(region, waitUntil, nowMs);
    if (outcome.kind === "backend_fault") edge.reportUrgently(region, waitUntil, nowMs);
  };
  return {
    opened(backend) {
      open = backend;
      edge.table.opened(backend);
    },
    closed(backend, result, bytes) {
      if (over) return;
      over = true;
      ended(backend, result, bytes);
    },
    async moved(backend, result, [next]) {
      if (!over) ended(backend, result, 0);
      return { kind: "moved", backend: next as string };
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
  /** The registry left this request without an answer, and is told from then on where it has gone. */
  let silent = false;
  /** One after the other: a lease that is moved twice must end up where it was moved last. */
  let told: Promise<unknown> = Promise.resolve();
  const tell = <Reply>(work: () => Promise<Reply>): Promise<Reply> => {
    const done = told.then(work);
    told = done;
    waitUntil(done);
    return done;
  };
  const reportOf = (backend: string, result: AttemptResult, responseBytes: number): AttemptReport => {
    const { outcome, latencyMs, learned } = result;
    const answered = answeredClass(routeClass, result);
    return { backend, routeClass: answered, edgeRegion: region, outcome, latencyMs, responseBytes, learned };
  };
  return {
    opened: () => undefined,
    closed(backend, result, bytes) {
      if (over) return;
      over = true;
      const report = reportOf(backend, result, bytes);
      void tell(() => settled(edge, { leaseId, report, orphaned: false }));
      // The registry has heard of the attempt; the isolate's counters, and its share of the retries, go by the report.
      edge.reportSoon(region, waitUntil, Date.now());
    },
    async moved(backend, result, candidates) {
      edge.reportSoon(region, waitUntil, Date.now());
      const [first] = candidates as [string];
      const move = { leaseId, routeClass, report: reportOf(backend, result, 0), candidates, gone: silent };
      const asked = tell(() => moveOf(edge, move));
      const reply = silent ? null : await patiently(asked);
      if (reply !== null) {
        over = reply.kind === "none";
        return reply;
      }
      // As a pick's, its silence ends no request; a late answer that says otherwise is put right.
      if (!silent) void tell(async () => corrected(edge, move, first, await asked));
      silent = true;
      return { kind: "moved", backend: first };
    },
    abandoned(backend, openMs) {
      if (over) return;
      const outcome = { kind: "aborted", executed: "unknown", seenByProbe: false, reason: "client_left" } as const;
      const time = { latencyMs: openMs, responseBytes: 0, learned: null };
      const report = { backend, routeClass, edgeRegion: region, outcome, ...time };
      void tell(() => settled(edge, { leaseId, report, orphaned: true }));
    },
  };
}

/** A stream's first byte comes within milliseconds: counted as a generation, it would make this server seem the fastest. */
function answeredClass(routeClass: RouteClass, { answer }: AttemptResult): RouteClass {
  return classOfAnswer(routeClass, answer?.body.kind === "events");
}

type Settlement = Parameters<Edge["registry"]["settle"]>[0];

/** A lost one is healed by the lease's expiry. */
async function settled(edge: Edge, settlement: Settlement): Promise<void> {
  edge.findings.counters.registryCalls.settle += 1;
  await heard(edge, () => edge.registry.settle(settlement));
}

/** null: the registry could not be asked. */
function moveOf(edge: Edge, move: MoveRequest): Promise<MoveReply | null> {
  edge.findings.counters.registryCalls.move += 1;
  return heard(edge, () => edge.registry.move(move));
}

/** The request went to `first` without an answer, and now there is one. */
async function corrected(edge: Edge, move: MoveRequest, first: string, late: MoveReply | null): Promise<void> {
  if (late === null || (late.kind === "moved" && late.backend === first)) return;
  await moveOf(edge, { ...move, report: null, gone: true });
}

/** Tells the registry; once more on a new stub where the platform says that this may help. */
async function heard<Reply>(edge: Edge, told: () => Promise<Reply>): Promise<Reply | null> {
  const lost = (error: unknown): null => {
    edge.warnOncePerMinute("settlement_lost", error);
    return null;
  };
  try {
    return await told();
  } catch (error) {
    return isRetryable(error) ? told().catch(lost) : lost(error);
  }
}

/** https://developers.cloudflare.com/durable-objects/best-practices/error-handling/ */
function isRetryable(error: unknown): boolean {
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
  return retryable === true && overloaded !== true;
}
