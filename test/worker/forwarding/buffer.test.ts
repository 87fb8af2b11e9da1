import { afterEach, describe, expect, test } from "vitest";
import { bufferedBytes, handedOut, Room, sharedBytes } from "../../../src/worker/buffer.ts";
import { followedBy, readPrefix } from "../../../src/worker/body.ts";

const mebi = 1_048_576;
const rooms: Room[] = [];
function room(): Room {
  const made = new Room();
  rooms.push(made);
  return made;
}
afterEach(() => {
  for (const one of rooms.splice(0)) one.give();
  expect(bufferedBytes()).toBe(0);
});

describe("what an isolate holds of bodies", () => {
  test("is at most 32 MiB together, and room that is given back can be taken again", () => {
    const taken = Array.from({ length: 32 }, () => room().take(mebi, 0));
    expect(taken).toEqual(taken.map(() => true));
    expect([room().take(mebi, 0), bufferedBytes() > sharedBytes]).toEqual([false, true]);
    for (const one of rooms.slice(-2)) one.give();
    expect(room().take(mebi, 0)).toBe(true);
  });

  test("doesn't count the small, and counts the whole of what has grown", () => {
    const one = room();
    expect([one.take(10_000, 0), bufferedBytes()]).toEqual([true, 0]);
    expect([one.take(10_000, 0), bufferedBytes()]).toEqual([true, 20_000]);
    one.give();
    one.give();
    expect(bufferedBytes()).toBe(0);
  });

  test("is not lost for good with a request that was torn down", () => {
    room().take(sharedBytes, 0);
    expect(room().take(mebi, 60_000)).toBe(false);
    expect(room().take(mebi, 3 * 3_600_000)).toBe(true);
  });

  test("is freed as a slow client takes it, not before", async () => {
    const one = room();
    const bytes = new Uint8Array(mebi).fill(7);
    one.take(mebi, 0);
    const reader = (handedOut(bytes, one) as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    expect(bufferedBytes()).toBe(mebi);
    let size = 65_536;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
    }
    expect([size, bufferedBytes()]).toEqual([mebi, 0]);
  });

  test("is freed when the client leaves", async () => {
    const one = room();
    one.take(mebi, 0);
    await (handedOut(new Uint8Array(mebi), one) as ReadableStream<Uint8Array>).cancel();
    expect(bufferedBytes()).toBe(0);
  });
});

function streamOf(pieces: readonly Uint8Array[], broken = false): ReadableStream<Uint8Array> {
  const left = [...pieces];
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift();
      if (next !== undefined) controller.enqueue(next);
      else if (broken) controller.error(new Error("broke"));
      else controller.close();
    },
  });
}

const pieces = Array.from({ length: 20 }, (_, index) => new Uint8Array(65_536).fill(index));

describe("a body of unknown length", () => {
  test("is read whole up to the limit", async () => {
    const prefix = await readPrefix(streamOf(pieces), 2 * mebi);
    rooms.push(prefix.room);
    expect([prefix.bytes.byteLength, prefix.rest]).toEqual([20 * 65_536, null]);
    expect(prefix.bytes[65_536 * 7]).toBe(7);
  });

  test("beyond it goes on as it comes, whole and in order", async () => {
    const { bytes, rest, room: held } = await readPrefix(streamOf(pieces), 300_000);
    expect(rest).not.toBeNull();
    expect(bytes.byteLength).toBeLessThan(300_000 + 65_537);
    if (rest === null) return;
    const all = new Uint8Array(await new Response(followedBy(bytes, rest, held)).arrayBuffer());
    expect(all.byteLength).toBe(20 * 65_536);
    expect(pieces.every((_, index) => all[index * 65_536 + 1] === index)).toBe(true);
  });

  test("is passed on sooner where the isolate holds too much already", async () => {
    const full = room();
    full.take(sharedBytes, Date.now());
    const prefix = await readPrefix(streamOf(pieces), 2 * mebi);
    rooms.push(prefix.room);
    expect(prefix.bytes.byteLength).toBeLessThanOrEqual(65_536);
    expect(prefix.rest).not.toBeNull();
  });

  test("that breaks holds nothing", async () => {
    await expect(readPrefix(streamOf(pieces, true), 20 * mebi)).rejects.toThrow("broke");
    expect(bufferedBytes()).toBe(0);
  });
});
