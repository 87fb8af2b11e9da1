/** Reads a body into memory of the reader's own: in large pieces, and with no more set aside than has a use. */

export interface ByteSource {
  /** What has come, as soon as anything has; nothing at the end. It lies in the memory that was `room`'s, and `room` itself is gone. */
  read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  cancel(reason?: unknown): Promise<void>;
}

/** Locks the stream. A runtime's own stream would otherwise come in pieces of 4 KiB, at seven times the cost. */
export function byteSource(stream: ReadableStream<Uint8Array>): ByteSource {
  try {
    return new OwnMemory(stream.getReader({ mode: "byob" }));
  } catch {
    return new Copied(stream.getReader());
  }
}

class OwnMemory implements ByteSource {
  readonly #reader: ReadableStreamBYOBReader;

  constructor(reader: ReadableStreamBYOBReader) {
    this.#reader = reader;
  }

  async read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const { value } = await this.#reader.read(room);
    if (value === undefined) throw new Error("the stream was cancelled");
    return value as Uint8Array<ArrayBuffer>;
  }

  cancel(reason?: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

/** A stream that was made of pieces in JavaScript knows of no memory but theirs. */
class Copied implements ByteSource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #left: Uint8Array = new Uint8Array(0);

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader;
  }

  async read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#left.byteLength === 0) {
      const { done, value } = await this.#reader.read();
      if (done) return room.subarray(0, 0);
      this.#left = value;
    }
    const size = Math.min(room.byteLength, this.#left.byteLength);
    room.set(this.#left.subarray(0, size));
    this.#left = this.#left.subarray(size);
    return room.subarray(0, size);
  }

  cancel(reason?: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

/** Nothing has come for too long. */
export class Silence extends Error {}

/** Its reads throw `Silence` where nothing comes for `idleMs`. Time in which nobody reads is no silence. */
export class Patient implements ByteSource {
  readonly #source: ByteSource;
  readonly #idleMs: number;
  #waitingSinceMs: number | null = null;
  #giveUp: ((error: Silence) => void) | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(source: ByteSource, idleMs: number) {
    this.#source = source;
    this.#idleMs = idleMs;
  }

  async read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    this.#waitingSinceMs = Date.now();
    this.#timer ??= setTimeout(() => this.#ring(Date.now()), this.#idleMs);
    try {
      const piece = await new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => {
        this.#giveUp = reject;
        this.#source.read(room).then(resolve, reject);
      });
      if (piece.byteLength === 0) this.end();
      return piece;
    } catch (error) {
      this.end();
      throw error;
    } finally {
      this.#waitingSinceMs = null;
    }
  }

  async cancel(reason?: unknown): Promise<void> {
    this.end();
    await this.#source.cancel(reason);
  }

  /** No more will be read. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** One timer, however many pieces: it looks back when it rings. */
  #ring(nowMs: number): void {
    this.#timer = null;
    if (this.#waitingSinceMs === null) return;
    const left = this.#waitingSinceMs + this.#idleMs - nowMs;
    if (left > 0) this.#timer = setTimeout(() => this.#ring(Date.now()), left);
    else this.#giveUp?.(new Silence(`nothing has come for ${this.#idleMs} ms`));
  }
}

const firstBlockBytes = 4096;
const lastBlockBytes = 65_536;

/** Bytes as they are gathered: what is set aside for them is never much more than has come. */
export class Gathering {
  readonly #full: Uint8Array[] = [];
  #block: Uint8Array<ArrayBuffer> = new Uint8Array(firstBlockBytes);
  #filled = 0;
  size = 0;

  /** The next piece, however small; false: there is none. Throws what the source throws. */
  async takeFrom(source: ByteSource): Promise<boolean> {
    if (this.#filled === this.#block.byteLength) {
      this.#full.push(this.#block);
      this.#block = new Uint8Array(Math.min(lastBlockBytes, this.#block.byteLength * 2));
      this.#filled = 0;
    }
    const piece = await source.read(this.#block.subarray(this.#filled));
    this.#block = new Uint8Array(piece.buffer);
    this.#filled += piece.byteLength;
    this.size += piece.byteLength;
    return piece.byteLength > 0;
  }

  pieces(): readonly Uint8Array[] {
    return [...this.#full, this.#block.subarray(0, this.#filled)];
  }
}
