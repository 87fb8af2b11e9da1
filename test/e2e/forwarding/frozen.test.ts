/** A server that stands still while it works: waited for as long as it may return, given up when it does not, never asked twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type EdgeSystem, type TestBackend } from "../edge.ts";
import { becomes, serversOf } from "./observed.ts";

/** Each test has a server of its own, which alone serves a model of its name. */
const names = ["long", "returns", "lost"] as const;
type Name = (typeof names)[number];

let system: EdgeSystem;
beforeAll(async () => {
  system = await startSystem({
    backends: names.map((name) => ({ name, server: { models: [name] } })),
    config: {
      WATCH: { renew: 1, lostAfter: 2, interval: 1, leaseExpiry: 2 },
      HEALTH_CHECK: { timeout: 1, retries: 1, unhealthyInterval: 1 },
    },
  });
  await system.get("/health");
});
afterAll(() => system.stop());

async function openAt(name: Name): Promise<number> {
  return (await serversOf(system)).find((server) => server.name === name)?.inFlight ?? Number.NaN;
}

function everyLeaseEndsAt(name: Name): Promise<void> {
  return becomes(
    () => openAt(name),
    (open) => open === 0,
    `leases at ${name}`,
  );
}

async function frozenFor(backend: TestBackend, ms: number, work: readonly Promise<unknown>[]): Promise<void> {
  await sleep(300);
  process.kill(backend.pid, "SIGSTOP");
  try {
    await Promise.race([sleep(ms), Promise.all(work)]);
  } finally {
    process.kill(backend.pid, "SIGCONT");
  }
}

function generate(model: Name, prompt: string): Promise<Response> {
  return system.post("/v1/images/generations", { model, prompt });
}

describe.concurrent("a generation", () => {
  it("that takes longer than a lease lives keeps it by renewals", async () => {
    const answer = generate("long", "[[delay=3200]] long");
    await sleep(2800);
    expect(await openAt("long")).toBe(1);
    expect((await answer).status).toBe(200);
    await everyLeaseEndsAt("long");
  });

  it("on a server that freezes and returns is answered", async () => {
    const prompt = "[[delay=600]] returns";
    const answer = generate("returns", prompt);
    await frozenFor(system.backend("returns"), 1300, [answer]);
    expect((await answer).status).toBe(200);
    expect(await system.backend("returns").submits(prompt)).toHaveLength(1);
    await everyLeaseEndsAt("returns");
  });

  it("on a server that stays frozen ends as 504 backend_lost, not to be sent again; a stream with an error event that says so", async () => {
    const prompt = "[[delay=1000]] lost";
    const began = performance.now();
    const answer = generate("lost", prompt);
    const messages = [{ role: "user", content: `${prompt} stream` }];
    const stream = system.post("/v1/chat/completions", { model: "lost", stream: true, messages });
    const text = stream.then((opened) => opened.text());
    await frozenFor(system.backend("lost"), 30_000, [answer, text]);
    expect(performance.now() - began).toBeLessThan(12_000);
    expect([(await answer).status, (await answer).headers.get("x-should-retry")]).toEqual([504, "false"]);
    expect(await (await answer).json()).toMatchObject({ error: { code: "backend_lost" } });
    expect(await text).toContain('"code":"backend_lost"');
    for (const one of [prompt, `${prompt} stream`]) {
      expect(await system.backend("lost").submits(one)).toHaveLength(1);
    }
    await everyLeaseEndsAt("lost");
  });
});
