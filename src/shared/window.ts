/**
 * One limit of one client: the exact sliding window and the block that its violation starts.
 *
 * A request admitted at t stands in the window while now − t < window. At most `requests` stand at any moment, and nobody is
 * refused while fewer do. All times are whole milliseconds of a clock that never goes back (`SteadyClock`).
 */
import type { Limit } from "./config/config.ts";

const msPerS = 1000;

/** Of most clients a handful of requests stands in the window; the ring doubles from here up to the limit. */
const firstCapacity = 8;

export type WindowVerdict =
  /** `resetMs`: until the oldest standing request leaves, so until `remaining` can grow. */
  | { readonly kind: "admitted"; readonly remaining: number; readonly resetMs: number }
  | { readonly kind: "blocked"; readonly retryAfterMs: number; readonly untilMs: number; readonly started: boolean };

export interface Block {
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly reason: string;
  /** Requests refused by it so far, with the one that started it. */
  refused: number;
}

/** What survives in storage; `times` as `encodeTimes` writes them. */
export interface WindowRecord {
  readonly windowMs: number;
  readonly times: Uint8Array;
  readonly block: Block | null;
}

export class SlidingWindow {
  /** A ring, oldest at `#head`. */
  #times = new Float64Array(firstCapacity);
  #head = 0;
  #count = 0;
  /** As last asked for: how long the newest time is worth keeping. */
  #windowMs = 0;
  #block: Block | null = null;

  /**
   * Counts a request, or refuses it. The first one too many starts a block of `blockDuration` seconds and empties the
   * window; requests during a block neither lengthen it nor count. With `blockDuration` 0, and with `reportOnly`, there
   * is no block: the request is refused and the window stays.
   */
  admit(limit: Limit, nowMs: number, reportOnly: boolean): WindowVerdict {
    const block = this.#block;
    if (block !== null) {
      if (nowMs < block.untilMs) {
        block.refused += 1;
        return { kind: "blocked", retryAfterMs: block.untilMs - nowMs, untilMs: block.untilMs, started: false };
      }
      this.#block = null;
    }
    this.#windowMs = limit.window * msPerS;
    this.#dropUntil(nowMs - this.#windowMs);
    if (this.#count < limit.requests) {
      this.#push(nowMs, limit.requests);
      const resetMs = this.#timeAt(0) + this.#windowMs - nowMs;
      return { kind: "admitted", remaining: limit.requests - this.#count, resetMs };
    }
    if (reportOnly || limit.blockDuration === 0) {
      // More than `requests` stand where the limit was lowered meanwhile: all but requests − 1 must leave first.
      const untilMs = this.#timeAt(this.#count - limit.requests) + this.#windowMs;
      return { kind: "blocked", retryAfterMs: untilMs - nowMs, untilMs, started: false };
    }
    const untilMs = nowMs + limit.blockDuration * msPerS;
    this.#block = { sinceMs: nowMs, untilMs, reason: violation(limit), refused: 1 };
    this.forget();
    return { kind: "blocked", retryAfterMs: untilMs - nowMs, untilMs, started: true };
  }

  /** Requests standing in a window of `windowMs`. */
  count(windowMs: number, nowMs: number): number {
    let gone = 0;
    while (gone < this.#count && this.#timeAt(gone) <= nowMs - windowMs) gone += 1;
    return this.#count - gone;
  }

  /** The block in force. */
  blockAt(nowMs: number): Block | null {
    return this.#block !== null && nowMs < this.#block.untilMs ? this.#block : null;
  }

  /** Adds refusals that others made on this block's account. */
  addRefused(refused: number, nowMs: number): void {
    const block = this.blockAt(nowMs);
    if (block !== null) block.refused += refused;
  }

  /** Empties the window; a block stays. */
  forget(): void {
    this.#times = new Float64Array(firstCapacity);
    this.#head = 0;
    this.#count = 0;
  }

  /** From when on there is nothing to remember; in the past for an empty window. */
  get emptyAtMs(): number {
    const lastLeaves = this.#count === 0 ? Number.NEGATIVE_INFINITY : this.#timeAt(this.#count - 1) + this.#windowMs;
    return Math.max(lastLeaves, this.#block?.untilMs ?? Number.NEGATIVE_INFINITY);
  }

  toRecord(): WindowRecord {
    return {
      windowMs: this.#windowMs,
      times: encodeTimes(this.#inOrder(this.#count)),
      block: this.#block === null ? null : { ...this.#block },
    };
  }

  static fromRecord(record: WindowRecord): SlidingWindow {
    const window = new SlidingWindow();
    const times = decodeTimes(record.times);
    window.#times = new Float64Array(Math.max(firstCapacity, times.length));
    window.#times.set(times);
    window.#count = times.length;
    window.#windowMs = record.windowMs;
    window.#block = record.block === null ? null : { ...record.block };
    return window;
  }

  #timeAt(index: number): number {
    return this.#times[(this.#head + index) % this.#times.length] as number;
  }

  /** The times from the oldest on, in a ring of `capacity` that begins with them. */
  #inOrder(capacity: number): Float64Array<ArrayBuffer> {
    const ring = new Float64Array(capacity);
    const untilEnd = this.#times.subarray(this.#head, Math.min(this.#head + this.#count, this.#times.length));
    ring.set(untilEnd);
    ring.set(this.#times.subarray(0, this.#count - untilEnd.length), untilEnd.length);
    return ring;
  }

  #dropUntil(timeMs: number): void {
    while (this.#count > 0 && this.#timeAt(0) <= timeMs) {
      this.#head = (this.#head + 1) % this.#times.length;
      this.#count -= 1;
    }
  }

  #push(timeMs: number, most: number): void {
    if (this.#count === this.#times.length) {
      this.#times = this.#inOrder(Math.min(this.#times.length * 2, Math.max(most, this.#count + 1)));
      this.#head = 0;
    }
    this.#times[(this.#head + this.#count) % this.#times.length] = timeMs;
    this.#count += 1;
  }
}

function violation(limit: Limit): string {
  return `more than ${limit.requests} requests in ${limit.window} s`;
}

/**
 * Ascending whole numbers as LEB128 varints: the first as it is, then the differences. A hundred times of one minute take
 * about 200 bytes.
 */
export function encodeTimes(times: ArrayLike<number>): Uint8Array {
  // Milliseconds since 1970 take six bytes, a difference within a day at most four.
  let bytes = new Uint8Array(times.length * 2 + longestVarint);
  let length = 0;
  let previous = 0;
  for (let index = 0; index < times.length; index += 1) {
    const time = times[index] as number;
    if (length + longestVarint > bytes.length) bytes = doubled(bytes);
    let rest = time - previous;
    previous = time;
    // Division, not shifts: such numbers do not fit into 32 bits.
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      bytes[length] = (rest % 0x80) + 0x80;
      length += 1;
    }
    bytes[length] = rest;
    length += 1;
  }
  return bytes.slice(0, length);
}

/** Of a whole number below 2⁵³. */
const longestVarint = 8;

function doubled(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const longer = new Uint8Array(bytes.length * 2);
  longer.set(bytes);
  return longer;
}

export function decodeTimes(bytes: Uint8Array): number[] {
  const times: number[] = [];
  let previous = 0;
  let rest = 0;
  let scale = 1;
  for (const byte of bytes) {
    rest += (byte % 0x80) * scale;
    scale *= 0x80;
    if (byte < 0x80) {
      previous += rest;
      times.push(previous);
      rest = 0;
      scale = 1;
    }
  }
  return times;
}
