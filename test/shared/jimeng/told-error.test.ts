import * as fc from "fast-check";
import { expect, test } from "vitest";
import { classifyTold, mayTellError, readToldError, toldErrorIn } from "../../../src/shared/jimeng/told-error.ts";

test("a whole chat answer that tells of a failure under 200 is recognised", () => {
  const answer = {
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "生成视频失败: 超时\n\n如果您在即梦官网…" },
        finish_reason: "stop",
      },
    ],
  };
  expect(toldErrorIn(answer)).toMatchObject({ form: "text", message: expect.stringContaining("生成视频失败") });
  expect(toldErrorIn({ choices: [{ message: { content: "![image_0](https://x)\n" } }] })).toBeNull();
});

test("what was told is the token's fault where it says so, else as its code says, else nobody's", () => {
  const kind = (code: number | null, message: string) => {
    const { kind, executed, reason } = classifyTold({ form: "text", code, message });
    return [kind, executed, reason];
  };
  expect(kind(null, "生成图片失败: [登录失效]: x")).toEqual(["token_fault", "unknown", "told_in_answer"]);
  expect(kind(null, "生成图片失败: 即梦积分可能不足")).toEqual(["token_fault", "unknown", "told_in_answer"]);
  expect(kind(null, "生成视频失败: timeout")).toEqual(["unknown", "unknown", "told_in_answer"]);
  expect(kind(-1000, "系统异常")).toEqual(["backend_fault", "unknown", "code_-1000"]);
  expect(kind(-2000, "bad")).toEqual(["client_fault", "unknown", "code_-2000"]);
});

test("no text and no JSON makes the reader throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), fc.jsonValue(), (data, json) => {
      readToldError(`${data}失败`);
      readToldError(data);
      toldErrorIn(json);
      toldErrorIn({ choices: json, error: null });
      toldErrorIn({ choices: [json, { delta: json }, { message: { content: json } }] });
    }),
    { numRuns: 1000 },
  );
});

test("the glance at the bytes misses nothing that the reader would find", () => {
  const told = fc.constantFrom(
    '{"error":{"message":"x"}}',
    '{"code":-2001,"message":"x"}',
    '{"choices":[{"delta":{"content":"生成图片失败: x"}}]}',
    '{"choices":[{"delta":{"content":"⚠️ 视频生成过程中遇到问题: x"}}]}',
    '{"choices":[{"delta":{"content":"视频生成过程中出现错误"}}]}',
    '{"choices":[{"delta":{"content":"\\u751f成图片\\u5931败"}}]}',
    '{"\\u0065rror":1}',
  );
  fc.assert(
    fc.property(fc.oneof(told, fc.json()), fc.nat(3), (data, offset) => {
      const bytes = new TextEncoder().encode(" ".repeat(offset) + data);
      return mayTellError(bytes, offset, bytes.length) || readToldError(data) === null;
    }),
    { numRuns: 1000 },
  );
  expect(
    mayTellError(new TextEncoder().encode('{"choices":[{"delta":{"content":"![image_0](https://x)"}}]}'), 0, 59),
  ).toBe(false);
});
