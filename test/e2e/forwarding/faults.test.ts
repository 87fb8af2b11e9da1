/** Four backends under load, one of them in trouble: the short form of what `npm run verify` does for a minute each. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { EdgeSystem } from "../edge.ts";
import { faultRound, faults, startFour } from "./fault-round.ts";

let system: EdgeSystem;
beforeAll(async () => {
  // Shorter than the fault, so that cheap requests are seen to leave a frozen server.
  system = await startFour(150, { RETRY: { attemptTimeout: 1 } });
  // Code that runs for the first time is slow, in the edge as in the stand-ins.
  for (let index = 0; index < 40; index += 1) {
    await Promise.all([system.get(`/usage/stats?date=${index}`), system.get("/ping"), system.get("/v1/models")]);
    await system.post("/v1/images/generations", { prompt: `[[delay=1]] warm ${index}` });
  }
});
afterAll(() => system.stop());

/** A third of the long form's: the machine may be busy with other tests. */
const rates = { generations: 8, cheap: 60 };
const times = { beforeMs: 200, faultMs: 1600, afterMs: 400, patienceMs: 20_000 };

it.each(faults)("one of four is $name: no cheap request fails, no generation is sent twice", async (fault) => {
  const result = await faultRound(system, fault, rates, times);
  expect(result.cheap).toBeGreaterThan(100);
  expect(result.cheapFailed).toEqual([]);
  expect(result.generations).toBeGreaterThan(12);
  expect(result.twice).toEqual([]);
  expect(result.unclear).toEqual([]);
  expect(result.failedLate).toEqual([]);
  expect(result.failedElsewhere).toEqual([]);
  expect(result.leases).toBe(0);
});
