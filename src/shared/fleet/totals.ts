/** What was counted of one backend since the registry's start, for the metrics: it only grows, as `rate()` needs. */
import type { OutcomeKind } from "../outcome.ts";
import type { RouteClass } from "../route.ts";
import { addLatencies, noLatencies } from "../metrics/latency-totals.ts";
import type { LatencyTotals } from "../metrics/latency-totals.ts";
import { maxRegions, otherRegions } from "./records.ts";

type Attempts = Partial<Record<RouteClass, Partial<Record<OutcomeKind, number>>>>;

export interface ClassLatencies {
  readonly routeClass: RouteClass;
  readonly edgeRegion: string;
  readonly totals: LatencyTotals;
}

export class BackendTotals {
  readonly attempts: Attempts = {};
  readonly probes = { passed: 0, failed: 0 };
  responseBytes = 0;
  ejections = 0;
  readonly #latencies = new Map<string, ClassLatencies>();
  readonly #regions = new Set<string>();

  ended(routeClass: RouteClass, outcome: OutcomeKind, count: number): void {
    const counts = (this.attempts[routeClass] ??= {});
    counts[outcome] = (counts[outcome] ?? 0) + count;
  }

  measured(routeClass: RouteClass, region: string, values: Iterable<readonly [valueMs: number, count: number]>): void {
    const edgeRegion = this.#regions.has(region) || this.#regions.size < maxRegions ? region : otherRegions;
    this.#regions.add(edgeRegion);
    const key = `${routeClass} ${edgeRegion}`;
    const totals = this.#latencies.get(key)?.totals ?? noLatencies;
    this.#latencies.set(key, { routeClass, edgeRegion, totals: addLatencies(totals, values) });
  }

  probed(ok: boolean): void {
    this.probes[ok ? "passed" : "failed"] += 1;
  }

  get latencies(): readonly ClassLatencies[] {
    return [...this.#latencies.values()];
  }
}
