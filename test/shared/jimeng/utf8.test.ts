import * as fc from "fast-check";
import { expect, test } from "vitest";
import { decodeUtf8 } from "../../../src/shared/jimeng/utf8.ts";

test("every well-formed text comes back as it was, from any place in a buffer", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
      fc.nat(5),
      (text, offset) => {
        const bytes = new TextEncoder().encode(text);
        const buffer = new Uint8Array(bytes.length + offset + 3).fill(0xe5);
        buffer.set(bytes, offset);
        return decodeUtf8(buffer, offset, offset + bytes.length) === text;
      },
    ),
    { numRuns: 1000 },
  );
});

test("overlong forms, surrogates, stray and missing bytes become U+FFFD and swallow nothing after them", () => {
  for (const bytes of [
    [0xc0, 0xae],
    [0xe0, 0x80, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0x80],
    [0xff],
    [0xe5, 0x8d],
  ]) {
    const text = decodeUtf8(new Uint8Array([...bytes, 0x61]), 0, bytes.length + 1);
    expect(text).toMatch(/^\uFFFD+a$/u);
  }
});

test("bytes that the platform's decoder takes for well-formed are read alike", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
      let expected: string;
      try {
        expected = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      } catch {
        return decodeUtf8(bytes, 0, bytes.length).includes("\uFFFD");
      }
      return decodeUtf8(bytes, 0, bytes.length) === expected;
    }),
    { numRuns: 3000 },
  );
});
