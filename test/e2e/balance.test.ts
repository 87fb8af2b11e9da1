/** Where requests go, and what becomes of them when a server dies. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { startSystem, type EdgeSystem } from "./edge.ts";

const upWithinMs = 15_000;

let system: EdgeSystem;
beforeAll(async () => {
  system = await startSystem({
    backends: [
      { name: "three", server: { weight: 3 } },
      { name: "two", dialect: "flat-1", server: { weight: 2 } },
      { name: "one", dialect: "flat-2", server: { weight: 1 } },
    ],
  });
  // The first requests are served from the configuration, until the registry has answered.
  await system.get("/health");
});
afterAll(() => system.stop());

/** How many of these requests each backend answered. */
async function spread(count: number, inParallel: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let left = count;
  const work = async (): Promise<void> => {
    while (left-- > 0) {
      const answer = await system.get("/ping");
      expect([answer.status, await answer.text()]).toEqual([200, "pong"]);
      const name = answer.headers.get("x-jimeng-edge-backend") ?? "none";
      counts[name] = (counts[name] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: inParallel }, work));
  return counts;
}

async function healthOf(name: string): Promise<boolean | undefined> {
  const { backends } = (await (await system.get("/health")).json()) as {
    backends: { name: string; healthy: boolean }[];
  };
  return backends.find((backend) => backend.name === name)?.healthy;
}

it.each([1, 8])(
  "60 cheap requests spread 3:2:1 over weights 3, 2, 1, within one each, %i at a time",
  async (inParallel) => {
    const counts = await spread(60, inParallel);
    for (const [name, share] of Object.entries({ three: 30, two: 20, one: 10 })) {
      expect(Math.abs((counts[name] ?? 0) - share), JSON.stringify(counts)).toBeLessThanOrEqual(1);
    }
  },
);

it("the death of a backend costs no GET; /health shows it down, and up after its return", async () => {
  await system.backend("three").kill();
  const counts = await spread(100, 4);
  expect(counts["three"] ?? 0).toBe(0);
  await expect.poll(() => healthOf("three"), { timeout: upWithinMs, interval: 200 }).toBe(false);
  await system.backend("three").restart();
  await expect.poll(() => healthOf("three"), { timeout: upWithinMs, interval: 200 }).toBe(true);
});

it("a server that can't reach Jimeng is left out though it answers pings and counters, and comes back by a generation", async () => {
  const names = ["a", "b", "c"];
  const fleet = await startSystem({
    backends: names.map((name) => ({ name })),
    // Short ejections after three failures: a suspect is asked once in six seconds, so that a fourth may be long in coming. None
    // of the one client's requests is refused.
    config: { EJECTION: { base: 2, consecutive: 3 }, RATE_LIMIT: { mode: "off" } },
  });
  try {
    await fleet.get("/health");
    await fleet.backend("a").fault({ kind: "upstream-down" });
    const stateOfA = async (): Promise<string | undefined> => {
      const { backends } = (await (await fleet.get("/health")).json()) as {
        backends: { name: string; state: string }[];
      };
      return backends.find(({ name }) => name === "a")?.state;
    };
    let failed = 0;
    const round = async (): Promise<string | undefined> => {
      const cheap = ["/ping", "/ping", "/ping", "/usage/stats"].map((path) => fleet.get(path));
      for (const answer of await Promise.all(cheap)) expect(answer.status).toBe(200);
      if ((await fleet.post("/v1/images/generations", { prompt: "[[delay=20]] a cat" })).status !== 200) failed += 1;
      return stateOfA();
    };
    await expect.poll(round, { timeout: upWithinMs, interval: 100 }).toMatch(/ejected|trial/);
    failed = 0;
    for (let count = 0; count < 20; count += 1) await round();
    // A trial now and then, no more.
    expect(failed).toBeLessThanOrEqual(4);
    await fleet.backend("a").heal();
    await expect.poll(round, { timeout: upWithinMs, interval: 100 }).toMatch(/recovering|healthy/);
  } finally {
    await fleet.stop();
  }
});
