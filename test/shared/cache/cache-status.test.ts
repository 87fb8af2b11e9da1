import { expect, test } from "vitest";
import { cacheStatus } from "../../../src/shared/cache/cache-status.ts";

test("a hit has a time to live, negative when stale", () => {
  expect(cacheStatus({ ttlS: 42 })).toBe("jimeng-edge; hit; ttl=42");
  expect(cacheStatus({ ttlS: -3, detail: "stale-if-error" })).toBe("jimeng-edge; hit; ttl=-3; detail=stale-if-error");
});

test("what went on says why, and what became of it", () => {
  expect(cacheStatus({ forward: "bypass" })).toBe("jimeng-edge; fwd=bypass");
  expect(cacheStatus({ forward: "uri-miss", forwardStatus: 200, stored: true, collapsed: true, ttlS: 5 })).toBe(
    "jimeng-edge; fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=5",
  );
});

test("hit is never said beside fwd (RFC 9211 §2.2)", () => {
  for (const forward of ["bypass", "method", "uri-miss", "vary-miss", "request", "stale", "none"] as const) {
    expect(cacheStatus({ forward, ttlS: 1 })).not.toContain("hit");
  }
});
