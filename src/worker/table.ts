/** The routing table that this isolate holds, and the members it picks among. */
import type { BackendConfig, RetryConfig } from "../shared/config/config.ts";
import { defaults } from "../shared/config/defaults.ts";
import type { RoutingTable, TableBackend } from "../shared/contract.ts";
import { liveBackend, nothingLearned } from "../shared/fleet/backend.ts";
import { tableBackend } from "../shared/fleet/table.ts";
import type { Outcome } from "../shared/outcome.ts";
import { RetryBudget } from "../shared/retry/budget.ts";

/** Younger than this, the table is used as it is. */
export const freshMs = 2000;
/** From this age on it is refreshed in the background. */
export const refreshFromMs = 1500;
/** An older one is refreshed before it is used, for so long; then it serves as it is. */
export const refreshPatienceMs = 250;
/** Between looks at whether another request's refresh has come, the same patience in all. */
export const refreshPausesMs = [2, 4, 8, 16, 32, 64, 124] as const;
/** Without the registry the last table serves for so long before KV's is asked. */
export const serveStaleMs = 30_000;

/** So many transport failures in a row, and nothing else heard, and this isolate asks the others first. */
const avoidAfter = 3;
/** Then one request in so long finds out whether it is back; the registry's word comes sooner, where it can be heard. */
const avoidMs = 1000;
/** An older table's share of the fleet-wide budget is spent: the registry can't be reached, and the isolate counts for itself. */
const ownBudgetFromMs = 5000;

export type TableSource = "registry" | "kv" | "configuration";

/** A row with the number in flight brought up to now: the table's figure, without what this isolate had told, with what it has. */
export type EdgeMember = { -readonly [Field in keyof TableBackend]: TableBackend[Field] };

export function tableOfConfiguration(backends: readonly BackendConfig[]): RoutingTable {
  return {
    version: 0,
    madeAtMs: 0,
    backends: backends.map((backend) => tableBackend(liveBackend(backend, "active", nothingLearned()), true)),
    retryAllowance: 10,
    cacheGenerations: {},
    models: null,
    overrides: { version: 0, values: {} },
  };
}

export class LocalTable {
  table: RoutingTable;
  source: TableSource = "configuration";
  members: EdgeMember[];
  /** When the registry last said that this is the newest; 0: never. */
  confirmedMs = 0;
  /** Retries that this isolate may still make before the next table. */
  retryAllowance: number;
  readonly #open = new Map<string, number>();
  readonly #byName = new Map<string, EdgeMember>();
  readonly #failing = new Map<string, { count: number; untilMs: number }>();
  readonly #ownBudget: RetryBudget;

  constructor(table: RoutingTable, retry: Pick<RetryConfig, "budgetRatio" | "budgetPerSecond"> = defaults.RETRY) {
    this.#ownBudget = new RetryBudget(retry);
    this.table = table;
    this.members = [];
    this.retryAllowance = table.retryAllowance;
    this.adopt(table, "configuration", 0, {});
  }

  /** `told`: the cheap requests in flight here that the table's figures contain. */
  adopt(table: RoutingTable, source: TableSource, nowMs: number, told: Readonly<Record<string, number>>): void {
    this.table = table;
    this.source = source;
    this.confirmedMs = nowMs;
    this.retryAllowance = table.retryAllowance;
    this.#byName.clear();
    this.members = table.backends.map((backend) => {
      const others = Math.max(0, backend.inFlight - (told[backend.name] ?? 0));
      const member: EdgeMember = { ...backend, inFlight: others + (this.#open.get(backend.name) ?? 0) };
      this.#byName.set(backend.name, member);
      return member;
    });
  }

  has(backend: string): boolean {
    return this.#byName.has(backend);
  }

  confirm(nowMs: number): void {
    this.confirmedMs = nowMs;
  }

  ageMs(nowMs: number): number {
    return nowMs - this.confirmedMs;
  }

  // ── What this isolate has seen for itself ─────────────────────────────────────────────────────

  /** How an attempt ended, as far as it shows whether the backend can be reached at all. */
  heard(backend: string, outcome: Outcome, nowMs: number): void {
    if (outcome.kind !== "backend_fault" || !outcome.seenByProbe) {
      if (outcome.kind !== "aborted") this.#failing.delete(backend);
      return;
    }
    const failing = this.#failing.get(backend) ?? { count: 0, untilMs: 0 };
    failing.count += 1;
    if (failing.count >= avoidAfter) failing.untilMs = nowMs + avoidMs;
    this.#failing.set(backend, failing);
  }

  /**
   * The candidates with those last that fail before this isolate's eyes. It acts at once, and where the registry can't be
   * reached it is all there is: a dead backend must not cost a retry with every request that is picked for it.
   */
  reachableFirst<Named extends { readonly name: string }>(
    candidates: readonly Named[],
    nowMs: number,
  ): readonly Named[] {
    if (this.#failing.size === 0) return candidates;
    const [first, ...others] = candidates as readonly [Named, ...Named[]];
    if (!this.#fails(first) || this.#isDue(first, nowMs)) return [first, ...this.#failingLast(others)];
    return this.#failingLast(candidates);
  }

  #failingLast<Named extends { readonly name: string }>(candidates: readonly Named[]): Named[] {
    const reachable = candidates.filter((candidate) => !this.#fails(candidate));
    return [...reachable, ...candidates.filter((candidate) => this.#fails(candidate))];
  }

  #fails({ name }: { readonly name: string }): boolean {
    return (this.#failing.get(name)?.count ?? 0) >= avoidAfter;
  }

  /** Whether this request finds out if it is back; until its answer is there the others still keep away. */
  #isDue({ name }: { readonly name: string }, nowMs: number): boolean {
    const failing = this.#failing.get(name);
    if (failing === undefined || nowMs < failing.untilMs) return false;
    failing.untilMs = nowMs + avoidMs;
    return true;
  }

  /** A first attempt is made. */
  requested(nowMs: number): void {
    this.#ownBudget.record(1, 0, nowMs);
  }

  /** Takes one retry from the share of the fleet's budget, or from a budget of its own while the registry is silent. */
  takeRetry(nowMs: number, chance: number): boolean {
    const share = this.retryAllowance;
    // Where isolates are many a share is a fraction, and drawn for.
    if (share > 0 && (share >= 1 || chance < share)) {
      this.retryAllowance = Math.max(0, share - 1);
      this.#ownBudget.record(0, 1, nowMs);
      return true;
    }
    if (this.ageMs(nowMs) < ownBudgetFromMs || this.#ownBudget.available(nowMs) < 1) return false;
    this.#ownBudget.record(0, 1, nowMs);
    return true;
  }

  opened(backend: string): void {
    this.#open.set(backend, (this.#open.get(backend) ?? 0) + 1);
    const member = this.#byName.get(backend);
    if (member === undefined) return;
    member.inFlight += 1;
    // Its trial's one request, until the next table says how that went.
    member.trialFor = null;
  }

  closed(backend: string): void {
    const open = (this.#open.get(backend) ?? 0) - 1;
    if (open > 0) this.#open.set(backend, open);
    else this.#open.delete(backend);
    const member = this.#byName.get(backend);
    if (member !== undefined) member.inFlight = Math.max(0, member.inFlight - 1);
  }

  open(): Record<string, number> {
    return Object.fromEntries(this.#open);
  }
}
