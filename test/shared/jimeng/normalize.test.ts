import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorOfStatus, normalizeError } from "../../../src/shared/jimeng/normalize.ts";

const body = (code: number, message: string): Record<string, unknown> => ({ code, message, data: null });

describe("a flat dialect's error under 200", () => {
  const rows: readonly (readonly [code: number, message: string, status: number, type: string])[] = [
    [-2000, "bad", 400, "invalid_request_error"],
    [-2001, "[请求jimeng失败]: internal", 500, "server_error"],
    [-2001, "[登录失效]: x", 401, "authentication_error"],
    [-2002, "Token已失效", 401, "authentication_error"],
    [-2003, "bad url", 400, "invalid_request_error"],
    [-2004, "too large", 413, "invalid_request_error"],
    [-2006, "blocked", 400, "invalid_request_error"],
    [-2007, "failed", 500, "server_error"],
    [-2008, "failed", 500, "server_error"],
    [-2009, "即梦积分不足", 402, "insufficient_quota"],
    [-2001, "[无法生成图像]: 即梦积分可能不足", 402, "insufficient_quota"],
    [-2010, "任务不存在", 500, "server_error"],
    [-2011, "x", 500, "server_error"],
    [-2012, "x", 500, "server_error"],
    [-2013, "x", 500, "server_error"],
    [-1000, "[请求有误]: x", 500, "server_error"],
    [-9999, "x", 500, "server_error"],
  ];
  test.each(rows)(
    "%d «%s» becomes %d, as the mapped dialect says it, and an OpenAI error",
    (code, message, status, type) => {
      expect(normalizeError(200, body(code, message))).toEqual({
        status,
        body: { code, message, data: null, error: { message, type, param: null, code: String(code) } },
      });
    },
  );

  test("keeps every field that came, and an `error` of the backend's own", () => {
    const own = { ...body(-2000, "bad"), data: { a: 1 }, trace: "t", error: "mine" };
    expect(normalizeError(200, own)).toEqual({ status: 400, body: own });
  });

  test("says something even if the backend said nothing", () => {
    expect(normalizeError(200, { code: -2000 })?.body["error"]).toMatchObject({ message: "Jimeng error -2000" });
  });
});

test("a status that came without a body is explained by itself, in OpenAI's words", () => {
  const told = [401, 431, 500, 503].map((status) => errorOfStatus(status)["error"]);
  expect(told).toMatchObject([
    { type: "authentication_error", code: "http_401", param: null },
    { type: "invalid_request_error", code: "http_431" },
    { type: "server_error", code: "http_500" },
    { type: "server_error", code: "http_503", message: "The backend answered 503 and said nothing more." },
  ]);
});

test("answers that are errors by their status, and successes, are left alone", () => {
  for (const status of [302, 400, 401, 500, 502]) expect(normalizeError(status, body(-2000, "bad"))).toBeNull();
  expect(normalizeError(200, { created: 1, data: [{ url: "x" }] })).toBeNull();
  expect(normalizeError(200, { code: 0, message: "ok", data: {} })).toBeNull();
});

test("no body makes it throw, the one given is not changed, and its own code, message and data stay", () => {
  const anyBody = fc.oneof(
    fc.dictionary(fc.string(), fc.jsonValue()),
    fc.record({ code: fc.oneof(fc.integer(), fc.string()), message: fc.jsonValue(), data: fc.jsonValue() }),
  ) as fc.Arbitrary<Record<string, unknown>>;
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 599 }), anyBody, (status, given) => {
      const before = JSON.stringify(given);
      const found = normalizeError(status, given);
      if (JSON.stringify(given) !== before) return false;
      if (found === null) return true;
      const kept = Object.keys(given).every((field) => found.body[field] === given[field]);
      return kept && found.status >= 400 && found.status < 600;
    }),
    { numRuns: 2000 },
  );
});
