import { expect, test } from "vitest";
import { playFleet } from "./random-events.ts";

test("a fleet keeps its leases, within every maxInFlight, its health and its table through 10,000 random events, restarts among them", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`random events of a fleet: seed ${seed}`);
  const counts = playFleet(10_000, seed);
  expect(counts.picks).toBeGreaterThan(1000);
  expect(counts.refusals).toBeGreaterThan(10);
  expect(counts.moves).toBeGreaterThan(100);
  expect(counts.stranded).toBeGreaterThan(1);
  expect(counts.trials).toBeGreaterThan(1);
  expect(counts.restarts).toBeGreaterThan(10);
});
