/** Where answers are kept beyond one request: one small interface, and what an isolate can offer by itself. */
import { ByteLru } from "../../shared/cache/byte-lru.ts";
import type { CachedAnswer, Slot } from "../../shared/cache/cached-answer.ts";

/** A store may forget at any time, and may fail: to the cache both are a miss. */
export interface CacheStore {
  /** Whether other isolates see what is written. */
  readonly shared: boolean;
  read(key: string): Promise<Slot | null>;
  /** @param keepMs after so long nobody will want it. */
  write(key: string, slot: Slot, keepMs: number): Promise<void>;
  remove(key: string): Promise<void>;
}

/** An isolate has 128 MB for everything; this much of it for a store that replaces the Cache API. */
export const memoryStoreBytes = 32 * 1024 * 1024;

/** What an answer weighs: its body, its fields, and what the engine adds. */
export function weightOf(answer: CachedAnswer): number {
  let bytes = answer.body.byteLength + 512;
  for (const [name, value] of answer.headers) bytes += 2 * (name.length + value.length) + 64;
  return bytes;
}

/** What a key weighs that a client may choose: a character may take two bytes. */
export function keyWeight(key: string): number {
  return 2 * key.length + 64;
}

/** For where there is no Cache API: what was used last, within a bound. */
export class MemoryStore implements CacheStore {
  readonly shared: boolean = false;
  readonly #slots: ByteLru<Slot>;

  constructor(bytes = memoryStoreBytes) {
    this.#slots = new ByteLru(bytes);
  }

  async read(key: string): Promise<Slot | null> {
    return this.#slots.get(key) ?? null;
  }

  async write(key: string, slot: Slot): Promise<void> {
    this.#slots.set(key, slot, weightOf(slot.answer));
  }

  async remove(key: string): Promise<void> {
    this.#slots.delete(key);
  }
}
