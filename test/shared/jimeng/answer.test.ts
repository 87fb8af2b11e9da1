import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Dialect } from "../../../src/shared/config/config.ts";
import {
  classifyAnswer,
  classifyThrown,
  isGatewaysWord,
  isJimengBody,
  learnFrom,
  readErrorBody,
} from "../../../src/shared/jimeng/answer.ts";
import type { AnswerFacts, ThrownCause, ThrownPhase } from "../../../src/shared/jimeng/answer.ts";
import type { Outcome } from "../../../src/shared/outcome.ts";
import { outcomeKinds } from "../../../src/shared/outcome.ts";
import type { RouteClass } from "../../../src/shared/route.ts";
import { routeClasses } from "../../../src/shared/route.ts";

function facts(more: Partial<AnswerFacts>): AnswerFacts {
  return {
    status: 200,
    code: null,
    message: null,
    hasRetryAfter: false,
    isJimengBody: more.code !== undefined && more.code !== null,
    bodyState: "complete",
    elapsedMs: 50,
    ...more,
  };
}

function short(outcome: Outcome): string {
  return `${outcome.kind}/${outcome.executed}${outcome.seenByProbe ? "/seen" : ""}`;
}

type Expected = { readonly usual: string } & { readonly [C in RouteClass]?: string };

/** One row per error; where a dialect says it differently, `flat2` is its code and words. `status`: on the mapped dialect. */
const errors: readonly {
  readonly code: number;
  readonly message: string;
  readonly status: number;
  readonly flat2?: readonly [code: number, message: string];
  readonly is: Expected;
}[] = [
  { code: -2000, message: "Params headers.authorization invalid", status: 400, is: { usual: "client_fault/no" } },
  { code: -2001, message: "[请求jimeng失败]: internal (错误码: 1)", status: 500, is: { usual: "unknown/unknown" } },
  {
    code: -2002,
    message: "[登录失效]: check login error",
    status: 401,
    flat2: [-2001, "[登录失效]: …"],
    is: { usual: "token_fault/no" },
  },
  {
    code: -2002,
    message: "Token已失效",
    status: 401,
    flat2: [-2001, "[请求jimeng失败]: check login error"],
    is: { usual: "token_fault/no" },
  },
  { code: -2003, message: "远程文件URL非法", status: 400, is: { usual: "client_fault/no" } },
  { code: -2004, message: "远程文件超出大小", status: 413, is: { usual: "client_fault/no" } },
  { code: -2006, message: "内容由于合规问题已被阻止生成", status: 400, is: { usual: "client_fault/yes" } },
  {
    code: -2007,
    message: "图像生成失败",
    status: 500,
    is: { usual: "backend_fault/unknown", usage: "unknown/unknown" },
  },
  {
    code: -2008,
    message: "视频生成失败",
    status: 500,
    is: { usual: "backend_fault/unknown", usage: "unknown/unknown" },
  },
  { code: -2009, message: "[无法生成图像]: 即梦积分可能不足", status: 402, is: { usual: "token_fault/yes" } },
  { code: -2010, message: "任务不存在: 26", status: 500, is: { usual: "unknown/unknown", task: "client_fault/no" } },
  { code: -2011, message: "任务未完成", status: 500, is: { usual: "unknown/unknown", task: "client_fault/no" } },
  { code: -2012, message: "任务失败", status: 500, is: { usual: "unknown/unknown", task: "client_fault/no" } },
  { code: -2013, message: "任务已取消", status: 500, is: { usual: "unknown/unknown", task: "client_fault/no" } },
  {
    code: -1000,
    message: "[请求有误]: 正确请求为 POST -> /v1/chat/completions",
    status: 500,
    is: { usual: "client_fault/no" },
  },
  { code: -1000, message: "无效的JSON格式: Unexpected token", status: 500, is: { usual: "client_fault/no" } },
  {
    code: -1000,
    message: "无效的JSON格式: Unexpected token '请', \"请求有误\" is not valid JSON",
    status: 500,
    is: { usual: "client_fault/no" },
  },
  // Words of the prompt, quoted by the server: it may well have been submitted.
  {
    code: -1000,
    message: "[请求失败]: 请求有误",
    status: 500,
    is: { usual: "backend_fault/unknown", usage: "unknown/unknown" },
  },
  { code: -1000, message: "不支持的参数: size", status: 500, is: { usual: "client_fault/no" } },
  { code: -1000, message: "系统异常", status: 500, is: { usual: "backend_fault/unknown", usage: "unknown/unknown" } },
  { code: -1000, message: "", status: 500, is: { usual: "backend_fault/unknown", usage: "unknown/unknown" } },
  {
    code: -2007,
    message: "生成图片失败: [登录失效]: check login error",
    status: 500,
    is: { usual: "token_fault/unknown" },
  },
  { code: -2001, message: "[积分不足]: not enough credits", status: 500, is: { usual: "token_fault/yes" } },
  { code: -2005, message: "已有对话流正在输出", status: 500, is: { usual: "unknown/unknown" } },
  { code: -9999, message: "API异常错误", status: 500, is: { usual: "unknown/unknown" } },
];

describe("every error × dialect × route class", () => {
  const dialects: readonly Dialect[] = ["mapped", "flat-1", "flat-2"];
  for (const row of errors) {
    for (const dialect of dialects) {
      const [code, message] = dialect === "flat-2" && row.flat2 !== undefined ? row.flat2 : [row.code, row.message];
      const status = dialect === "mapped" ? row.status : 200;
      test.each(routeClasses)(`${dialect} ${status}/${code} «${message}» for %s`, (routeClass) => {
        const found = classifyAnswer(facts({ status, code, message }), routeClass);
        expect(short(found)).toBe(row.is[routeClass] ?? row.is.usual);
      });
    }
  }

  test("the reason tells a refusal of -1000 apart, and names the code elsewhere", () => {
    const reason = (code: number, message: string) =>
      classifyAnswer(facts({ status: 500, code, message }), "generate").reason;
    expect(reason(-1000, "[请求有误]: x")).toBe("route_unknown");
    expect(reason(-1000, "请求有误: x")).toBe("route_unknown");
    expect(reason(-1000, "无效的JSON格式")).toBe("invalid_json");
    expect(reason(-1000, '无效的JSON格式: "请求有误"')).toBe("invalid_json");
    expect(reason(-1000, "不支持的参数")).toBe("unsupported_parameter");
    expect(reason(-1000, "x")).toBe("code_-1000");
    expect(reason(-2002, "x")).toBe("code_-2002");
  });

  test("no error that a server tells can be ended by a passing ping, which answers while Jimeng is down", () => {
    for (const row of errors) {
      for (const routeClass of routeClasses) {
        expect(classifyAnswer(facts(row), routeClass).seenByProbe).toBe(false);
      }
    }
  });

  test("a dead token and a client's mistake blame no backend, a hundred times over", () => {
    for (const [code, message] of [
      [-2002, ""],
      [-2001, "[登录失效]: x"],
      [-2000, ""],
      [-2003, ""],
      [-2004, ""],
      [-2006, ""],
      [-2009, ""],
    ] as const) {
      for (const status of [200, 400, 401, 402, 413, 500]) {
        for (const routeClass of routeClasses) {
          expect(["client_fault", "token_fault"]).toContain(
            classifyAnswer(facts({ status, code, message }), routeClass).kind,
          );
        }
      }
    }
  });
});

describe("an answer without a code is judged by its status", () => {
  const rows: readonly (readonly [status: number, is: string, more?: Partial<AnswerFacts>])[] = [
    [200, "success/yes"],
    [201, "success/yes"],
    [204, "success/yes"],
    [304, "success/yes"],
    [200, "success/yes", { bodyState: "unread" }],
    [200, "backend_fault/unknown", { bodyState: "cut" }],
    [400, "client_fault/no"],
    [401, "client_fault/no"],
    [404, "client_fault/no"],
    [408, "unknown/unknown"],
    [413, "client_fault/no"],
    [429, "capacity/no"],
    [429, "capacity/no", { hasRetryAfter: true }],
    [500, "backend_fault/unknown"],
    [501, "backend_fault/unknown"],
    [502, "backend_fault/unknown"],
    [503, "backend_fault/unknown"],
    [503, "capacity/unknown", { hasRetryAfter: true }],
    [503, "backend_fault/unknown", { hasRetryAfter: true, isJimengBody: true }],
    [504, "backend_fault/unknown"],
    [520, "backend_fault/unknown"],
    [521, "backend_fault/no/seen"],
    [522, "backend_fault/no/seen"],
    [523, "backend_fault/no/seen"],
    [524, "unknown/unknown"],
    [525, "backend_fault/no/seen"],
    [526, "backend_fault/no/seen"],
    [529, "capacity/unknown"],
    [530, "backend_fault/no/seen"],
    [521, "backend_fault/unknown", { isJimengBody: true }],
    [101, "backend_fault/unknown"],
    [0, "backend_fault/unknown"],
    [600, "backend_fault/unknown"],
    [Number.NaN, "backend_fault/unknown"],
  ];
  for (const [status, is, more = {}] of rows) {
    test(`${status} ${JSON.stringify(more)} is ${is}`, () => {
      for (const routeClass of routeClasses) {
        const expected = status === 500 && routeClass === "usage" ? "unknown/unknown" : is;
        expect(short(classifyAnswer(facts({ status, ...more }), routeClass)), routeClass).toBe(expected);
      }
    });
  }

  test("a redirect is an answer to a look-up and a misplaced backend to a generation", () => {
    for (const status of [301, 302, 307, 308]) {
      expect(classifyAnswer(facts({ status }), "query").kind).toBe("success");
      for (const routeClass of ["generate", "stream", "task"] as const) {
        expect(short(classifyAnswer(facts({ status }), routeClass))).toBe("unknown/unknown");
      }
    }
  });

  test("524 has the reason that the pipeline turns into a 504 of its own", () => {
    expect(classifyAnswer(facts({ status: 524 }), "generate").reason).toBe("edge_read_timeout");
  });

  test("429 is capacity unless its body tells of the client's mistake or its token", () => {
    const kind = (code: number) => short(classifyAnswer(facts({ status: 429, code, message: "" }), "generate"));
    expect(kind(-2000)).toBe("client_fault/no");
    expect(kind(-2002)).toBe("token_fault/no");
    expect(kind(-2001)).toBe("capacity/unknown");
    expect(kind(-1000)).toBe("capacity/unknown");
  });
});

test("a ping's answer proves no life where a gateway may have given it, and does where only the server can have", () => {
  for (const status of [502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])
    expect([status, isGatewaysWord(status)]).toEqual([status, true]);
  for (const status of [200, 204, 301, 401, 404, 429, 500, 501, 505, 519, 531])
    expect([status, isGatewaysWord(status)]).toEqual([status, false]);
});

describe("a thrown error", () => {
  const rows: readonly (readonly [
    cause: ThrownCause,
    phase: ThrownPhase,
    elapsedMs: number,
    is: string,
    reason: string,
  ])[] = [
    ["refused", "connecting", 5, "backend_fault/no/seen", "refused"],
    ["dns", "connecting", 5, "backend_fault/no/seen", "dns"],
    ["tls", "connecting", 5, "backend_fault/no/seen", "tls"],
    ["timeout", "connecting", 3000, "backend_fault/no/seen", "timeout"],
    ["reset", "connecting", 5, "backend_fault/no/seen", "reset"],
    ["unclear", "connecting", 5, "backend_fault/unknown/seen", "unclear"],
    ["deadline", "connecting", 5, "unknown/no", "deadline"],
    ["refused", "sent", 5, "backend_fault/unknown/seen", "refused"],
    ["reset", "sent", 5, "backend_fault/unknown/seen", "reset"],
    ["unclear", "sent", 5, "backend_fault/unknown/seen", "unclear"],
    ["timeout", "sent", 30_000, "backend_fault/unknown/seen", "timeout"],
    ["deadline", "sent", 1_260_000, "unknown/unknown", "deadline"],
    ["reset", "sent", 99_999, "backend_fault/unknown/seen", "reset"],
    ["reset", "sent", 100_000, "unknown/unknown", "edge_read_timeout"],
    ["unclear", "sent", 120_300, "unknown/unknown", "edge_read_timeout"],
    ["timeout", "sent", 130_000, "unknown/unknown", "edge_read_timeout"],
    ["reset", "sent", 130_001, "backend_fault/unknown/seen", "reset"],
    ["reset", "headers", 110_000, "backend_fault/unknown/seen", "cut"],
    ["reset", "body", 20, "backend_fault/unknown/seen", "cut"],
    ["unclear", "body", 20, "backend_fault/unknown/seen", "cut"],
    ["timeout", "body", 960_000, "unknown/unknown", "idle_timeout"],
    ["client_left", "body", 20, "aborted/unknown", "client_left"],
    ["client_left", "connecting", 20, "aborted/unknown", "client_left"],
  ];
  test.each(rows)("%s while %s after %d ms is %s (%s)", (cause, phase, elapsedMs, is, reason) => {
    const found = classifyThrown(cause, phase, elapsedMs);
    expect(short(found)).toBe(is);
    expect(found.reason).toBe(reason);
  });

  test("nothing that may have been sent is ever called unexecuted", () => {
    const causes: readonly ThrownCause[] = [
      "refused",
      "reset",
      "timeout",
      "dns",
      "tls",
      "deadline",
      "client_left",
      "unclear",
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...causes),
        fc.constantFrom<ThrownPhase>("sent", "headers", "body"),
        fc.nat(2_000_000),
        (cause, phase, elapsed) => {
          expect(classifyThrown(cause, phase, elapsed).executed).toBe("unknown");
        },
      ),
    );
  });
});

describe("reading an error body", () => {
  test.each<readonly [unknown, ReturnType<typeof readErrorBody>]>([
    [
      { code: -2001, message: "x", data: null },
      { code: -2001, message: "x" },
    ],
    [
      { code: "-2001", message: "x" },
      { code: -2001, message: "x" },
    ],
    [{ code: -1000 }, { code: -1000, message: "" }],
    [
      { code: -1000, message: { a: 1 } },
      { code: -1000, message: "" },
    ],
    [{ code: 0, message: "ok", data: {} }, null],
    [{ code: 200, message: "ok" }, null],
    [{ code: -1.5, message: "x" }, null],
    [{ code: "abc" }, null],
    [{ created: 1, data: [] }, null],
    [[{ code: -1 }], null],
    [null, null],
    ["-2001", null],
    [undefined, null],
  ])("%j", (json, expected) => {
    expect(readErrorBody(json)).toEqual(expected);
  });

  test("the body's shape is known without its code", () => {
    expect(isJimengBody({ code: 0, message: "", data: null })).toBe(true);
    expect(isJimengBody({ error: { message: "x" } })).toBe(false);
    expect(isJimengBody(null)).toBe(false);
  });
});

describe("what an answer teaches", () => {
  const learned = (status: number, code: number, message: string, routeId: string) => {
    const seen = facts({ status, code, message });
    return learnFrom(seen, routeId, classifyAnswer(seen, "generate"));
  };
  test("an unknown route is remembered against that backend, with the dialect that lacks it", () => {
    expect(learned(500, -1000, "[请求有误]: …", "POST /v1/videos/generations")).toEqual({
      dialect: "mapped",
      refusedRouteId: "POST /v1/videos/generations",
    });
    expect(learned(200, -1000, "[请求有误]: …", "POST /v1/videos/generations")).toEqual({
      dialect: "flat-2",
      refusedRouteId: "POST /v1/videos/generations",
    });
    expect(learned(200, -1000, "[请求有误]: …", "POST /v1/chat/completions")).toEqual({
      dialect: "flat-1",
      refusedRouteId: "POST /v1/chat/completions",
    });
  });
  test("other errors teach the dialect at most", () => {
    expect(learned(401, -2002, "", "GET /x")).toEqual({ dialect: "mapped", refusedRouteId: null });
    expect(learned(200, -2002, "", "GET /x")).toEqual({ dialect: "flat-1", refusedRouteId: null });
    expect(learned(200, -2001, "[登录失效]", "GET /x")).toEqual({ dialect: "flat-2", refusedRouteId: null });
    expect(learned(200, -1000, "无效的JSON格式", "GET /x")).toBeNull();
    expect(learned(200, -1000, '无效的JSON格式: "请求有误"', "POST /v1/chat/completions")).toBeNull();
    expect(learnFrom(facts({}), "GET /x", classifyAnswer(facts({}), "query"))).toBeNull();
  });
});

test("every combination of facts is exactly one outcome and throws nothing", () => {
  const anyFacts = fc.record<AnswerFacts>({
    status: fc.oneof(fc.integer(), fc.constantFrom(200, 401, 429, 500, 503, 521, 524), fc.double()),
    code: fc.option(fc.oneof(fc.integer(), fc.integer({ min: -2013, max: -1000 })), { nil: null }),
    message: fc.option(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("请求有误", "登录失效", "积分不足")), {
      nil: null,
    }),
    hasRetryAfter: fc.boolean(),
    isJimengBody: fc.boolean(),
    bodyState: fc.constantFrom("complete", "cut", "unread"),
    elapsedMs: fc.oneof(fc.nat(), fc.double()),
  });
  fc.assert(
    fc.property(anyFacts, fc.constantFrom(...routeClasses), (seen, routeClass) => {
      const { kind, executed, reason, seenByProbe } = classifyAnswer(seen, routeClass);
      const isOne =
        outcomeKinds.includes(kind) && ["yes", "no", "unknown"].includes(executed) && /^[a-z0-9_.+-]+$/i.test(reason);
      return isOne && !(seenByProbe && kind !== "backend_fault");
    }),
    { numRuns: 2000 },
  );
});

test("no JSON makes the reader of bodies throw, and what it reads has a negative whole code", () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.record({ code: fc.anything(), message: fc.anything() })), (json) => {
      const found = readErrorBody(json);
      isJimengBody(json);
      if (found !== null) expect(Number.isInteger(found.code) && found.code < 0).toBe(true);
    }),
    { numRuns: 2000 },
  );
});
