/** Four backends under load, one of them in trouble: the short form of what `npm run verify` does for a minute each. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { EdgeSystem } from "../edge.ts";
import { faultRound, faults, startFour } from "./fault-round.ts";

let system: EdgeSystem;
beforeAll(async () => {
  system = await startFour(150);
  await system.get("/health");
});
afterAll(() => system.stop());

const rates = { generations: 20, cheap: 200 };
const times = { beforeMs: 300, faultMs: 2500, afterMs: 700, patienceMs: 20_000 };

it.each(faults)("one of four is $name: no cheap request fails, no generation is sent twice", async (fault) => {
  const result = await faultRound(system, fault, rates, times);
  expect(result.cheap).toBeGreaterThan(300);
  expect(result.cheapFailed).toEqual([]);
  expect(result.generations).toBeGreaterThan(30);
  expect(result.twice).toEqual([]);
  expect(result.unclear).toEqual([]);
  expect(result.failedLate).toEqual([]);
  expect(result.failedElsewhere).toEqual([]);
  expect(result.leases).toBe(0);
});
