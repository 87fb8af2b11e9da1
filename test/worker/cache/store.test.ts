import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { CachedAnswer, Slot } from "../../../src/shared/cache/cached-answer.ts";
import { CacheApiStore, DetectingStore } from "../../../src/worker/cache/cache-api.ts";
import { decodeSlot, encodeSlot } from "../../../src/worker/cache/envelope.ts";
import type { CacheStore } from "../../../src/worker/cache/store.ts";
import { MemoryStore, weightOf } from "../../../src/worker/cache/store.ts";

function slotOf(body: Uint8Array, more: Partial<CachedAnswer> = {}): Slot {
  const answer: CachedAnswer = {
    status: 200,
    headers: [["content-type", "text/plain"]],
    etag: '"1"',
    lastModified: null,
    body,
    receivedMs: 1,
    lifetimeMs: 60_000,
    initialAgeMs: 0,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    alwaysValidate: false,
    neverStale: false,
    forCredentials: false,
    ...more,
  };
  return { epoch: "e", names: ["accept"], selection: [null], answer };
}

const slots = fc
  .record({
    body: fc.uint8Array({ maxLength: 200 }),
    headers: fc.array(fc.tuple(fc.string(), fc.string({ unit: "binary" }))),
    status: fc.integer({ min: 200, max: 399 }),
    lifetimeMs: fc.integer({ min: 0, max: 2 ** 41 }),
  })
  .map(({ body, ...more }) => slotOf(body, more));

test("a slot comes out of its envelope as it went in", () => {
  fc.assert(
    fc.property(fc.string(), slots, (key, slot) => void expect(decodeSlot(key, encodeSlot(key, slot))).toEqual(slot)),
  );
});

test("an envelope cut anywhere, or another key's, is nothing", () => {
  fc.assert(
    fc.property(slots, fc.nat(), (slot, cut) => {
      const bytes = encodeSlot("key", slot);
      expect(decodeSlot("key", bytes.subarray(0, cut % bytes.byteLength))).toBeNull();
      expect(decodeSlot("key", bytes.subarray(0, -1))).toBeNull();
      expect(decodeSlot("other", bytes)).toBeNull();
    }),
  );
});

test("random bytes are nothing, and no fault", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void expect(decodeSlot("key", bytes)).toBeNull()));
});

const stores: readonly [name: string, make: () => CacheStore][] = [
  ["the Cache API", () => new CacheApiStore(caches.default)],
  ["memory", () => new MemoryStore()],
  ["whichever there is", () => new DetectingStore(() => new CacheApiStore(caches.default))],
];

for (const [name, make] of stores) {
  test(`${name}: what was written is read, what was removed is not`, async () => {
    const store = make();
    const slot = slotOf(new TextEncoder().encode("one"));
    expect(await store.read("a")).toBeNull();
    await store.write("a", slot, 60_000);
    expect(await store.read("a")).toEqual(slot);
    expect(await store.read("b")).toBeNull();
    await store.remove("a");
    expect(await store.read("a")).toBeNull();
    await store.remove("never written");
  });
}

test("memory keeps what was used last within its bound", async () => {
  const slot = slotOf(new Uint8Array(1000));
  const store = new MemoryStore(weightOf(slot.answer) * 2);
  await store.write("a", slot);
  await store.write("b", slot);
  await store.read("a");
  await store.write("c", slot);
  expect([await store.read("a"), await store.read("b"), await store.read("c")].map((held) => held !== null)).toEqual([
    true,
    false,
    true,
  ]);
});

class Faulty implements CacheStore {
  readonly shared = true;
  calls = 0;
  readonly #behaviour: "throws" | "forgets";
  constructor(behaviour: "throws" | "forgets") {
    this.#behaviour = behaviour;
  }
  async #act(): Promise<null> {
    this.calls += 1;
    if (this.#behaviour === "throws") throw new Error("not available");
    return null;
  }
  read(): Promise<null> {
    return this.#act();
  }
  async write(): Promise<void> {
    await this.#act();
  }
  async remove(): Promise<void> {
    await this.#act();
  }
}

for (const behaviour of ["throws", "forgets"] as const) {
  test(`where the Cache API ${behaviour}, the isolate's memory serves, and the API is not asked again`, async () => {
    const faulty = new Faulty(behaviour);
    const store = new DetectingStore(() => faulty);
    const slot = slotOf(new Uint8Array(3));
    await store.write("a", slot, 60_000);
    const calls = faulty.calls;
    expect(await store.read("a")).toEqual(slot);
    expect(store.shared).toBe(false);
    expect(faulty.calls).toBe(calls);
  });
}

test("where the Cache API is not there at all, the isolate's memory serves", async () => {
  const store = new DetectingStore(() => {
    throw new Error("caches.default is not available");
  });
  const slot = slotOf(new Uint8Array(3));
  await store.write("a", slot, 60_000);
  expect(await store.read("a")).toEqual(slot);
});

test("a Cache API that breaks later leaves the isolate to its memory", async () => {
  const memory = new MemoryStore();
  let breaks = false;
  const api: CacheStore = {
    shared: true,
    read: (key) => (breaks ? Promise.reject(new Error("gone")) : memory.read(key)),
    write: (key, slot) => memory.write(key, slot),
    remove: (key) => memory.remove(key),
  };
  const store = new DetectingStore(() => api);
  await store.write("a", slotOf(new Uint8Array(3)), 60_000);
  expect(await store.read("a")).not.toBeNull();
  breaks = true;
  expect(await store.read("a")).toBeNull();
  expect(store.shared).toBe(false);
});
