import { describe, expect, test } from "vitest";
import { decodeTimes, encodeTimes, SlidingWindow } from "../../src/shared/window.ts";
import type { Limit } from "../../src/shared/config/config.ts";

const hundredAMinute: Limit = { requests: 100, window: 60, blockDuration: 300 };
const start = 1_795_000_000_000;

function admitted(window: SlidingWindow, limit: Limit, timesMs: readonly number[]): boolean[] {
  return timesMs.map((timeMs) => window.admit(limit, timeMs, false).kind === "admitted");
}

describe("the sliding window", () => {
  test("the hundredth request of a minute passes and the hundred and first starts a block of 300 s", () => {
    const window = new SlidingWindow();
    const spread = Array.from({ length: 100 }, (_, index) => start + index * 599);
    expect(admitted(window, hundredAMinute, spread)).toEqual(spread.map(() => true));
    const over = window.admit(hundredAMinute, start + 59_999, false);
    expect(over).toEqual({ kind: "blocked", retryAfterMs: 300_000, untilMs: start + 359_999, started: true });
  });

  test("a burst at the end of one minute and another at the start of the next is not let through twice", () => {
    const window = new SlidingWindow();
    admitted(window, hundredAMinute, Array<number>(100).fill(start + 59_900));
    expect(window.admit(hundredAMinute, start + 60_100, false).kind).toBe("blocked");
  });

  test("a request leaves the window exactly when it is a window old", () => {
    const limit: Limit = { requests: 1, window: 2, blockDuration: 0 };
    const window = new SlidingWindow();
    expect(admitted(window, limit, [start, start + 1999, start + 2000])).toEqual([true, false, true]);
  });

  test("requests during a block neither lengthen it nor count, and after it the window is empty", () => {
    const limit: Limit = { requests: 2, window: 60, blockDuration: 3 };
    const window = new SlidingWindow();
    admitted(window, limit, [start, start, start]);
    for (let late = 0; late < 3000; late += 100) {
      expect(window.admit(limit, start + late, false)).toMatchObject({
        kind: "blocked",
        untilMs: start + 3000,
        retryAfterMs: 3000 - late,
      });
    }
    expect(window.blockAt(start + 2999)?.refused).toBe(31);
    expect(window.admit(limit, start + 3000, false)).toEqual({ kind: "admitted", remaining: 1, resetMs: 60_000 });
    expect(window.blockAt(start + 3000)).toBeNull();
  });

  test("an admitted answer says how many remain and when the oldest leaves", () => {
    const window = new SlidingWindow();
    expect(window.admit(hundredAMinute, start, false)).toEqual({ kind: "admitted", remaining: 99, resetMs: 60_000 });
    expect(window.admit(hundredAMinute, start + 20_000, false)).toEqual({
      kind: "admitted",
      remaining: 98,
      resetMs: 40_000,
    });
  });

  test("in report mode the request too many is refused without a block and without counting", () => {
    const limit: Limit = { requests: 1, window: 10, blockDuration: 300 };
    const window = new SlidingWindow();
    window.admit(limit, start, true);
    expect(window.admit(limit, start + 1000, true)).toEqual({
      kind: "blocked",
      retryAfterMs: 9000,
      untilMs: start + 10_000,
      started: false,
    });
    expect(window.blockAt(start + 1000)).toBeNull();
    expect(window.admit(limit, start + 10_000, true).kind).toBe("admitted");
  });

  test("a limit that was lowered while more requests stand names the moment when one may pass again", () => {
    const window = new SlidingWindow();
    const wide: Limit = { requests: 5, window: 10, blockDuration: 0 };
    admitted(
      window,
      wide,
      [0, 1000, 2000, 3000, 4000].map((late) => start + late),
    );
    const narrow: Limit = { requests: 2, window: 10, blockDuration: 0 };
    const refused = window.admit(narrow, start + 5000, false);
    expect(refused).toMatchObject({ kind: "blocked", untilMs: start + 13_000 });
    expect(window.admit(narrow, start + 12_999, false).kind).toBe("blocked");
    expect(window.admit(narrow, start + 13_000, false).kind).toBe("admitted");
  });

  test("counting does not change what is decided", () => {
    const window = new SlidingWindow();
    admitted(window, hundredAMinute, [start, start + 1]);
    expect(window.count(60_000, start + 1_000_000)).toBe(0);
    expect(window.count(60_000, start + 60_000)).toBe(1);
    expect(window.count(60_000, start + 2)).toBe(2);
  });

  test("it knows when nothing is left to remember", () => {
    const window = new SlidingWindow();
    expect(window.emptyAtMs).toBeLessThan(start);
    const limit: Limit = { requests: 1, window: 10, blockDuration: 30 };
    window.admit(limit, start, false);
    expect(window.emptyAtMs).toBe(start + 10_000);
    window.admit(limit, start + 1, false);
    expect(window.emptyAtMs).toBe(start + 30_001);
  });
});

describe("the codec of times", () => {
  test("a hundred times of one minute take less than 300 bytes and come back unchanged", () => {
    const times = Array.from({ length: 100 }, (_, index) => start + index * 601);
    const bytes = encodeTimes(times);
    expect(bytes.length).toBeLessThan(300);
    expect(decodeTimes(bytes)).toEqual(times);
  });

  test("differences at the edges of a byte, and none at all, come back unchanged", () => {
    const times = [0, 0, 127, 255, 16_639, 2 ** 32, 2 ** 45];
    expect(decodeTimes(encodeTimes(times))).toEqual(times);
    expect(decodeTimes(encodeTimes([]))).toEqual([]);
  });
});
