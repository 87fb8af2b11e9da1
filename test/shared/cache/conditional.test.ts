import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { CachedAnswer } from "../../../src/shared/cache/cached-answer.ts";
import { freshenedHeaders, rangeOf, strongMatch, weakMatch } from "../../../src/shared/cache/conditional.ts";

function answerOf(size: number): CachedAnswer {
  return {
    status: 200,
    headers: [],
    etag: null,
    lastModified: null,
    body: new Uint8Array(size),
    receivedMs: 0,
    lifetimeMs: 0,
    initialAgeMs: 0,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    alwaysValidate: false,
    neverStale: false,
    forCredentials: false,
  };
}

const asks = (range: string) => ({ get: (name: string) => (name === "range" ? range : null) });

test("a range lies inside the body, or there is none", () => {
  const bound = fc.option(fc.nat({ max: 40 }), { nil: null });
  fc.assert(
    fc.property(fc.nat({ max: 20 }), bound, bound, (size, from, to) => {
      const range = rangeOf(answerOf(size), asks(`bytes=${from ?? ""}-${to ?? ""}`));
      if (range === null || range === "unsatisfiable") return;
      expect(range.first).toBeGreaterThanOrEqual(0);
      expect(range.first).toBeLessThanOrEqual(range.last);
      expect(range.last).toBeLessThan(size);
      if (from !== null) expect(range.first).toBe(from);
    }),
  );
});

test("a range that begins after the end, and an empty suffix, can't be satisfied", () => {
  expect(rangeOf(answerOf(3), asks("bytes=3-"))).toBe("unsatisfiable");
  expect(rangeOf(answerOf(3), asks("bytes=-0"))).toBe("unsatisfiable");
  expect(rangeOf(answerOf(0), asks("bytes=0-"))).toBe("unsatisfiable");
});

test("no range field makes it throw", () => {
  fc.assert(fc.property(fc.string(), (text) => void rangeOf(answerOf(9), asks(text))));
});

test("the table of comparisons of RFC 9110 §8.8.3.2", () => {
  const rows = [
    ['W/"1"', 'W/"1"', false, true],
    ['W/"1"', 'W/"2"', false, false],
    ['W/"1"', '"1"', false, true],
    ['"1"', '"1"', true, true],
  ] as const;
  for (const [a, b, strong, weak] of rows) expect([strongMatch(a, b), weakMatch(a, b)]).toEqual([strong, weak]);
});

test("a 304's fields replace all of their name and leave the rest, in their order", () => {
  const stored = [
    ["a", "1"],
    ["b", "2"],
    ["a", "3"],
    ["content-length", "9"],
  ] as const;
  const update = [
    ["a", "new"],
    ["content-length", "0"],
    ["c", "4"],
  ] as const;
  expect(freshenedHeaders({ ...answerOf(9), headers: stored }, update)).toEqual([
    ["b", "2"],
    ["content-length", "9"],
    ["a", "new"],
    ["c", "4"],
  ]);
});

test("a tag that was weakened when it was stored stays weak", () => {
  const stored = { ...answerOf(9), etag: '"1"', headers: [["etag", 'W/"1"']] as const };
  expect(freshenedHeaders(stored, [["etag", '"1"']])).toEqual([["etag", 'W/"1"']]);
  expect(freshenedHeaders({ ...stored, headers: [["etag", '"1"']] }, [["etag", '"1"']])).toEqual([["etag", '"1"']]);
});
