import { expect, test } from "vitest";
import { detectDialect } from "../../../src/shared/jimeng/dialect.ts";
import type { DialectEvidence } from "../../../src/shared/jimeng/dialect.ts";

const rows: readonly (readonly [evidence: Partial<DialectEvidence>, dialect: string | null])[] = [
  [{ status: 401, code: -2002 }, "mapped"],
  [{ status: 500, code: -1000, message: "[请求有误]: …" }, "mapped"],
  [{ status: 200, code: -2002 }, "flat-1"],
  [{ status: 200, code: -2001, message: "[登录失效]: …" }, "flat-2"],
  [{ status: 200, code: -2001, message: "internal" }, null],
  [{ status: 200, code: -2000 }, null],
  [{ status: 200, code: -1000, message: "[请求有误]: …", routeId: "POST /v1/chat/completions" }, "flat-1"],
  [{ status: 200, code: -1000, message: "[请求有误]: …", routeId: "POST /v1/images/compositions" }, "flat-2"],
  [{ status: 200, code: -1000, message: "[请求有误]: …", routeId: "POST /v1/videos/generations" }, "flat-2"],
  [{ status: 200, code: -1000, message: "[请求有误]: …", routeId: "GET /usage/stats" }, null],
  [{ status: 200, code: -1000, message: "系统异常", routeId: "POST /v1/chat/completions" }, null],
  [{ status: 200, routeId: "POST /token/check", live: false }, "flat-1"],
  [{ status: 200, routeId: "POST /token/check", live: true }, null],
  [{ status: 200 }, null],
  [{ status: 502 }, null],
  [{ status: 302, code: -2002 }, null],
  [{ status: 500, code: -1 }, null],
];

test.each(rows)("%j says %s", (evidence, dialect) => {
  expect(detectDialect({ status: 200, code: null, message: null, routeId: "GET /x", ...evidence })).toBe(dialect);
});
