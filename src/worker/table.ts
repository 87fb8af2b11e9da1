/** The routing table that this isolate holds, and the members it picks among. */
import type { BackendConfig } from "../shared/config/config.ts";
import type { RoutingTable, TableBackend } from "../shared/contract.ts";
import { liveBackend, nothingLearned } from "../shared/fleet/backend.ts";
import { tableBackend } from "../shared/fleet/table.ts";

/** Younger than this, the table is used as it is. */
export const freshMs = 2000;
/** From this age on it is refreshed in the background. */
export const refreshFromMs = 1500;
/** An older one is refreshed before it is used, for so long; then it serves as it is. */
export const refreshPatienceMs = 250;
/** Without the registry the last table serves for so long before KV's is asked. */
export const serveStaleMs = 30_000;

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

  constructor(table: RoutingTable) {
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

  confirm(nowMs: number): void {
    this.confirmedMs = nowMs;
  }

  ageMs(nowMs: number): number {
    return nowMs - this.confirmedMs;
  }

  opened(backend: string): void {
    this.#open.set(backend, (this.#open.get(backend) ?? 0) + 1);
    const member = this.#byName.get(backend);
    if (member !== undefined) member.inFlight += 1;
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
