import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  noTerms,
  parseCacheControl,
  parseTargeted,
  qualified,
  readRequestTerms,
  seconds,
  splitList,
} from "../../../src/shared/cache/directives.ts";

const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const digits = fc.integer({ min: 0, max: 1e9 }).map(String);

describe("Cache-Control", () => {
  test("a well-formed field reads the same in any spelling: case, quotes, white space, empty elements", () => {
    const directive = fc.record({ name: token, value: fc.option(digits, { nil: null }) });
    const spelling = fc.record({
      upper: fc.boolean(),
      quoted: fc.boolean(),
      before: fc.constantFrom("", " ", "\t", ", ,"),
    });
    const field = fc.uniqueArray(fc.tuple(directive, spelling), { selector: ([{ name }]) => name, maxLength: 6 });
    fc.assert(
      fc.property(field, (parts) => {
        const text = parts.map(([{ name, value }, { upper, quoted, before }]) => {
          const argument = value === null ? "" : quoted ? `="${value}"` : `=${value}`;
          return `${before}${upper ? name.toUpperCase() : name}${argument}`;
        });
        const expected = parts.map(([{ name, value }]) => [name, value ?? true]);
        expect([...parseCacheControl(text.join(","))]).toEqual(expected);
      }),
    );
  });

  test("a restriction is never lost, whatever stands around it", () => {
    const around = fc.string({ unit: fc.constantFrom(...'abc=,;"\\ 019-\t') });
    fc.assert(
      fc.property(around, fc.constantFrom("no-store", "private", "no-cache"), around, (before, name, after) => {
        const directives = parseCacheControl(`${before},${name},${after}`);
        // Inside a quoted string that ends, the word is an argument and no directive.
        fc.pre(splitList(`${before},${name},${after}`)?.includes(name) !== false);
        expect(directives.has(name) || directives.has("no-store")).toBe(true);
      }),
    );
  });

  test("a value that contradicts itself is unreadable, the same twice isn't", () => {
    expect(parseCacheControl("max-age=1, max-age=2").get("max-age")).toBeNull();
    expect(parseCacheControl("max-age=1, MAX-AGE=1").get("max-age")).toBe("1");
    expect(parseCacheControl('private="a", private').get("private")).toBeNull();
  });

  test("a quoted string without an end reads as no-store", () => {
    expect([...parseCacheControl('max-age=60, x="')]).toEqual([["no-store", true]]);
    expect(splitList('a, "b')).toBeNull();
  });

  test("no text makes it throw", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => void [parseCacheControl(text), parseTargeted(text)]),
    );
  });
});

describe("CDN-Cache-Control", () => {
  test("is a dictionary: integers, booleans, parameters, the last of two", () => {
    expect([...(parseTargeted("max-age=60, public, s-maxage=5;a=1;b, x=?1, max-age=7") ?? [])]).toEqual([
      ["max-age", "7"],
      ["public", true],
      ["s-maxage", "5"],
      ["x", true],
    ]);
  });

  test("a value of another type is kept as unreadable", () => {
    for (const value of ['"60"', "6.5", "-1", "sixty", "(1 2)", ":aGk=:", "?0", "@12"]) {
      const directives = parseTargeted(`max-age=${value}`);
      expect(directives, value).not.toBeNull();
      expect(seconds(directives ?? new Map(), "max-age", 0), value).toBe(0);
    }
  });

  test("a field that doesn't parse is as good as none", () => {
    for (const text of [
      "",
      " ",
      "Max-Age=1",
      "max-age=1,",
      "max-age =1",
      "max-age=1 2",
      'a="',
      "a=(1",
      "=1",
      "a=1;B",
      "a,,b",
      "é",
    ]) {
      expect(parseTargeted(text), text).toBeNull();
    }
    expect(parseTargeted(null)).toBeNull();
  });
});

describe("arguments", () => {
  test("seconds are digits and nothing else, at most 2^31", () => {
    const read = (text: string) => seconds(parseCacheControl(`max-age=${text}`), "max-age", -1);
    expect([read("0"), read("007"), read("2147483649")]).toEqual([0, 7, 2 ** 31]);
    for (const text of ["", "-1", "1.5", "1s", "1e3", "0x1", '"1 "']) expect(read(text), text).toBe(-1);
    expect(seconds(new Map(), "max-age", -1)).toBeUndefined();
  });

  test("a list of field names is read in both forms; anything else means the whole answer", () => {
    expect(qualified(parseCacheControl('private="Set-Cookie , X-A"'), "private")).toEqual(["set-cookie", "x-a"]);
    expect(qualified(parseCacheControl("private=set-cookie"), "private")).toEqual(["set-cookie"]);
    expect(qualified(parseTargeted('private="set-cookie"') ?? new Map(), "private")).toEqual(["set-cookie"]);
    for (const text of ["private", 'private=""', 'private="a b"', "public"]) {
      expect(qualified(parseCacheControl(text), "private"), text).toBeNull();
    }
  });
});

describe("a request's terms", () => {
  test("nothing said is nothing asked", () => {
    expect(readRequestTerms(null, null)).toEqual(noTerms);
    expect(readRequestTerms("", "no-cache")).toEqual(noTerms);
    expect(readRequestTerms(null, "no-cache")).toEqual({ ...noTerms, noCache: true });
  });

  test("what can't be read asks for the newest", () => {
    expect(readRequestTerms("max-age=x, min-fresh=x, max-stale=x, stale-if-error=x", null)).toEqual({
      ...noTerms,
      maxAgeS: 0,
      minFreshS: Infinity,
      maxStaleS: 0,
      staleIfErrorS: 0,
    });
  });

  test("max-stale without a value is however stale", () => {
    expect(readRequestTerms("max-stale", null).maxStaleS).toBe(Infinity);
  });
});
