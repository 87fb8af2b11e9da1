import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LeaseBook } from "../../src/shared/lease.ts";
import type { Lease } from "../../src/shared/lease.ts";

const start = 1_795_000_000_000;
const expiryMs = 90_000;

function lease(id: string, backend = "a", grantedMs = start): Lease {
  return { id, backend, routeClass: "generate", grantedMs, expiresMs: grantedMs + expiryMs, orphanedUntilMs: null };
}

function bookOf(...leases: readonly Lease[]): LeaseBook {
  const book = new LeaseBook();
  for (const one of leases) book.grant(one);
  return book;
}

describe("a request in flight", () => {
  test("counts from the assignment on and until the release", () => {
    const book = bookOf(lease("1"), lease("2"), lease("3", "b"));
    expect([book.inFlight("a"), book.inFlight("b"), book.inFlight("c"), book.count]).toEqual([2, 1, 0, 3]);
    expect(book.release("1")).toEqual(lease("1"));
    expect(book.inFlight("a")).toBe(1);
  });

  test("is released once: the second release, and one of an unknown id, change nothing", () => {
    const book = bookOf(lease("1"), lease("2"));
    book.release("1");
    expect(book.release("1")).toBeNull();
    expect(book.release("never granted")).toBeNull();
    expect(book.inFlight("a")).toBe(1);
  });

  test("ends by itself when nobody renews it, and the release that comes too late changes nothing", () => {
    const book = bookOf(lease("1"), lease("2"));
    book.renew("2", start + 60_000, start + 60_000 + expiryMs);
    expect(book.expire(start + expiryMs - 1)).toEqual([]);
    expect(book.expire(start + expiryMs).map((ended) => ended.id)).toEqual(["1"]);
    expect(book.release("1")).toBeNull();
    expect(book.inFlight("a")).toBe(1);
    expect(book.renew("1", start + expiryMs, start + 2 * expiryMs)).toBe(false);
  });

  test("whose time is over but which is still counted can be renewed", () => {
    const book = bookOf(lease("1"));
    expect(book.renew("1", start + expiryMs + 5, start + 2 * expiryMs)).toBe(true);
    expect(book.expire(start + expiryMs + 6)).toEqual([]);
  });

  test("does not end sooner by a renewal that was long under way", () => {
    const book = bookOf(lease("1"));
    book.renew("1", start + 30_000, start + 30_000 + expiryMs);
    book.renew("1", start + 31_000, start + 20_000 + expiryMs);
    expect(book.expire(start + 29_999 + expiryMs)).toEqual([]);
  });

  test("that moves is counted at the next backend only, from that moment on", () => {
    const book = bookOf(lease("1"));
    expect(book.move("1", "b", start + 7_000)).toBe(true);
    expect([book.inFlight("a"), book.inFlight("b")]).toEqual([0, 1]);
    expect(book.openAgeMs("b", start + 10_000)).toBe(3_000);
    expect(book.move("gone", "b", start)).toBe(false);
    expect(book.inFlight("b")).toBe(1);
  });

  test("granted twice under one id counts once", () => {
    const book = bookOf(lease("1"), lease("1", "b", start + 5));
    expect([book.inFlight("a"), book.inFlight("b"), book.count]).toEqual([0, 1, 1]);
  });

  test("is listed with its backend", () => {
    const book = bookOf(lease("1"), lease("2"), lease("3", "b"));
    expect(book.leases("a").map((one) => one.id)).toEqual(["1", "2"]);
    expect(book.leases("c")).toEqual([]);
    expect(book.get("3")?.backend).toBe("b");
    expect(book.get("4")).toBeNull();
  });
});

describe("an orphan", () => {
  test("counts until its time, though nobody renews it any more", () => {
    const book = bookOf(lease("1"));
    expect(book.orphan("1", start + 300_000)).toBe(true);
    expect(book.expire(start + expiryMs)).toEqual([]);
    expect(book.expire(start + 299_999)).toEqual([]);
    expect(book.expire(start + 300_000).map((ended) => ended.id)).toEqual(["1"]);
  });

  test("is not kept longer by a renewal that arrives after it", () => {
    const book = bookOf(lease("1"));
    book.orphan("1", start + 10_000);
    book.renew("1", start + 5_000, start + expiryMs * 2);
    expect(book.expire(start + 10_000)).toHaveLength(1);
  });

  test("can still be released, when its end is heard of after all", () => {
    const book = bookOf(lease("1"));
    book.orphan("1", start + 300_000);
    book.release("1");
    expect(book.inFlight("a")).toBe(0);
  });

  test("is nothing where there is no lease", () => {
    const book = new LeaseBook();
    expect(book.orphan("1", start)).toBe(false);
    expect(book.count).toBe(0);
  });
});

describe("the age of the open requests", () => {
  test("is their mean, and 0 without any", () => {
    const book = bookOf(lease("1", "a", start), lease("2", "a", start + 4_000));
    expect(book.openAgeMs("a", start + 10_000)).toBe(8_000);
    expect(book.openAgeMs("b", start + 10_000)).toBe(0);
    book.release("1");
    expect(book.openAgeMs("a", start + 10_000)).toBe(6_000);
  });

  test("is never negative, however clocks differ", () => {
    expect(bookOf(lease("1", "a", start + 50)).openAgeMs("a", start)).toBe(0);
  });

  test("stays exact over a hundred thousand grants and releases", () => {
    const book = new LeaseBook();
    for (let index = 0; index < 100_000; index += 1) {
      book.grant(lease(String(index), "a", start + index));
      if (index >= 3) book.release(String(index - 3));
    }
    expect(book.openAgeMs("a", start + 100_000)).toBe(2);
  });
});

describe("the next expiry", () => {
  test("is that of the first lease to end", () => {
    const book = bookOf(lease("1"), lease("2", "a", start + 10));
    expect(book.nextExpiryMs()).toBe(start + expiryMs);
    book.orphan("2", start + 500);
    expect(book.nextExpiryMs()).toBe(start + 500);
    expect(new LeaseBook().nextExpiryMs()).toBeNull();
  });

  test("told early because of a lease that was released is put right by the expiry that finds nothing", () => {
    const book = bookOf(lease("1"), lease("2", "a", start + 10_000));
    book.release("1");
    expect(book.expire(start + expiryMs)).toEqual([]);
    expect(book.nextExpiryMs()).toBe(start + 10_000 + expiryMs);
  });
});

describe("writing behind", () => {
  test("a lease granted and released between two drains costs no row", () => {
    const book = bookOf(lease("1"));
    book.release("1");
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: [] });
  });

  test("a lease that was written is deleted when it ends, once", () => {
    const book = bookOf(lease("1"));
    expect(book.drainChanges()).toEqual({ upserts: [lease("1")], deletes: [] });
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: [] });
    book.release("1");
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: ["1"] });
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: [] });
  });

  test("a restart remembers every lease that was written, and writes it no second time", () => {
    const book = LeaseBook.restore([lease("1"), lease("2", "b")]);
    expect([book.inFlight("a"), book.inFlight("b")]).toEqual([1, 1]);
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: [] });
    book.release("2");
    expect(book.drainChanges()).toEqual({ upserts: [], deletes: ["2"] });
  });

  test("what expired while the object slept ends with the first expiry after the restart", () => {
    const book = LeaseBook.restore([lease("1"), lease("2", "a", start + 3_600_000)]);
    expect(book.expire(start + 3_600_000).map((ended) => ended.id)).toEqual(["1"]);
    expect(book.inFlight("a")).toBe(1);
  });
});

// ── Against a list ──────────────────────────────────────────────────────────────────────────────

/** All leases in a plain object, every question answered by looking at each. */
class NaiveBook {
  live: Record<string, Lease> = {};

  endOf(one: Lease): number {
    return one.orphanedUntilMs === null ? one.expiresMs : one.orphanedUntilMs;
  }

  expire(nowMs: number): string[] {
    const ended = Object.values(this.live).filter((one) => this.endOf(one) <= nowMs);
    for (const one of ended) delete this.live[one.id];
    return ended.map((one) => one.id).toSorted();
  }

  of(backend: string): Lease[] {
    return Object.values(this.live).filter((one) => one.backend === backend);
  }

  ageMs(backend: string, nowMs: number): number {
    const ages = this.of(backend).map((one) => nowMs - one.grantedMs);
    return ages.length === 0 ? 0 : Math.max(0, ages.reduce((sum, age) => sum + age, 0) / ages.length);
  }
}

const backends = ["a", "b", "c"];

/** One number makes one event, which keeps long sequences cheap and lets them shrink. */
function play(codes: readonly number[]): void {
  let book = new LeaseBook();
  const naive = new NaiveBook();
  const disk: Record<string, Lease> = {};
  let nowMs = start;
  const drain = (): void => {
    const { upserts, deletes } = book.drainChanges();
    for (const one of upserts) disk[one.id] = structuredClone(one);
    for (const id of deletes) {
      expect(Object.hasOwn(disk, id)).toBe(true);
      delete disk[id];
    }
    expect(disk).toEqual(naive.live);
  };
  for (const code of codes) {
    const kind = code % 16;
    const id = String((code >>> 4) % 24);
    const backend = backends[(code >>> 9) % 3] as string;
    const durationMs = (code >>> 11) % 120_000;
    nowMs += (code >>> 14) % 3_000;
    if (kind < 5) {
      if (naive.live[id] !== undefined) continue;
      const granted = { ...lease(id, backend, nowMs), expiresMs: nowMs + durationMs };
      book.grant(granted);
      naive.live[id] = granted;
    } else if (kind < 9) {
      expect(book.release(id)).toEqual(naive.live[id] ?? null);
      delete naive.live[id];
    } else if (kind === 9) {
      const known = naive.live[id];
      expect(book.renew(id, nowMs, nowMs + durationMs)).toBe(known !== undefined);
      const expiresMs = nowMs + durationMs;
      if (known !== undefined && expiresMs > Math.max(nowMs, known.expiresMs)) naive.live[id] = { ...known, expiresMs };
    } else if (kind === 10) {
      const known = naive.live[id];
      expect(book.move(id, backend, nowMs)).toBe(known !== undefined);
      if (known !== undefined) naive.live[id] = { ...known, backend, grantedMs: nowMs };
    } else if (kind === 11) {
      const known = naive.live[id];
      expect(book.orphan(id, nowMs + durationMs)).toBe(known !== undefined);
      if (known !== undefined) naive.live[id] = { ...known, orphanedUntilMs: nowMs + durationMs };
    } else if (kind < 14) {
      const ended = book.expire(nowMs).map((one) => one.id);
      expect(ended.toSorted()).toEqual(naive.expire(nowMs));
    } else if (kind === 14) {
      drain();
    } else {
      drain();
      book = LeaseBook.restore(Object.values(disk));
    }
    check(book, naive, nowMs);
  }
}

function check(book: LeaseBook, naive: NaiveBook, nowMs: number): void {
  const live = Object.values(naive.live);
  let sum = 0;
  for (const backend of backends) {
    const count = book.inFlight(backend);
    if (count < 0 || count !== naive.of(backend).length) throw new Error(`${count} in flight on ${backend}`);
    sum += count;
    const [is, should] = [book.openAgeMs(backend, nowMs), naive.ageMs(backend, nowMs)];
    if (Math.abs(is - should) > 1e-6) throw new Error(`mean age ${is}, not ${should}`);
  }
  if (sum !== live.length || book.count !== sum) throw new Error(`${sum} in flight, ${live.length} leases`);
  const nextMs = book.nextExpiryMs();
  if ((nextMs === null) !== (live.length === 0)) throw new Error(`next expiry ${nextMs} of ${live.length} leases`);
  for (const one of live)
    if ((nextMs as number) > naive.endOf(one)) throw new Error("an expiry that would come too late");
}

describe("against a list of all leases", () => {
  test("100,000 random events keep every count, age and expiry, and the drains reproduce the state on disk", () => {
    const codes = fc.array(fc.nat(2 ** 31 - 1), { minLength: 400, maxLength: 400, size: "max" });
    fc.assert(fc.property(codes, play), { numRuns: 250 });
  });

  test("short sequences from the start differ in nothing", () => {
    fc.assert(fc.property(fc.array(fc.nat(2 ** 31 - 1), { maxLength: 30, size: "max" }), play), { numRuns: 2000 });
  });
});
