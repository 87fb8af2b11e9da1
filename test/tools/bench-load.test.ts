import { expect, test } from "vitest";
import { finishedStatus } from "../../bench/load/connection.ts";
import { quantile, spreadOf } from "../../bench/figures.ts";

const answer = (head: string, body = ""): Buffer => Buffer.from(`HTTP/1.1 ${head}\r\n\r\n${body}`);

test("an answer is over when its declared length has come, and not before", () => {
  const whole = answer("200 OK\r\nContent-Length: 4", "pong");
  expect(finishedStatus(whole)).toBe(200);
  for (let length = 0; length < whole.length; length += 1) expect(finishedStatus(whole.subarray(0, length))).toBeNull();
});

test("a chunked answer is over with its last chunk, whatever its headers end with", () => {
  const head = "200 OK\r\nTransfer-Encoding: chunked\r\nserver-timing: edge;dur=0";
  const whole = answer(head, "5\r\n0\r\n\r\n\r\n0\r\n\r\n");
  expect(finishedStatus(answer(head))).toBeNull();
  expect(finishedStatus(whole)).toBe(200);
});

test("an answer without a body is over with its head", () => {
  expect(finishedStatus(answer("204 No Content"))).toBe(204);
});

test("a spread's median is the middle, or between the two middles", () => {
  expect(spreadOf([3, 1, 2])).toEqual({ min: 1, median: 2, max: 3 });
  expect(spreadOf([4, 1, 2, 3])).toEqual({ min: 1, median: 2.5, max: 4 });
  expect(() => spreadOf([])).toThrow("nothing");
});

test("a quantile is the nearest rank", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  expect([quantile(hundred, 0.5), quantile(hundred, 0.99), quantile(hundred, 1)]).toEqual([50, 99, 100]);
});
