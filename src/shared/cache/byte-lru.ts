/** Keeps what was used last, within a bound in bytes. Not pure, but without clock, chance or I/O. */

interface Held<V> {
  readonly value: V;
  readonly bytes: number;
}

export class ByteLru<V> {
  readonly #held = new Map<string, Held<V>>();
  readonly #capacity: number;
  #bytes = 0;

  /** @param capacity bytes in all; a value larger than this is not kept. */
  constructor(capacity: number) {
    if (!(capacity >= 0)) throw new RangeError(`capacity must be ≥ 0 bytes, got ${capacity}`);
    this.#capacity = capacity;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Counts as a use. */
  get(key: string): V | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    this.#held.delete(key);
    this.#held.set(key, held);
    return held.value;
  }

  /** Without counting as a use. */
  peek(key: string): V | undefined {
    return this.#held.get(key)?.value;
  }

  set(key: string, value: V, bytes: number): void {
    this.delete(key);
    if (bytes > this.#capacity) return;
    this.#held.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest, held] of this.#held) {
      if (this.#bytes <= this.#capacity) return;
      this.#held.delete(oldest);
      this.#bytes -= held.bytes;
    }
  }

  delete(key: string): boolean {
    const held = this.#held.get(key);
    if (held === undefined) return false;
    this.#bytes -= held.bytes;
    return this.#held.delete(key);
  }

  clear(): void {
    this.#held.clear();
    this.#bytes = 0;
  }
}
