import * as fc from "fast-check";
import { expect, test } from "vitest";
import { classOf, classOfAnswer, readRequest } from "../../../src/shared/jimeng/request-body.ts";
import { routeClasses } from "../../../src/shared/route.ts";

test("model and stream are read as the servers read them", () => {
  expect(readRequest({ model: "jimeng-4.5", stream: true, prompt: "x" })).toEqual({
    model: "jimeng-4.5",
    stream: true,
  });
  expect(readRequest({ prompt: "x" })).toEqual({ model: null, stream: false });
  for (const stream of [1, "true", {}, []]) expect(readRequest({ stream }).stream).toBe(true);
  for (const stream of [0, "", false, null, undefined]) expect(readRequest({ stream }).stream).toBe(false);
  for (const model of [1, null, "", {}, "x".repeat(201)]) expect(readRequest({ model }).model).toBeNull();
});

test("only a chat request that asks for it becomes a stream", () => {
  const asks = { model: null, stream: true };
  expect(classOf("POST /v1/chat/completions", "generate", asks)).toBe("stream");
  expect(classOf("POST /v1/chat/completions", "generate", { model: null, stream: false })).toBe("generate");
  expect(classOf("POST /v1/images/generations", "generate", asks)).toBe("generate");
  for (const routeClass of routeClasses) expect(classOf("POST /x", routeClass, asks)).toBe(routeClass);
});

test("a generation that is answered by events was a stream, and nothing else becomes one", () => {
  for (const routeClass of routeClasses) {
    expect(classOfAnswer(routeClass, true)).toBe(routeClass === "generate" ? "stream" : routeClass);
    expect(classOfAnswer(routeClass, false)).toBe(routeClass);
  }
});

test("no JSON makes the reader throw", () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.record({ model: fc.anything(), stream: fc.anything() })), (json) => {
      const { model, stream } = readRequest(json);
      return typeof stream === "boolean" && (model === null || typeof model === "string");
    }),
  );
});
