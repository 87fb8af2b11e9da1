import { describe, expect, it } from "vitest";
import { encodingFor, mayCompress } from "../../src/worker/compress.ts";

const json = (headers: Record<string, string> = {}, bytes: number | null = 5000, status = 200) => ({
  status,
  bytes,
  headers: new Headers({ "content-type": "application/json; charset=utf-8", ...headers }),
});

describe("compression", () => {
  it.each([
    ["br, gzip", "br"],
    ["gzip", "gzip"],
    ["gzip;q=1, br;q=0.5", "gzip"],
    ["gzip;q=0.5, br;q=0.5", "br"],
    ["*", "br"],
    ["br;q=0, *", "gzip"],
    ["br;q=0, gzip;q=0, *", null],
    ["identity", null],
    ["identity;q=1, gzip;q=0.5", null],
    ["gzip;q=0", null],
    ["gzip;q=abc", null],
    ["gzip;q=7", null],
    ["x-gzip", "gzip"],
    ["zstd", null],
    ["", null],
    [null, null],
    ["GZIP", "gzip"],
  ])("by Accept-Encoding %j chooses %j", (accept, expected) => {
    expect(encodingFor(accept, json())).toBe(expected);
  });

  it.each([
    ["below 1 KiB", json({}, 1023), false],
    ["at 1 KiB", json({}, 1024), true],
    ["of unknown length", json({}, null), false],
    ["already encoded", json({ "content-encoding": "gzip" }), false],
    ["no-transform", json({ "cache-control": "public, no-transform" }), false],
    ["a part", json({ "content-range": "bytes 0-1/2" }), false],
    ["a picture", json({ "content-type": "image/webp" }), false],
    ["events", json({ "content-type": "text/event-stream" }), false],
    ["HTML", json({ "content-type": "text/html" }), true],
    ["SVG", json({ "content-type": "image/svg+xml" }), true],
    ["an error", json({}, 5000, 500), false],
  ])("of an answer %s is %3$j", (_name, subject, expected) => {
    expect(mayCompress(subject)).toBe(expected);
  });
});
