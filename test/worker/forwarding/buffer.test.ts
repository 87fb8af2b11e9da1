import { afterEach, describe, expect, test } from "vitest";
import { bufferedBytes, handedOut, Room, sharedBytes } from "../../../src/worker/buffer.ts";
import { followedBy, outgoing, readPrefix } from "../../../src/worker/body.ts";
import { byteSource, type ByteSource } from "../../../src/worker/byte-source.ts";
import { defaults } from "../../../src/shared/config/defaults.ts";
import { compileRoutes } from "../../../src/shared/jimeng/routes.ts";

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

function sourceOf(pieces: readonly Uint8Array[], broken = false): ByteSource {
  return byteSource(streamOf(pieces, broken));
}

const pieces = Array.from({ length: 20 }, (_, index) => new Uint8Array(65_536).fill(index));

describe("a body of unknown length", () => {
  test("is read whole up to the limit", async () => {
    const prefix = await readPrefix(sourceOf(pieces), 2 * mebi);
    rooms.push(prefix.room);
    expect([prefix.bytes.byteLength, prefix.rest]).toEqual([20 * 65_536, null]);
    expect(prefix.bytes[65_536 * 7]).toBe(7);
  });

  test("beyond it goes on as it comes, whole and in order", async () => {
    const { bytes, rest, room: held } = await readPrefix(sourceOf(pieces), 300_000);
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
    const prefix = await readPrefix(sourceOf(pieces), 2 * mebi);
    rooms.push(prefix.room);
    expect(prefix.bytes.byteLength).toBeLessThanOrEqual(65_536);
    expect(prefix.rest).not.toBeNull();
  });

  test("that breaks holds nothing", async () => {
    await expect(readPrefix(sourceOf(pieces, true), 20 * mebi)).rejects.toThrow("broke");
    expect(bufferedBytes()).toBe(0);
  });
});

describe("a body that is announced", () => {
  const route = compileRoutes({ ROUTES: [], CACHE: defaults.CACHE, BASE_PATH: "" }).match(
    "POST",
    "/v1/images/generations",
  );

  function announced(body: ReadableStream<Uint8Array>): Request {
    const headers = { "content-length": String(mebi), "content-type": "application/json" };
    return new Request("https://edge.example/", { method: "POST", body, headers });
  }

  test("takes the room of what has come of it, and is given up in silence", async () => {
    if (route.kind !== "route") throw new Error("no route");
    const some = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array(100_000)) });
    const waiting = Array.from({ length: 40 }, () =>
      outgoing(announced(new ReadableStream()), route.route, { idleMs: 200, leastBytesPerMs: 16 }),
    );
    const begun = outgoing(announced(some), route.route, { idleMs: 200, leastBytesPerMs: 16 });
    const all = Promise.allSettled([...waiting, begun]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(bufferedBytes()).toBe(100_000);
    for (const one of await all) expect(one).toMatchObject({ reason: { fault: "request_timeout" } });
    expect(bufferedBytes()).toBe(0);
  });
});
