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
