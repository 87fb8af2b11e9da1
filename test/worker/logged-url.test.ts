import { describe, expect, it } from "vitest";
import { targetOf } from "../../src/worker/exchange.ts";
import { loggedUrl } from "../../src/worker/log/url.ts";

describe("a logged URL", () => {
  it("hides a session id, the same one always in the same way", () => {
    const first = loggedUrl("/usage/session/us-abc123secret", "");
    expect(first).toMatch(/^\/usage\/session\/~[0-9a-f]{16}$/);
    expect(loggedUrl("/usage/session/us-abc123secret", "")).toBe(first);
    expect(loggedUrl("/usage/session/other", "")).not.toBe(first);
    expect(loggedUrl("/usage/session/us-abc/history", "?date=2026-01-01")).toMatch(
      /~[0-9a-f]{16}\/history\?date=2026-01-01$/,
    );
  });

  it("hides the value of every parameter that is named like a credential", () => {
    expect(loggedUrl("/v1/models", "?api_key=s3cret&page=2&Token=x&session_id=y")).toBe(
      "/v1/models?api_key=***&page=2&Token=***&session_id=***",
    );
  });

  it.each([
    "?password=s3cret",
    "?pwd=s3cret",
    "?sign=s3cret",
    "?X-Amz-Credential=s3cret",
    "?ticket=s3cret",
    "?page=1;token=s3cret",
    "?url=https%3A%2F%2Fx.example%2F%3Fkey%3Ds3cret",
  ])("hides the value in %s", (query) => {
    expect(loggedUrl("/v1/models", `${query}&page=2`)).toMatch(/=\*\*\*&page=2$/);
    expect(loggedUrl("/v1/models", query)).not.toContain("s3cret");
  });

  it.each([
    "/usage/%73ession/us-abc",
    "/usage/session%2Fus-abc",
    "//usage//session//us-abc",
    "/Usage/Session/us-abc",
    "/usage/session/x/usage/session/us-abc",
  ])("hides it in %s, too, which no server takes but a slip may write", (path) => {
    expect(loggedUrl(path, "")).toMatch(/~[0-9a-f]{16}$/);
    expect(loggedUrl(path, "")).not.toContain("us-abc");
  });

  it("hides a parameter whose name is spelled with escapes, and leaves a broken escape as it is", () => {
    expect(loggedUrl("/v1/models", "?%74oken=x&%=1&%zz%74oken")).toBe("/v1/models?%74oken=***&%=1&%zz%74oken");
    expect(loggedUrl("/100%/a", "")).toBe("/100%/a");
  });

  it("is cut where it is long, so that a batch of them stays within what a database takes at once", () => {
    expect(loggedUrl("/v1/models", `?${"a".repeat(60_000)}`)).toHaveLength(2049);
    expect(loggedUrl(`/${"a".repeat(2046)}`, "")).toHaveLength(2047);
  });
});

describe("a target", () => {
  it.each([
    [
      "https://edge.example/v1/models?x=%2F#frag",
      { protocol: "https", host: "edge.example", path: "/v1/models", query: "?x=%2F" },
    ],
    ["http://127.0.0.1:8787/", { protocol: "http", host: "127.0.0.1:8787", path: "/", query: "" }],
    ["http://h/a?b?c", { protocol: "http", host: "h", path: "/a", query: "?b?c" }],
    ["http://h/a#b?c", { protocol: "http", host: "h", path: "/a", query: "" }],
  ])("of %s is taken apart without decoding", (url, expected) => {
    expect(targetOf(url)).toEqual(expected);
  });
});
