import { test } from "vitest";
import { checkRandomEvents } from "./random-events.ts";

test("30,000 random events keep every invariant: the cap, the legal ways, purity, JSON, bounded memory, rest at the end", () => {
  checkRandomEvents(30_000, 200);
});

test("a thousand short sequences from the start do so as well", () => {
  checkRandomEvents(20_000, 20, 4);
});
