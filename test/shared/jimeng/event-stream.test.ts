import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventStreamReader } from "../../../src/shared/jimeng/event-stream.ts";

const encode = (text: string) => new TextEncoder().encode(text);

function chunk(content: string, finish: string | null = null): string {
  const choices = [{ index: 0, delta: { role: "assistant", content }, finish_reason: finish }];
  return `data: ${JSON.stringify({ id: "x", model: "jimeng-4.5", object: "chat.completion.chunk", choices })}\n\n`;
}

function read(...pieces: (string | Uint8Array)[]) {
  const reader = new EventStreamReader();
  for (const piece of pieces) reader.write(typeof piece === "string" ? encode(piece) : piece);
  return reader.state();
}

describe("where the stream stands", () => {
  test.each([
    ["", true],
    ["d", false],
    ["data: x", false],
    ["data: x\n", false],
    ["data: x\n\n", true],
    ["data: x\r\n\r\n", true],
    ["data: x\r\n\r", true],
    ["data: x\r", false],
    ["data: x\r\r", true],
    ["data: x\n\r\n", true],
    [": keep-alive\n", false],
    [": keep-alive\n\n", true],
    ["\n\n\n", true],
    ["id: 4\n\n", true],
    ["data: x\n\ne", false],
    ["data: 即", false],
  ])("after %j it is between events: %s", (text, expected) => {
    expect(read(text).betweenEvents).toBe(expected);
  });

  test("a piece that ends within a character is within an event", () => {
    const bytes = encode("即");
    expect(read("data: x\n\n", bytes.subarray(0, 1)).betweenEvents).toBe(false);
  });

  test("[DONE] counts as a whole event of its own and nowhere else", () => {
    expect(read("data: [DONE]\n\n")).toMatchObject({ done: true, events: 1 });
    expect(read("data:[DONE]\r\n\r\n").done).toBe(true);
    expect(read("data: [DONE]\n").done).toBe(false);
    expect(read("data: [DONE]").done).toBe(false);
    expect(read(": [DONE]\n\n").done).toBe(false);
    expect(read("datax: [DONE]\n\n").done).toBe(false);
    expect(read("event: [DONE]\n\n").done).toBe(false);
    expect(read(chunk("[DONE]")).done).toBe(false);
    expect(read("data: x\ndata: [DONE]\n\n").done).toBe(false);
    expect(read(`data: [DONE]\ndata: ${"x".repeat(20_000)}\n\n`).done).toBe(false);
    expect(read(`data: ${"x".repeat(100)}\ndata: [DONE]\n\n`).done).toBe(false);
  });

  test("a line's remains never leak into a shorter one", () => {
    expect(read("data: [DONE]\n\r\nd\n\n")).toMatchObject({ events: 1 });
    expect(read("data: [DONEX\n\n", "x\n\n")).toMatchObject({ events: 1, done: false });
  });

  test("`stop` is not the end: a video's stream says it after two minutes and goes on", () => {
    expect(read(chunk("视频生成时间较长", "stop"), chunk("✅ 视频生成完成！"))).toMatchObject({
      done: false,
      toldError: null,
      events: 2,
    });
  });

  test("a byte order mark in front is no part of the first field", () => {
    expect(read("\uFEFFdata: [DONE]\n\n").done).toBe(true);
    expect(read("data: x\n\n\uFEFFdata: [DONE]\n\n").done).toBe(false);
  });
});

describe("an error told in a stream", () => {
  test.each([
    ["生成图片失败: [登录失效]: check login error"],
    ["生成视频失败: timeout"],
    ["\n\n⚠️ 视频生成过程中遇到问题: 历史记录不存在"],
    ["图像生成失败：x"],
  ])("as text: %j", (text) => {
    const { toldError, done } = read(chunk("🎨 图像生成中，请稍候..."), chunk(text, "stop"), "data: [DONE]\n\n");
    expect(toldError).toEqual({ form: "text", code: null, message: text.trim() });
    expect(done).toBe(true);
  });

  test("as an error event and as a Jimeng body", () => {
    expect(read('data: {"error":{"message":"gone","type":"server_error"}}\n\n').toldError).toEqual({
      form: "error_event",
      code: null,
      message: "gone",
    });
    expect(read('data: {"error":"gone"}\n\n').toldError).toMatchObject({ form: "error_event", message: "gone" });
    expect(read('data: {"code":-2001,"message":"失败","data":null}\n\n').toldError).toEqual({
      form: "code",
      code: -2001,
      message: "失败",
    });
  });

  test("the first one counts, also when escaped, and its words are kept short", () => {
    const escaped = JSON.stringify({ choices: [{ delta: { content: "生成图片失败: a" } }] }).replace(
      /[\u0080-\uffff]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
    expect(read(`data: ${escaped}\n\n`, chunk("生成图片失败: b")).toldError?.message).toBe("生成图片失败: a");
    expect(read(chunk(`生成图片失败: ${"x".repeat(2000)}`)).toldError?.message).toHaveLength(501);
  });

  test("a picture, a prompt that quotes an error and broken JSON are none", () => {
    for (const text of ["![image_0](https://x/失败.webp)\n", "您要求画“生成图片失败: x”", ".", ""])
      expect(read(chunk(text)).toldError).toBeNull();
    for (const data of [
      "失败",
      '{"error"',
      '{"error":null}',
      '[{"error":1}]',
      '{"choices":"失败"}',
      '{"choices":[null,{"delta":3}],"x":"失败"}',
    ]) {
      expect(read(`data: ${data}\n\n`).toldError).toBeNull();
    }
  });
});

describe("however the network cuts it", () => {
  const line = fc.oneof(
    fc.constantFrom(
      "data: [DONE]",
      "data",
      "data:",
      "data: ",
      ": c",
      "id: 1",
      "retry: 5",
      "",
      "event: x",
      "datum: y",
      "即梦: data: [DONE]",
    ),
    fc.string().map((text) => `data: ${text.replace(/[\r\n]/g, "")}`),
    fc.constantFrom("生成图片失败: a", "完成").map((text) => chunk(text).trim()),
  );
  const stream = fc
    .array(fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r")), { maxLength: 12 })
    .map((lines) => lines.map(([text, end]) => text + end).join(""));

  test("the state is that of the naive reading of the whole", () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(40), { maxLength: 20 }), (text, sizes) => {
        const bytes = encode(text);
        const pieces: Uint8Array[] = [];
        let at = 0;
        for (const size of sizes) pieces.push(bytes.subarray(at, (at += size)));
        pieces.push(bytes.subarray(at));
        const { events, done, betweenEvents } = read(...pieces);
        expect({ events, done, betweenEvents }).toEqual(naive(text));
        expect(read(...pieces)).toEqual(read(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test("any bytes at all are read without a throw", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (pieces) => read(...pieces).events >= 0));
  });
});

function naive(text: string) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  const rest = lines.pop();
  let data: string[] | null = null;
  let open = false;
  let events = 0;
  let done = false;
  for (const line of lines) {
    if (line === "") {
      if (data !== null) events++;
      if (data?.join("\n").trim() === "[DONE]") done = true;
      data = null;
      open = false;
      continue;
    }
    open = true;
    const [, field, value] = /^([^:]*):? ?(.*)$/su.exec(line) ?? [];
    if (field === "data") (data ??= []).push(value ?? "");
  }
  return { events, done, betweenEvents: rest === "" && !open };
}

describe("memory", () => {
  test("a line without end is followed without being kept, and what comes after it is read", () => {
    const reader = new EventStreamReader();
    reader.write(encode('data: {"error":"'));
    const filler = encode("x".repeat(65_536));
    for (let round = 0; round < 64; round++) reader.write(filler);
    reader.write(encode('"}\n\n'));
    expect(reader.state()).toMatchObject({ events: 1, toldError: null, betweenEvents: true });
    reader.write(encode(chunk("生成图片失败: x")));
    expect(reader.state()).toMatchObject({ events: 2, toldError: { form: "text" } });
  });

  test("an event of very many data lines is not kept either", () => {
    const reader = new EventStreamReader();
    for (let round = 0; round < 20_000; round++) reader.write(encode("data: 失败失败失败\n"));
    reader.write(encode("\ndata: [DONE]\n\n"));
    expect(reader.state()).toMatchObject({ events: 2, done: true, toldError: null });
  });
});
