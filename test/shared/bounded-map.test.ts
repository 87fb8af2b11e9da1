import { expect, test } from "vitest";
import { BoundedMap } from "../../src/shared/bounded-map.ts";

test("it never holds more than its capacity, and what was set longest ago goes first", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  map.set("c", 4);
  expect([map.size, map.get("a"), map.get("b"), map.get("c")]).toEqual([2, 3, undefined, 4]);
  expect(map.delete("a")).toBe(true);
  map.set("d", 5);
  expect([map.size, map.get("c"), map.get("d")]).toEqual([2, 4, 5]);
});
