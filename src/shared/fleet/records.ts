/** What was measured, by backend, route class and region of the edge. */
import type { AttemptReport, LatencySummary, ReportLine } from "../contract.ts";
import type { RouteClass } from "../route.ts";
import { routeClasses } from "../route.ts";
import { Histogram } from "../histogram.ts";
import { Statistics, summarize } from "../statistics.ts";
import type { StatisticsWindow, StoredSlot } from "../statistics.ts";
import type { OutcomeKind } from "../outcome.ts";

/** Regions that are kept apart; those that come later share one, so that memory stays bounded. */
export const maxRegions = 32;
export const otherRegions = "other";

/** One row of what is stored: `series` is `backend|class|region`, the rest as `statistics.ts` has it. */
export interface StoredRecord extends StoredSlot {
  readonly series: string;
}

interface Series {
  readonly backend: string;
  readonly routeClass: RouteClass;
  readonly region: string;
  readonly statistics: Statistics;
}

/** Neither can stand in a backend's name or a region's, which are host names and codes. */
const separator = "|";

function keyOf(backend: string, routeClass: RouteClass, region: string): string {
  return [backend, routeClass, region].join(separator);
}

/** Several series together. */
export class Tally {
  readonly outcomes: Partial<Record<OutcomeKind, number>> = {};
  readonly histogram = new Histogram();

  add(statistics: Statistics, window: StatisticsWindow, nowMs: number): void {
    this.histogram.merge(statistics.histogram(window, nowMs));
    for (const [kind, count] of Object.entries(statistics.outcomes(window, nowMs)) as [OutcomeKind, number][]) {
      this.outcomes[kind] = (this.outcomes[kind] ?? 0) + count;
    }
  }

  summary(): LatencySummary {
    return summarize(this.outcomes, this.histogram);
  }
}

export class Records {
  readonly #series = new Map<string, Series>();
  readonly #regions = new Set<string>();

  static restore(rows: Iterable<StoredRecord>): Records {
    const bySeries = new Map<string, StoredRecord[]>();
    for (const row of rows) {
      const known = bySeries.get(row.series);
      if (known === undefined) bySeries.set(row.series, [row]);
      else known.push(row);
    }
    const records = new Records();
    for (const [key, slots] of bySeries) {
      const [backend, routeClass, region] = key.split(separator) as [string, RouteClass, string];
      records.#put(key, { backend, routeClass, region, statistics: Statistics.restore(slots) });
    }
    return records;
  }

  record(report: AttemptReport, nowMs: number): void {
    const { statistics } = this.#of(report.backend, report.routeClass, report.edgeRegion);
    statistics.record(report.outcome.kind, report.outcome.kind === "success" ? report.latencyMs : null, nowMs);
  }

  addLine(line: ReportLine, edgeRegion: string, nowMs: number): void {
    this.#of(line.backend, line.routeClass, edgeRegion).statistics.addLine(line.outcomes, line.latencies, nowMs);
  }

  #of(backend: string, routeClass: RouteClass, region: string): Series {
    const kept = this.#regions.has(region) || this.#regions.size < maxRegions ? region : otherRegions;
    const key = keyOf(backend, routeClass, kept);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { backend, routeClass, region: kept, statistics: new Statistics() };
      this.#put(key, series);
    }
    return series;
  }

  #put(key: string, series: Series): void {
    this.#series.set(key, series);
    if (series.region !== otherRegions) this.#regions.add(series.region);
  }

  regions(): string[] {
    return [...this.#regions].sort();
  }

  /** Everything of one backend together, or what one region of the edge measured. */
  summary(backend: string, region: string | null, window: StatisticsWindow, nowMs: number): LatencySummary {
    return this.#tally(
      window,
      nowMs,
      (series) => series.backend === backend && (region === null || series.region === region),
    ).summary();
  }

  tallyOf(
    backend: string,
    routeClass: RouteClass,
    region: string | null,
    window: StatisticsWindow,
    nowMs: number,
  ): Tally {
    return this.#tally(
      window,
      nowMs,
      (series) =>
        series.backend === backend && series.routeClass === routeClass && (region === null || series.region === region),
    );
  }

  quantileMs(backend: string, routeClass: RouteClass, q: number, nowMs: number): number | null {
    return this.tallyOf(backend, routeClass, null, "hour", nowMs).histogram.quantile(q);
  }

  /** Median of a class over the whole fleet in the last hour. */
  medianMs(routeClass: RouteClass, nowMs: number): number | null {
    return this.#tally("hour", nowMs, (series) => series.routeClass === routeClass).histogram.quantile(0.5);
  }

  /**
   * Medians of the last hour by backend and region. In each region one class serves for all, or a backend that was only asked for pictures
   * would seem a world away from one that was only asked for its models: queries, whose time is the way's and not the work's, where there are any.
   */
  mediansByRegion(nowMs: number): Map<string, Record<string, number>> {
    const medians = new Map<string, Record<string, number>>();
    const backends = new Set(Array.from(this.#series.values(), ({ backend }) => backend));
    for (const region of this.#regions) {
      for (const routeClass of routeClasses) {
        let measured = false;
        for (const backend of backends) {
          const series = this.#series.get(keyOf(backend, routeClass, region));
          const median = series?.statistics.histogram("hour", nowMs).quantile(0.5) ?? null;
          if (median === null) continue;
          measured = true;
          medians.set(backend, { ...medians.get(backend), [region]: median });
        }
        if (measured) break;
      }
    }
    return medians;
  }

  /** Everything, for the metrics. */
  *all(
    window: StatisticsWindow,
    nowMs: number,
  ): Generator<{ backend: string; routeClass: RouteClass; region: string; tally: Tally }> {
    for (const { backend, routeClass, region, statistics } of this.#series.values()) {
      const tally = new Tally();
      tally.add(statistics, window, nowMs);
      yield { backend, routeClass, region, tally };
    }
  }

  #tally(window: StatisticsWindow, nowMs: number, wanted: (series: Series) => boolean): Tally {
    const tally = new Tally();
    for (const series of this.#series.values()) if (wanted(series)) tally.add(series.statistics, window, nowMs);
    return tally;
  }

  /** Rows to store; a null value says that a slot is gone. Series of backends that have left are dropped with all their rows. */
  drainChanges(nowMs: number, backends: ReadonlySet<string>): StoredRecord[] {
    const changes: StoredRecord[] = [];
    for (const [key, { backend, statistics }] of this.#series) {
      const rows = backends.has(backend)
        ? statistics.drainChanges(nowMs)
        : statistics.snapshot().map(({ slot }) => ({ slot, value: null }));
      for (const row of rows) changes.push({ series: key, ...row });
      if (!backends.has(backend)) this.#series.delete(key);
    }
    return changes;
  }
}
