/** What it takes to keep a body. */
import { expect, test } from "vitest";
import { bufferedBytes, sharedBytes } from "../../../src/worker/buffer.ts";
import { readBody } from "../../../src/worker/cache/message.ts";

const limits = { bytes: 10 * 1024 * 1024, withinMs: 60_000 };
const piece = new Uint8Array(9 * 1024 * 1024);

function held(): { readonly response: Response; fail(): void } {
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  const stream = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
      given.enqueue(piece);
    },
  });
  return { response: new Response(stream), fail: () => controller?.error(new Error("cut")) };
}

test("bodies that are read to be kept share the isolate's room: who finds none is passed on, and no room is lost", async () => {
  const before = bufferedBytes();
  const bodies = Array.from({ length: 6 }, held);
  const most = Math.floor(sharedBytes / piece.byteLength);
  const reading = bodies.map(({ response }) => readBody(response, limits).catch(() => null));
  const passed = await Promise.all(reading.slice(most));
  expect(passed.map((body) => body?.kind)).toEqual(["passing", "passing", "passing"]);
  for (const { fail } of bodies.slice(0, most)) fail();
  expect(await Promise.all(reading.slice(0, most))).toEqual([null, null, null]);
  for (const body of passed) if (body?.kind === "passing") await body.stream.cancel();
  expect(bufferedBytes()).toBe(before);
  // There is room again, and what is kept takes none of it.
  expect((await readBody(new Response(piece), limits)).kind).toBe("whole");
  expect(bufferedBytes()).toBe(before);
});

test("a passed body arrives whole, and its room is free when its client has it", async () => {
  const before = bufferedBytes();
  const sent = new Uint8Array(10 * 1024 * 1024 + 1).fill(7);
  const passed = await readBody(new Response(new Response(sent).body), limits);
  expect(passed.kind).toBe("passing");
  if (passed.kind !== "passing") return;
  const got = new Uint8Array(await new Response(passed.stream).arrayBuffer());
  expect([got.byteLength, got.every((byte) => byte === 7)]).toEqual([sent.byteLength, true]);
  expect(bufferedBytes()).toBe(before);
});

test.each([
  ["of bytes at hand", () => new Response("a small answer")],
  [
    "that came in pieces",
    () => new Response(new Response("a small answer").body?.pipeThrough(new IdentityTransformStream())),
  ],
])("a small body %s holds on to no more memory than it is counted with", async (_how, respond) => {
  const body = await readBody(respond(), limits);
  expect(body.kind).toBe("whole");
  if (body.kind === "whole") expect(body.bytes.buffer.byteLength).toBe(body.bytes.byteLength);
});
