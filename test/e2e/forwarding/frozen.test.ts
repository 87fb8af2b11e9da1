/** A server that stands still while it works: waited for as long as it may return, given up when it does not, never asked twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startSystem, type EdgeSystem, type TestBackend } from "../edge.ts";
import { everyLeaseEnds, inFlight } from "./observed.ts";

let system: EdgeSystem;
beforeAll(async () => {
  system = await startSystem({
    backends: [{ name: "one" }],
    config: {
      WATCH: { renew: 1, lostAfter: 3, interval: 1, leaseExpiry: 2 },
      HEALTH_CHECK: { timeout: 1, retries: 1, unhealthyInterval: 1 },
    },
  });
  await system.get("/health");
});
afterAll(() => system.stop());

function backend(): TestBackend {
  return system.backend("one");
}

async function frozenFor(ms: number, work: () => Promise<Response>): Promise<Response> {
  const answer = work();
  await sleep(300);
  process.kill(backend().pid, "SIGSTOP");
  try {
    await Promise.race([sleep(ms), answer]);
  } finally {
    process.kill(backend().pid, "SIGCONT");
  }
  return answer;
}

it("renewals keep a lease alive beyond its expiry", async () => {
  const answer = system.post("/v1/images/generations", { prompt: "[[delay=3200]] long" });
  await sleep(2800);
  expect(await inFlight(system)).toBe(1);
  expect((await answer).status).toBe(200);
  await everyLeaseEnds(system);
});

it("a generation on a server that freezes and returns is answered", async () => {
  const prompt = "[[delay=600]] returns";
  const answer = await frozenFor(1500, () => system.post("/v1/images/generations", { prompt }));
  expect(answer.status).toBe(200);
  expect(await backend().submits(prompt)).toHaveLength(1);
  await everyLeaseEnds(system);
});

it("a generation on a server that stays frozen ends as 504 backend_lost, not to be sent again", async () => {
  const prompt = "[[delay=600]] lost";
  const began = performance.now();
  const answer = await frozenFor(30_000, () => system.post("/v1/images/generations", { prompt }));
  expect(performance.now() - began).toBeLessThan(12_000);
  expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([504, "false"]);
  expect(await answer.json()).toMatchObject({ error: { code: "backend_lost" } });
  expect(await backend().submits(prompt)).toHaveLength(1);
  await everyLeaseEnds(system);
});

it("a stream on a server that stays frozen ends with an error event that says the same", async () => {
  const content = "[[delay=1000]] lost stream";
  const body = { model: "jimeng-4.5", stream: true, messages: [{ role: "user", content }] };
  let text = "";
  const read = async (): Promise<Response> => {
    const answer = await system.post("/v1/chat/completions", body);
    text = await answer.text();
    return answer;
  };
  await frozenFor(30_000, read);
  expect(text).toContain('"code":"backend_lost"');
  await everyLeaseEnds(system);
});
