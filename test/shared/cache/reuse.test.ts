import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { CachedAnswer } from "../../../src/shared/cache/cached-answer.ts";
import { currentAgeMs, freshForMs, keepMs } from "../../../src/shared/cache/cached-answer.ts";
import type { RequestTerms } from "../../../src/shared/cache/directives.ts";
import { noTerms } from "../../../src/shared/cache/directives.ts";
import { mayStandIn, reuse } from "../../../src/shared/cache/reuse.ts";

const span = fc.integer({ min: 0, max: 100_000 });
const answers: fc.Arbitrary<CachedAnswer> = fc.record({
  lifetimeMs: span,
  initialAgeMs: span,
  staleWhileRevalidateMs: span,
  staleIfErrorMs: span,
  alwaysValidate: fc.boolean(),
  neverStale: fc.boolean(),
  forCredentials: fc.boolean(),
  status: fc.constant(200),
  headers: fc.constant([]),
  etag: fc.constantFrom(null, '"1"'),
  lastModified: fc.constant(null),
  body: fc.constant(new Uint8Array()),
  receivedMs: span,
});
const asked = fc.option(fc.integer({ min: 0, max: 200 }), { nil: null });
const terms: fc.Arbitrary<RequestTerms> = fc.record({
  noStore: fc.boolean(),
  noCache: fc.boolean(),
  onlyIfCached: fc.boolean(),
  maxAgeS: asked,
  minFreshS: asked,
  maxStaleS: asked,
  staleIfErrorS: asked,
});

test("nothing is used without asking that is not for this client, must be confirmed, or was asked to be new", () => {
  fc.assert(
    fc.property(answers, terms, fc.boolean(), span, (answer, wish, credentials, nowMs) => {
      const verdict = reuse(answer, wish, credentials, nowMs);
      if (credentials && !answer.forCredentials) expect(verdict).toBe("unusable");
      else if (answer.alwaysValidate || wish.noCache) expect(verdict).toBe("validate");
    }),
  );
});

test("fresh is what is younger than its lifetime and as young as the client wants it", () => {
  fc.assert(
    fc.property(answers, terms, span, (answer, wish, nowMs) => {
      if (reuse(answer, wish, false, nowMs) !== "fresh") return;
      const ageMs = currentAgeMs(answer, nowMs);
      expect(ageMs).toBeLessThan(answer.lifetimeMs);
      if (wish.maxAgeS !== null) expect(ageMs).toBeLessThanOrEqual(wish.maxAgeS * 1000);
      if (wish.minFreshS !== null) expect(answer.lifetimeMs - ageMs).toBeGreaterThanOrEqual(wish.minFreshS * 1000);
    }),
  );
});

test("nothing stale is used where the origin forbids it, nor beyond what origin or client allow", () => {
  fc.assert(
    fc.property(answers, terms, span, (answer, wish, nowMs) => {
      const verdict = reuse(answer, wish, false, nowMs);
      const overdueMs = -freshForMs(answer, nowMs);
      if (verdict === "stale") expect(overdueMs).toBeLessThanOrEqual((wish.maxStaleS ?? -1) * 1000);
      if (verdict === "refresh") expect(overdueMs).toBeLessThan(answer.staleWhileRevalidateMs);
      if (verdict === "stale" || verdict === "refresh") expect(answer.neverStale).toBe(false);
    }),
  );
});

test("an answer never becomes better by waiting", () => {
  const rank = { fresh: 0, stale: 1, refresh: 1, validate: 2, unusable: 2 };
  fc.assert(
    fc.property(answers, terms, fc.boolean(), span, span, (answer, wish, credentials, nowMs, laterMs) => {
      const now = reuse(answer, wish, credentials, nowMs);
      const later = reuse(answer, wish, credentials, nowMs + laterMs);
      expect(rank[later]).toBeGreaterThanOrEqual(rank[now]);
    }),
  );
});

test("what stands in for a failed origin is allowed to be stale, and not for longer than somebody said", () => {
  fc.assert(
    fc.property(answers, terms, fc.boolean(), span, (answer, wish, credentials, nowMs) => {
      if (!mayStandIn(answer, wish, credentials, nowMs)) return;
      expect(answer.neverStale || answer.alwaysValidate || wish.noCache).toBe(false);
      expect(credentials && !answer.forCredentials).toBe(false);
      const allowedMs = Math.max(answer.staleIfErrorMs, (wish.staleIfErrorS ?? 0) * 1000);
      expect(-freshForMs(answer, nowMs)).toBeLessThan(allowedMs);
    }),
  );
});

test("it is kept for as long as anything may be done with it", () => {
  fc.assert(
    fc.property(answers, span, (answer, laterMs) => {
      const nowMs = answer.receivedMs + keepMs(answer) + laterMs;
      expect(["validate", "unusable"]).toContain(reuse(answer, noTerms, false, nowMs));
      expect(mayStandIn(answer, noTerms, false, nowMs)).toBe(false);
    }),
  );
});

test("a clock that goes back makes nothing younger than it arrived", () => {
  fc.assert(
    fc.property(answers, span, (answer, nowMs) => {
      expect(currentAgeMs(answer, answer.receivedMs - nowMs)).toBe(answer.initialAgeMs);
    }),
  );
});
