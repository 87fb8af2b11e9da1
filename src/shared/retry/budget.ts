/**
 * How many retries the fleet may still make: a share of the last ten seconds' requests, and a floor for when there are few,
 * as in Finagle's `RetryBudget`. One object holds it for the whole edge, so that retries can't multiply an outage by the number of
 * isolates; each of them gets its share with the table.
 */
import type { RetryConfig } from "../config/config.ts";

/** Finagle's time to live of a deposit. */
const budgetWindowS = 10;
const slotMs = 1000;

interface Slot {
  index: number;
  requests: number;
  retries: number;
}

export class RetryBudget {
  readonly #config: Pick<RetryConfig, "budgetRatio" | "budgetPerSecond">;
  /** One per second of the window; a slot is used again when its second has left it. */
  readonly #slots: Slot[] = Array.from({ length: budgetWindowS }, () => ({ index: -1, requests: 0, retries: 0 }));

  constructor(config: Pick<RetryConfig, "budgetRatio" | "budgetPerSecond">) {
    this.#config = config;
  }

  /** Counts requests (first attempts) and retries that were made. */
  record(requests: number, retries: number, nowMs: number): void {
    const index = Math.floor(nowMs / slotMs);
    const slot = this.#slots[index % budgetWindowS] as Slot;
    if (slot.index !== index) {
      slot.index = index;
      slot.requests = 0;
      slot.retries = 0;
    }
    slot.requests += requests;
    slot.retries += retries;
  }

  /** Retries that the fleet may make now; not below 0. */
  available(nowMs: number): number {
    const index = Math.floor(nowMs / slotMs);
    const { budgetRatio, budgetPerSecond } = this.#config;
    let left = budgetPerSecond * budgetWindowS;
    for (const slot of this.#slots) {
      if (slot.index > index - budgetWindowS && slot.index <= index) left += budgetRatio * slot.requests - slot.retries;
    }
    return Math.max(0, left);
  }

  /**
   * What each of so many isolates may spend until its next table. A fraction, where isolates are many: it adds up over tables,
   * or is drawn for. Their retries come back with the next report, so that a stampede overdraws by one table's worth at most.
   */
  share(isolates: number, nowMs: number): number {
    return this.available(nowMs) / Math.max(1, isolates);
  }
}
