import CachePolicy from "http-cache-semantics";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { noTerms } from "../../../src/shared/cache/directives.ts";
import { storingByOrigin, storingFixed, varyNames } from "../../../src/shared/cache/storing.ts";

const nowMs = Date.UTC(2026, 10, 23, 12);
const fieldsOf = (headers: Record<string, string>) => ({ get: (name: string) => headers[name] ?? null });

function byOrigin(status: number, headers: Record<string, string>, credentials = false) {
  const dated = { date: new Date(nowMs).toUTCString(), ...headers };
  const facts = {
    method: "GET",
    terms: noTerms,
    credentials,
    status,
    fields: fieldsOf(dated),
    requestMs: nowMs,
    responseMs: nowMs,
  };
  return storingByOrigin(facts);
}

const sane = fc
  .record({
    maxAge: fc.option(fc.integer({ min: 0, max: 10_000 })),
    sMaxage: fc.option(fc.integer({ min: 0, max: 10_000 })),
    expiresInS: fc.option(fc.integer({ min: -1000, max: 10_000 })),
    modifiedAgoS: fc.option(fc.integer({ min: 1, max: 100_000 })),
    flags: fc.subarray(["public", "private", "no-store", "must-revalidate"]),
  })
  .map(({ maxAge, sMaxage, expiresInS, modifiedAgoS, flags }) => {
    const control = [
      ...flags,
      ...(maxAge === null ? [] : [`max-age=${maxAge}`]),
      ...(sMaxage === null ? [] : [`s-maxage=${sMaxage}`]),
    ];
    const headers: Record<string, string> = { etag: '"1"' };
    if (control.length > 0) headers["cache-control"] = control.join(", ");
    if (expiresInS !== null) headers["expires"] = new Date(nowMs + expiresInS * 1000).toUTCString();
    if (modifiedAgoS !== null) headers["last-modified"] = new Date(nowMs - modifiedAgoS * 1000).toUTCString();
    return headers;
  });

test("on fields spelled as every program spells them, the verdict and the lifetime are the library's", () => {
  fc.assert(
    fc.property(sane, fc.constantFrom(200, 203, 204, 301, 302, 308), fc.boolean(), (headers, status, credentials) => {
      const dated = { date: new Date(nowMs).toUTCString(), ...headers };
      const request = { method: "GET", headers: credentials ? { authorization: "x" } : {} };
      const library = new CachePolicy(request, { status, headers: dated }, { shared: true, immutableMinTimeToLive: 0 });
      const verdict = byOrigin(status, headers, credentials);
      expect(verdict.store).toBe(library.storable());
      if (verdict.store) expect(verdict.retention.lifetimeMs).toBeCloseTo(library.maxAge() * 1000, 3);
    }),
  );
});

test("where the library reads a field too kindly, the verdict is the safe one", () => {
  expect(byOrigin(200, { "cache-control": "No-Store, max-age=60" }).store).toBe(false);
  expect(byOrigin(200, { "cache-control": "Private" }).store).toBe(false);
  const lifetimeOf = (headers: Record<string, string>) => {
    const verdict = byOrigin(200, { etag: '"1"', ...headers });
    return verdict.store ? verdict.retention.lifetimeMs : null;
  };
  expect(lifetimeOf({ "cache-control": "max-age=1d" })).toBe(0);
  expect(lifetimeOf({ "cache-control": "max-age=60, max-age=600" })).toBe(0);
  expect(lifetimeOf({ expires: "2030-01-01" })).toBe(0);
  expect(lifetimeOf({ "cache-control": 'x="no-store", max-age=60' })).toBe(60_000);
  expect(lifetimeOf({ "cache-control": "max-age=60, proxy-revalidate" })).toBe(60_000);
});

test("no answer that forbids it, in whatever case and order, is stored", () => {
  const noise = fc.constantFrom("max-age=60", "s-maxage=60", "public", "x", 'ext="a,b"', "immutable");
  const casing = fc.func(fc.boolean());
  fc.assert(
    fc.property(
      fc.array(noise),
      fc.constantFrom("no-store", "private"),
      fc.array(noise),
      casing,
      (before, name, after, upper) => {
        const spelled = [...name].map((char, index) => (upper(index) ? char.toUpperCase() : char)).join("");
        expect(byOrigin(200, { "cache-control": [...before, spelled, ...after].join(" ,") }).store).toBe(false);
      },
    ),
  );
});

test("no error is stored under any rule", () => {
  fc.assert(
    fc.property(fc.integer({ min: 400, max: 599 }), sane, (status, headers) => {
      expect(byOrigin(status, headers).store).toBe(false);
      const facts = { status, fields: fieldsOf(headers), requestMs: nowMs, responseMs: nowMs };
      expect(storingFixed(facts, 60, { staleWhileRevalidate: 60, staleIfError: 60 }).store).toBe(false);
    }),
  );
});

test("the age at arrival is the larger of what Age and Date tell, and the time under way counts (RFC 9111 §4.2.3)", () => {
  const at = (age: string, dateAgoS: number, tookMs: number) => {
    const headers = { age, date: new Date(nowMs - dateAgoS * 1000).toUTCString(), "cache-control": "max-age=600" };
    const facts = {
      method: "GET",
      terms: noTerms,
      credentials: false,
      status: 200,
      fields: fieldsOf(headers),
      requestMs: nowMs - tookMs,
      responseMs: nowMs,
    };
    const verdict = storingByOrigin(facts);
    return verdict.store ? verdict.retention.initialAgeMs : null;
  };
  expect(at("10", 0, 0)).toBe(10_000);
  expect(at("10", 30, 0)).toBe(30_000);
  expect(at("10", 0, 1500)).toBe(11_500);
  expect(at("none", -30, 0)).toBe(0);
});

test("a fixed lifetime counts from the arrival, whatever the age", () => {
  const facts = { status: 200, fields: fieldsOf({ age: "500" }), requestMs: nowMs, responseMs: nowMs };
  const verdict = storingFixed(facts, 60, { staleWhileRevalidate: 1, staleIfError: 2 });
  expect(verdict.store && verdict.retention.lifetimeMs - verdict.retention.initialAgeMs).toBe(60_000);
});

test("Vary is a set of names: case, order, spaces and repetition don't count; * and what is no name forbid", () => {
  expect(varyNames(" X-B ,x-a,,X-b")).toEqual(["x-a", "x-b"]);
  expect(varyNames(null)).toEqual([]);
  for (const vary of ["*", "a, *", "a b", 'a"b']) expect(varyNames(vary), vary).toBeNull();
});
