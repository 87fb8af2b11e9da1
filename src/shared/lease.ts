/**
 * Requests in flight, one lease each: counted when a backend is assigned, ended once, by release or by time, whichever
 * comes first. A backend's count is the number of its leases, so it can't fall below zero or drift.
 */
import type { RouteClass } from "./route.ts";

export interface Lease {
  readonly id: string;
  readonly backend: string;
  readonly routeClass: RouteClass;
  /** When this backend was assigned. */
  readonly grantedMs: number;
  /** When it ends unless it is renewed. */
  readonly expiresMs: number;
  /** The client has gone, the backend is still busy: counted until then, renewed or not. null: the client waits. */
  readonly orphanedUntilMs: number | null;
}

/** What storage lacks. A lease granted and released between two drains is in neither list. */
export interface LeaseChanges {
  readonly upserts: Lease[];
  readonly deletes: string[];
}

interface Tally {
  readonly ids: Set<string>;
  /** Sum of the grant times, counted from the book's epoch to stay exact in a double. */
  grantedSumMs: number;
}

export class LeaseBook {
  readonly #leases = new Map<string, Lease>();
  readonly #tallies = new Map<string, Tally>();
  readonly #stored = new Set<string>();
  readonly #changed = new Set<string>();
  #epochMs: number | null = null;
  /** No lease ends before. */
  #earliestMs = Number.POSITIVE_INFINITY;

  /** A lease of the same id is replaced. */
  grant(lease: Lease): void {
    this.#remove(lease.id);
    this.#put(lease);
  }

  get(id: string): Lease | null {
    return this.#leases.get(id) ?? null;
  }

  /**
   * Puts the end off until `expiresMs`, never forward. False: the lease has ended or was never granted. One whose time is over
   * but which no `expire` has ended yet is still counted, so it is renewed.
   */
  renew(id: string, nowMs: number, expiresMs: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    if (expiresMs > Math.max(lease.expiresMs, nowMs)) this.#put({ ...lease, expiresMs });
    return true;
  }

  /** The request goes to another backend, whose clock starts now. False: the lease has ended. */
  move(id: string, backend: string, nowMs: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    this.#remove(id);
    this.#put({ ...lease, backend, grantedMs: nowMs });
    return true;
  }

  /** Ends a lease; null if it had ended already or was never granted, and then nothing changes. */
  release(id: string): Lease | null {
    return this.#remove(id);
  }

  /** Counts it until `untilMs` and no longer; with nobody left to renew it, its own expiry means nothing any more. */
  orphan(id: string, untilMs: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    this.#put({ ...lease, orphanedUntilMs: untilMs });
    return true;
  }

  /** Ends all leases whose time is over, and returns them. */
  expire(nowMs: number): Lease[] {
    if (nowMs < this.#earliestMs) return [];
    const ended: Lease[] = [];
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const lease of this.#leases.values()) {
      const endMs = endOf(lease);
      if (endMs <= nowMs) ended.push(lease);
      else if (endMs < earliestMs) earliestMs = endMs;
    }
    this.#earliestMs = earliestMs;
    for (const lease of ended) this.#remove(lease.id);
    return ended;
  }

  /** Leases of a backend. */
  inFlight(backend: string): number {
    return this.#tallies.get(backend)?.ids.size ?? 0;
  }

  get count(): number {
    return this.#leases.size;
  }

  /** Mean age of the requests in flight in milliseconds; 0 without any. */
  openAgeMs(backend: string, nowMs: number): number {
    const tally = this.#tallies.get(backend);
    if (tally === undefined || this.#epochMs === null) return 0;
    return Math.max(0, nowMs - this.#epochMs - tally.grantedSumMs / tally.ids.size);
  }

  leases(backend: string): Lease[] {
    const ids = this.#tallies.get(backend)?.ids ?? [];
    return Array.from(ids, (id) => this.#leases.get(id) as Lease);
  }

  /** When to call `expire` next, never too late; early by the leases that were released or renewed since. null: no leases. */
  nextExpiryMs(): number | null {
    return this.#leases.size === 0 ? null : this.#earliestMs;
  }

  drainChanges(): LeaseChanges {
    const upserts: Lease[] = [];
    const deletes: string[] = [];
    for (const id of this.#changed) {
      const lease = this.#leases.get(id);
      if (lease !== undefined) {
        upserts.push(lease);
        this.#stored.add(id);
      } else if (this.#stored.delete(id)) deletes.push(id);
    }
    this.#changed.clear();
    return { upserts, deletes };
  }

  /** From what storage holds; those that ended meanwhile go with the first `expire`. */
  static restore(leases: readonly Lease[]): LeaseBook {
    const book = new LeaseBook();
    for (const lease of leases) {
      book.grant(lease);
      book.#stored.add(lease.id);
    }
    book.#changed.clear();
    return book;
  }

  #put(lease: Lease): void {
    this.#epochMs ??= lease.grantedMs;
    if (!this.#leases.has(lease.id)) {
      const tally = this.#tallies.get(lease.backend) ?? { ids: new Set<string>(), grantedSumMs: 0 };
      tally.ids.add(lease.id);
      tally.grantedSumMs += lease.grantedMs - this.#epochMs;
      this.#tallies.set(lease.backend, tally);
    }
    this.#leases.set(lease.id, lease);
    this.#earliestMs = Math.min(this.#earliestMs, endOf(lease));
    this.#changed.add(lease.id);
  }

  #remove(id: string): Lease | null {
    const lease = this.#leases.get(id);
    if (lease === undefined) return null;
    this.#leases.delete(id);
    this.#changed.add(id);
    const tally = this.#tallies.get(lease.backend) as Tally;
    tally.ids.delete(id);
    tally.grantedSumMs -= lease.grantedMs - (this.#epochMs as number);
    if (tally.ids.size === 0) this.#tallies.delete(lease.backend);
    return lease;
  }
}

/** When a lease ends by itself. */
export function endOf(lease: Lease): number {
  return lease.orphanedUntilMs ?? lease.expiresMs;
}
