/**
 * What a series of requests did over the last minute, hour and day. Each window is a ring of slots, the one now filling
 * included: nothing older than the window ever counts, and at most one slot's width of it is missing. Memory is bounded by the
 * slots, whatever the traffic. Reads change nothing.
 */
import type { LatencySummary } from "./contract.ts";
import { Histogram } from "./histogram.ts";
import type { SparseCounts } from "./histogram.ts";
import { outcomeKinds } from "./outcome.ts";
import type { OutcomeKind } from "./outcome.ts";

export const statisticsWindows = ["minute", "hour", "day"] as const;
export type StatisticsWindow = (typeof statisticsWindows)[number];

type OutcomeCounts = Partial<Record<OutcomeKind, number>>;

interface Shape {
  readonly slotMs: number;
  readonly slots: number;
  /** How the ring is stored: a row for each slot, or one for all, where slots are many for the time that they hold. */
  readonly rows: "each" | "one";
}

const shapes: Readonly<Record<StatisticsWindow, Shape>> = {
  minute: { slotMs: 5_000, slots: 12, rows: "one" },
  hour: { slotMs: 60_000, slots: 60, rows: "each" },
  day: { slotMs: 1_800_000, slots: 48, rows: "each" },
};

/** One row of what is stored: `value` is JSON, null where the row is to be removed. A row's name is used again by later slots. */
export interface StoredSlot {
  readonly slot: string;
  readonly value: unknown;
}

/** Number of the slot since the epoch, outcomes, latencies. */
type SlotValue = readonly [number, OutcomeCounts, SparseCounts];

interface Slot {
  readonly index: number;
  readonly outcomes: OutcomeCounts;
  readonly latencies: Histogram;
}

class Ring {
  readonly #shape: Shape;
  readonly #slots: (Slot | undefined)[];
  readonly #changed = new Set<number>();
  #newest = Number.NEGATIVE_INFINITY;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.#slots = Array.from({ length: shape.slots });
  }

  /** The slot to count in. A clock that was set back a little fills the newest slot on. */
  fill(nowMs: number): Slot {
    const index = this.#current(nowMs);
    const place = index % this.#shape.slots;
    let slot = this.#slots[place];
    if (slot === undefined || slot.index !== index) {
      slot = { index, outcomes: {}, latencies: new Histogram() };
      this.#slots[place] = slot;
      this.#newest = index;
    }
    this.#changed.add(place);
    return slot;
  }

  *standing(nowMs: number): Generator<Slot> {
    const current = this.#current(nowMs);
    for (const slot of this.#slots) if (slot !== undefined && this.#stands(slot, current)) yield slot;
  }

  forget(nowMs: number): void {
    const current = this.#current(nowMs);
    for (const [place, slot] of this.#slots.entries()) {
      if (slot === undefined || this.#stands(slot, current)) continue;
      this.#slots[place] = undefined;
      this.#changed.add(place);
    }
  }

  /** The index of now, never before the newest slot, unless that lies a whole window ahead: then that clock was wrong. */
  #current(nowMs: number): number {
    const index = Math.max(0, Math.floor(nowMs / this.#shape.slotMs));
    return this.#newest < index + this.#shape.slots ? Math.max(index, this.#newest) : index;
  }

  #stands(slot: Slot, current: number): boolean {
    return slot.index <= current && slot.index > current - this.#shape.slots;
  }

  drain(name: string): StoredSlot[] {
    const places = [...this.#changed];
    this.#changed.clear();
    if (this.#shape.rows === "each")
      return places.map((place) => ({ slot: `${name}/${place}`, value: this.#valueAt(place) }));
    return places.length === 0 ? [] : [{ slot: name, value: this.#values() }];
  }

  all(name: string): StoredSlot[] {
    const values = this.#values();
    if (values === null) return [];
    if (this.#shape.rows === "one") return [{ slot: name, value: values }];
    return values.map((value) => ({ slot: `${name}/${value[0] % this.#shape.slots}`, value }));
  }

  put(value: unknown): void {
    const values = (this.#shape.rows === "one" ? value : [value]) as readonly SlotValue[];
    for (const [index, outcomes, latencies] of values) {
      this.#slots[index % this.#shape.slots] = {
        index,
        outcomes: { ...outcomes },
        latencies: Histogram.fromSparse(latencies),
      };
      this.#newest = Math.max(this.#newest, index);
    }
  }

  #valueAt(place: number): SlotValue | null {
    const slot = this.#slots[place];
    return slot === undefined ? null : [slot.index, { ...slot.outcomes }, slot.latencies.toSparse()];
  }

  #values(): SlotValue[] | null {
    const values = this.#slots.map((_, place) => this.#valueAt(place)).filter((value) => value !== null);
    return values.length === 0 ? null : values;
  }
}

export class Statistics {
  readonly #rings: Readonly<Record<StatisticsWindow, Ring>> = {
    minute: new Ring(shapes.minute),
    hour: new Ring(shapes.hour),
    day: new Ring(shapes.day),
  };

  /** Counts one request; `latencyMs` null where nothing was measured. */
  record(kind: OutcomeKind, latencyMs: number | null, nowMs: number): void {
    for (const window of statisticsWindows) {
      const slot = this.#rings[window].fill(nowMs);
      slot.outcomes[kind] = (slot.outcomes[kind] ?? 0) + 1;
      if (latencyMs !== null) slot.latencies.record(latencyMs);
    }
  }

  /** Counts what was merged elsewhere. */
  addLine(outcomes: Readonly<OutcomeCounts>, latencies: Readonly<SparseCounts>, nowMs: number): void {
    for (const window of statisticsWindows) {
      const slot = this.#rings[window].fill(nowMs);
      for (const kind of outcomeKinds) {
        const count = outcomes[kind] ?? 0;
        if (count > 0) slot.outcomes[kind] = (slot.outcomes[kind] ?? 0) + count;
      }
      slot.latencies.addBuckets(latencies);
    }
  }

  summary(window: StatisticsWindow, nowMs: number): LatencySummary {
    return summarize(this.outcomes(window, nowMs), this.histogram(window, nowMs));
  }

  /** A copy: what is added to it later stays out of the statistics. */
  histogram(window: StatisticsWindow, nowMs: number): Histogram {
    const sum = new Histogram();
    for (const slot of this.#rings[window].standing(nowMs)) sum.merge(slot.latencies);
    return sum;
  }

  /** Requests by what became of them; a kind that did not occur is absent. */
  outcomes(window: StatisticsWindow, nowMs: number): Partial<Record<OutcomeKind, number>> {
    const sum: OutcomeCounts = {};
    for (const slot of this.#rings[window].standing(nowMs)) {
      for (const kind of outcomeKinds) {
        const count = slot.outcomes[kind];
        if (count !== undefined) sum[kind] = (sum[kind] ?? 0) + count;
      }
    }
    return sum;
  }

  /** Frees the slots that have left their windows, also in storage, at the next drain. */
  rotate(nowMs: number): void {
    for (const window of statisticsWindows) this.#rings[window].forget(nowMs);
  }

  /** What differs from storage since the last drain. At most one row for the minute, and one for each slot of the others. */
  drainChanges(nowMs: number): StoredSlot[] {
    this.rotate(nowMs);
    return statisticsWindows.flatMap((window) => this.#rings[window].drain(window));
  }

  /** All rows. */
  snapshot(): StoredSlot[] {
    return statisticsWindows.flatMap((window) => this.#rings[window].all(window));
  }

  /** From the rows of `snapshot`, or of all drains, the later of one name replacing the earlier. Unknown names are ignored. */
  static restore(rows: Iterable<StoredSlot>): Statistics {
    const statistics = new Statistics();
    for (const { slot, value } of rows) {
      const window = statisticsWindows.find((name) => slot === name || slot.startsWith(`${name}/`));
      if (window !== undefined && value !== null) statistics.#rings[window].put(value);
    }
    return statistics;
  }
}

/** Also for callers that have merged several series. */
export function summarize(outcomes: Readonly<OutcomeCounts>, latencies: Histogram): LatencySummary {
  const requests = outcomeKinds.reduce((sum, kind) => sum + (outcomes[kind] ?? 0), 0);
  const failed = (outcomes.backend_fault ?? 0) + (outcomes.unknown ?? 0);
  return {
    requests,
    successRate: requests === 0 ? null : (requests - failed) / requests,
    avgMs: latencies.mean(),
    p50Ms: latencies.quantile(0.5),
    p95Ms: latencies.quantile(0.95),
    p99Ms: latencies.quantile(0.99),
  };
}
