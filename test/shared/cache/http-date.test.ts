import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatHttpDate, parseHttpDate } from "../../../src/shared/cache/http-date.ts";

const nowMs = Date.UTC(2026, 10, 23, 12);
const wholeSeconds = fc.integer({ min: Date.UTC(1000, 0, 1) / 1000, max: Date.UTC(9999, 11, 31) / 1000 });

test("a date is written as the platform writes it", () => {
  fc.assert(
    fc.property(wholeSeconds, (s) => void expect(formatHttpDate(s * 1000)).toBe(new Date(s * 1000).toUTCString())),
  );
});

test("what was written is read back", () => {
  fc.assert(
    fc.property(wholeSeconds, (s) => void expect(parseHttpDate(formatHttpDate(s * 1000), nowMs)).toBe(s * 1000)),
  );
});

test("the three forms of one moment are the same moment", () => {
  const moment = Date.UTC(1994, 10, 6, 8, 49, 37);
  expect(parseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT", nowMs)).toBe(moment);
  expect(parseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT", nowMs)).toBe(moment);
  expect(parseHttpDate("Sun Nov  6 08:49:37 1994", nowMs)).toBe(moment);
});

test("two digits of a year more than 50 years ahead mean the past", () => {
  expect(parseHttpDate("Monday, 23-Nov-76 12:00:00 GMT", nowMs)).toBe(Date.UTC(2076, 10, 23, 12));
  expect(parseHttpDate("Monday, 23-Nov-77 12:00:00 GMT", nowMs)).toBe(Date.UTC(1977, 10, 23, 12));
});

test("a leap second is read, a 61st isn't", () => {
  expect(parseHttpDate("Sat, 31 Dec 2016 23:59:60 GMT", nowMs)).toBe(Date.UTC(2017, 0, 1));
  expect(parseHttpDate("Sat, 31 Dec 2016 23:59:61 GMT", nowMs)).toBeNull();
});

test("what is no HTTP date is null, whatever Date.parse would make of it", () => {
  const others = [
    "0",
    "",
    "2026-11-23",
    "2026-11-23T12:00:00Z",
    "Sun, 29 Feb 2026 00:00:00 GMT",
    "Sun, 06 Nov 1994 08:49:37 +0000",
  ];
  const more = [
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 gmt",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 00 Nov 1994 00:00:00 GMT",
  ];
  for (const text of [...others, ...more]) expect(parseHttpDate(text, nowMs), text).toBeNull();
  expect(parseHttpDate(null, nowMs)).toBeNull();
});

test("no text makes it throw", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => void parseHttpDate(text, nowMs)));
});
