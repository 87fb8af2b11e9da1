/** What one isolate holds of bodies, all together: a quarter of its 128 MB, whoever is slow to take theirs. */

export const sharedBytes = 32 * 1_048_576;

/** Bodies below this are not counted: the objects around them weigh as much. */
export const uncountedBytes = 16_384;

/** Longer than any request may last: whoever holds room for so long was torn down without a chance to give it back. */
const forgottenMs = 2 * 3_600_000;

let counted = 0;
const rooms = new Set<Room>();

/** Bytes that are counted now. */
export function bufferedBytes(): number {
  return counted;
}

/** The room of one body. */
export class Room {
  #bytes = 0;
  #sinceMs = 0;

  /** False: the share is used up, and no more may be read than has been. What has been read is counted in any case. */
  take(bytes: number, nowMs: number): boolean {
    const before = this.#bytes;
    this.#bytes = before + bytes;
    if (this.#bytes <= uncountedBytes) return true;
    if (before <= uncountedBytes) {
      this.#sinceMs = nowMs;
      rooms.add(this);
      counted += this.#bytes;
    } else counted += bytes;
    if (counted > sharedBytes) forget(nowMs);
    return counted <= sharedBytes;
  }

  /** Idempotent. */
  give(): void {
    if (rooms.delete(this)) counted -= this.#bytes;
    this.#bytes = 0;
  }

  isForgotten(nowMs: number): boolean {
    return nowMs - this.#sinceMs > forgottenMs;
  }
}

function forget(nowMs: number): void {
  for (const room of rooms) {
    // In the order in which they were taken: the first that is young ends the search.
    if (!room.isForgotten(nowMs)) return;
    room.give();
  }
}

/** Small enough for one piece, whatever the client's line. */
export const pieceBytes = 65_536;

/** The bytes of a body; where they are many, piece by piece, so that their room is given back when they have gone. */
export function handedOut(bytes: Uint8Array, room: Room): BodyInit {
  if (bytes.byteLength <= pieceBytes) {
    room.give();
    return bytes;
  }
  let at = 0;
  return new ReadableStream<Uint8Array>(
    {
      expectedLength: bytes.byteLength,
      pull(controller) {
        controller.enqueue(bytes.subarray(at, at + pieceBytes));
        at += pieceBytes;
        if (at < bytes.byteLength) return;
        controller.close();
        room.give();
      },
      cancel: () => room.give(),
    },
    { highWaterMark: 0 },
  );
}

/** The pieces as one; a single piece is not copied. */
export function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  if (chunks.length === 1) return chunks[0] as Uint8Array;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
