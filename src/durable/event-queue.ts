/**
 * What operators did, on its way to the ledger. It is stored with the change itself, so that a ledger which can't be
 * reached, or an object that is torn down in between, loses no word of it; in that case one may be told twice.
 */
import type { LedgerEvent, OperationsLedgerApi } from "../shared/contract.ts";
import type { RegistryStore } from "./registry-store.ts";
import type { Warnings } from "./warnings.ts";

const eventsAtOnce = 100;
const firstPauseMs = 2_000;
const longestPauseMs = 60_000;
/** A delivery under way for longer than this has been lost. */
const lostMs = 30_000;

export class EventQueue {
  readonly #store: RegistryStore;
  readonly #ledger: () => OperationsLedgerApi;
  readonly #warnings: Warnings;
  #waiting: boolean;
  #failures = 0;
  #dueMs = 0;
  #deliveringMs: number | null = null;

  constructor(store: RegistryStore, ledger: () => OperationsLedgerApi, warnings: Warnings) {
    this.#store = store;
    this.#ledger = ledger;
    this.#warnings = warnings;
    this.#waiting = store.pendingEvents(1).length > 0;
  }

  /** Stores them; `deliver` sends them. */
  add(events: readonly LedgerEvent[]): void {
    if (events.length === 0) return;
    this.#store.keepEvents(events);
    this.#waiting = true;
  }

  /** When to call `deliver` again, in epoch milliseconds; null while nothing waits. */
  nextDueMs(): number | null {
    if (!this.#waiting) return null;
    return this.#deliveringMs === null ? this.#dueMs : this.#deliveringMs + lostMs;
  }

  async deliver(nowMs: number): Promise<void> {
    if (!this.#waiting || nowMs < this.#dueMs) return;
    if (this.#deliveringMs !== null && nowMs - this.#deliveringMs < lostMs) return;
    this.#deliveringMs = nowMs;
    try {
      for (let batch = this.#next(); batch.length > 0; batch = this.#next()) {
        await this.#ledger().record(batch.map(({ event }) => event));
        this.#store.forgetEvents(batch.at(-1)?.id ?? 0);
      }
      this.#waiting = false;
      this.#failures = 0;
      this.#dueMs = 0;
    } catch (error) {
      this.#warnings.warn("ledger_unavailable", error);
      this.#dueMs = nowMs + Math.min(longestPauseMs, firstPauseMs * 2 ** this.#failures);
      this.#failures += 1;
    } finally {
      this.#deliveringMs = null;
    }
  }

  #next() {
    return this.#store.pendingEvents(eventsAtOnce);
  }
}
