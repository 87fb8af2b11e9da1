/** Virtual time: a queue of things to happen. Equal times happen in the order they were planned. */

interface Planned {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
}

export class Timeline {
  nowMs = 0;
  #planned = 0;
  /** A binary heap, the earliest first. */
  readonly #heap: Planned[] = [];

  /** Plans `action` for `atMs`; a time that has passed is now. */
  at(atMs: number, action: () => void): void {
    this.#planned += 1;
    this.#push({ atMs: Math.max(atMs, this.nowMs), order: this.#planned, action });
  }

  after(delayMs: number, action: () => void): void {
    this.at(this.nowMs + delayMs, action);
  }

  /** Repeats `action` every `intervalMs` from `firstMs` on, for as long as the timeline runs. */
  every(intervalMs: number, firstMs: number, action: () => void): void {
    this.at(firstMs, () => {
      action();
      this.every(intervalMs, this.nowMs + intervalMs, action);
    });
  }

  /** Lets everything happen up to and including `untilMs`. */
  run(untilMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      this.nowMs = next.atMs;
      next.action();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #push(entry: Planned): void {
    const heap = this.#heap;
    let slot = heap.push(entry) - 1;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[slot] = heap[parent]!;
      slot = parent;
    }
    heap[slot] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let slot = 0;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[slot] = heap[child]!;
      slot = child;
    }
    heap[slot] = last;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
