import { expect, it } from "vitest";
import { playRandomEvents } from "./random-events.ts";

it("keeps every rule of a pick through 40,000 random events, whatever the policy", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`random events: seed ${seed}`);
  const counts = playRandomEvents(40_000, seed);
  expect(counts.picks).toBeGreaterThan(1000);
  expect(counts.refusals).toBeGreaterThan(10);
});
