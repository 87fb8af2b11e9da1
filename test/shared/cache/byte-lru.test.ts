import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ByteLru } from "../../../src/shared/cache/byte-lru.ts";

/** A list, the least recently used first. */
class NaiveLru {
  entries: { key: string; value: number; bytes: number }[] = [];
  readonly capacity: number;
  constructor(capacity: number) {
    this.capacity = capacity;
  }
  get(key: string): number | undefined {
    const entry = this.entries.find((held) => held.key === key);
    if (entry === undefined) return undefined;
    this.entries = [...this.entries.filter((held) => held !== entry), entry];
    return entry.value;
  }
  delete(key: string): void {
    this.entries = this.entries.filter((held) => held.key !== key);
  }
  set(key: string, value: number, bytes: number): void {
    this.delete(key);
    if (bytes > this.capacity) return;
    this.entries.push({ key, value, bytes });
    while (this.bytes > this.capacity) this.entries.shift();
  }
  get bytes(): number {
    return this.entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

test("does what a list would do, and never holds more than it may", () => {
  const key = fc.constantFrom(..."abcdef");
  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("set" as const), key, value: fc.nat(), bytes: fc.nat({ max: 60 }) }),
      fc.record({ kind: fc.constantFrom("get" as const, "peek" as const, "delete" as const), key }),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(fc.nat({ max: 100 }), steps, (capacity, made) => {
      const lru = new ByteLru<number>(capacity);
      const naive = new NaiveLru(capacity);
      for (const step of made) {
        if (step.kind === "set") {
          lru.set(step.key, step.value, step.bytes);
          naive.set(step.key, step.value, step.bytes);
        } else if (step.kind === "get") {
          expect(lru.get(step.key)).toBe(naive.get(step.key));
        } else if (step.kind === "peek") {
          expect(lru.peek(step.key)).toBe(naive.entries.find((held) => held.key === step.key)?.value);
        } else {
          lru.delete(step.key);
          naive.delete(step.key);
        }
        expect([lru.bytes, lru.size]).toEqual([naive.bytes, naive.entries.length]);
        expect(lru.bytes).toBeLessThanOrEqual(capacity);
      }
    }),
  );
});

test("a capacity that is none is refused by name", () => {
  expect(() => new ByteLru(-1)).toThrow("capacity must be ≥ 0 bytes, got -1");
  expect(() => new ByteLru(Number.NaN)).toThrow("NaN");
});

test("cleared, it holds nothing", () => {
  const lru = new ByteLru<number>(10);
  lru.set("a", 1, 5);
  lru.clear();
  expect([lru.bytes, lru.size, lru.get("a")]).toEqual([0, 0, undefined]);
});
