/** The last good table and the effective configuration in KV, for an edge that can't reach the registry. */
import { hash32 } from "../shared/balance/hash.ts";
import type { Config } from "../shared/config/config.ts";
import { maskConfig } from "../shared/config/mask.ts";
import { publishedKey } from "../shared/contract.ts";
import type { PublishedFleet, RoutingTable } from "../shared/contract.ts";
import { substanceOf } from "../shared/fleet/table.ts";
import type { RegistryStore } from "./registry-store.ts";
import type { Warnings } from "./warnings.ts";

/** The free plan has 1,000 writes a day: https://developers.cloudflare.com/kv/platform/limits/ */
const shortestPauseMs = 60_000;
/** Load and models move without changing the substance; what an edge starts from must not be too old. */
const longestPauseMs = 1_800_000;

interface Published {
  /** Of the last try. */
  readonly atMs: number;
  readonly substance: string;
}

const nothingPublished: Published = { atMs: 0, substance: "" };

export class Publication {
  readonly #store: RegistryStore;
  readonly #kv: KVNamespace | undefined;
  readonly #warnings: Warnings;
  #last: Published;
  #stirred = true;

  constructor(store: RegistryStore, kv: KVNamespace | undefined, warnings: Warnings) {
    this.#store = store;
    this.#kv = kv;
    this.#warnings = warnings;
    this.#last = store.fact<Published>("published") ?? nothingPublished;
  }

  /** Something of substance may have changed. */
  stir(): void {
    this.#stirred = true;
  }

  /** In epoch milliseconds; null: never, there is no KV. */
  nextDueMs(): number | null {
    if (this.#kv === undefined) return null;
    return this.#last.atMs + (this.#stirred ? shortestPauseMs : longestPauseMs);
  }

  /** Writes if it is time. Never throws. */
  async publish(table: RoutingTable, config: Config, nowMs: number): Promise<void> {
    const dueMs = this.nextDueMs();
    // A clock that was set back must not put it off for longer than the pause.
    if (this.#kv === undefined || dueMs === null || (nowMs < dueMs && nowMs >= this.#last.atMs)) return;
    const shown = maskConfig(config);
    const substance = shortened(substanceOf(table.backends, table.overrides.version) + JSON.stringify(shown));
    this.#stirred = false;
    if (substance === this.#last.substance && nowMs - this.#last.atMs < longestPauseMs) return;
    const { substance: before } = this.#last;
    // Counted before it is tried: a KV in trouble is not asked more often.
    this.#keep({ atMs: nowMs, substance: before });
    const fleet: PublishedFleet = { publishedAtMs: nowMs, table, config: shown };
    try {
      await this.#kv.put(publishedKey, JSON.stringify(fleet));
      this.#keep({ atMs: nowMs, substance });
    } catch (error) {
      this.#stirred = true;
      this.#warnings.warn("kv_unavailable", error);
    }
  }

  #keep(last: Published): void {
    this.#last = last;
    this.#store.writeFact("published", "", last);
  }
}

/** 64 bits, to be compared with the next one's. */
function shortened(text: string): string {
  return `${hash32(text, 1).toString(16)}-${hash32(text, 2).toString(16)}`;
}
