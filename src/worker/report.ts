/**
 * What this isolate saw, merged until the next report to the registry: one call a second, whatever the number of requests.
 */
import type { EdgeCounters, Learned, ReportLine } from "../shared/contract.ts";
import { bucketOf } from "../shared/histogram.ts";
import type { Outcome, OutcomeKind } from "../shared/outcome.ts";
import type { RouteClass } from "../shared/route.ts";

interface Line {
  backend: string;
  routeClass: RouteClass;
  outcomes: Partial<Record<OutcomeKind, number>>;
  trailingFailures: number;
  lastFailure: { seenByProbe: boolean; reason: string } | null;
  latencies: Record<number, number>;
  responseBytes: number;
  learned: Learned | null;
}

export interface Counters {
  requests: number;
  retries: number;
  retriesDenied: number;
  limiter: Record<"admitted" | "refused" | "remembered" | "failed_open" | "failed_closed" | "reported", number>;
  cache: Record<"hit" | "miss" | "stale" | "collapsed" | "bypass", number>;
  registryCalls: Record<"pick" | "settle" | "move" | "report" | "renew", number>;
  logsDropped: number;
}

export function zeroCounters(): Counters {
  return {
    requests: 0,
    retries: 0,
    retriesDenied: 0,
    limiter: { admitted: 0, refused: 0, remembered: 0, failed_open: 0, failed_closed: 0, reported: 0 },
    cache: { hit: 0, miss: 0, stale: 0, collapsed: 0, bypass: 0 },
    registryCalls: { pick: 0, settle: 0, move: 0, report: 0, renew: 0 },
    logsDropped: 0,
  };
}

export interface Findings {
  readonly lines: readonly ReportLine[];
  readonly counters: EdgeCounters;
}

/** Adds what a report that never arrived had taken, so that nothing is lost while the isolate lives. */
function addInto(target: Record<string, number>, counts: Readonly<Partial<Record<string, number>>>): void {
  for (const name in counts) target[name] = (target[name] ?? 0) + (counts[name] ?? 0);
}

export class Findbook {
  #lines = new Map<string, Line>();
  counters = zeroCounters();

  get isEmpty(): boolean {
    return this.#lines.size === 0 && this.counters.requests === 0;
  }

  note(
    backend: string,
    routeClass: RouteClass,
    outcome: Outcome,
    latencyMs: number | null,
    bytes: number,
    learned: Learned | null,
  ): void {
    const line = this.#line(backend, routeClass);
    line.outcomes[outcome.kind] = (line.outcomes[outcome.kind] ?? 0) + 1;
    line.responseBytes += bytes;
    if (learned !== null) line.learned = learned;
    if (outcome.kind === "success") {
      line.trailingFailures = 0;
      if (latencyMs !== null) {
        const bucket = bucketOf(latencyMs);
        line.latencies[bucket] = (line.latencies[bucket] ?? 0) + 1;
      }
    } else if (outcome.kind === "backend_fault") {
      line.trailingFailures += 1;
      line.lastFailure = { seenByProbe: outcome.seenByProbe, reason: outcome.reason };
    }
  }

  #line(backend: string, routeClass: RouteClass): Line {
    const key = `${routeClass} ${backend}`;
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = {
        backend,
        routeClass,
        outcomes: {},
        trailingFailures: 0,
        lastFailure: null,
        latencies: {},
        responseBytes: 0,
        learned: null,
      };
      this.#lines.set(key, line);
    }
    return line;
  }

  /** Hands over everything and starts anew. */
  take(): Findings {
    const taken = { lines: [...this.#lines.values()], counters: this.counters };
    this.#lines = new Map();
    this.counters = zeroCounters();
    return taken;
  }

  /** Takes back what could not be delivered. */
  putBack(findings: Findings): void {
    for (const old of findings.lines) {
      const line = this.#line(old.backend, old.routeClass);
      addInto(line.outcomes as Record<string, number>, old.outcomes);
      addInto(line.latencies, old.latencies);
      line.responseBytes += old.responseBytes;
      line.learned ??= old.learned;
      line.lastFailure ??= old.lastFailure;
      // The old period came first: its failures still stand at the end only if nothing has succeeded since.
      if ((line.outcomes.success ?? 0) === (old.outcomes.success ?? 0)) line.trailingFailures += old.trailingFailures;
    }
    const { counters } = this;
    counters.requests += findings.counters.requests;
    counters.retries += findings.counters.retries;
    counters.retriesDenied += findings.counters.retriesDenied;
    counters.logsDropped += findings.counters.logsDropped;
    addInto(counters.limiter, findings.counters.limiter);
    addInto(counters.cache, findings.counters.cache);
    addInto(counters.registryCalls, findings.counters.registryCalls);
  }
}
