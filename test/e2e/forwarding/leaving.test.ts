/** Clients that leave, rudely, at every stage: nobody else hangs, every lease ends, and the process still stops. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type EdgeSystem } from "../edge.ts";
import { everyLeaseEnds, inFlight, isRunning, serversOf, workerdPid } from "./observed.ts";
import { askRaw, openRaw, requestBytes } from "./raw-client.ts";

const json = { "Content-Type": "application/json", Authorization: "Bearer a-session" };

const pictures = "/v1/images/generations";

/** How a client goes: with a reset, or by closing its side. */
const manners: readonly (readonly [name: string, leave: (socket: Socket) => void])[] = [
  ["resets", (socket) => socket.resetAndDestroy()],
  ["closes", (socket) => socket.destroy()],
];

describe.each([
  { picks: "auto", ways: manners },
  { picks: "exact", ways: manners.slice(0, 1) },
])("a client, picks $picks,", ({ picks, ways }) => {
  let system: EdgeSystem;
  beforeAll(async () => {
    system = await startSystem({
      backends: [{ name: "one" }, { name: "two" }],
      config: {
        PICKS: picks,
        ROUTES: [{ path: "/test/*", methods: ["GET", "POST"], class: "query", cache: "origin" }],
        CACHE: { ttl: { stats: 1 } },
      },
    });
    await system.get("/health");
  });
  afterAll(() => system.stop());

  async function submitsOf(prompt: string): Promise<number> {
    const all = await Promise.all(system.backends.map((backend) => backend.submits(prompt)));
    return all.flat().length;
  }

  async function nobodyElseHangs(): Promise<void> {
    const began = performance.now();
    const [ping, picture, counted] = await Promise.all([
      system.get("/ping"),
      system.post("/v1/images/generations", { prompt: "of somebody else" }),
      system.get("/usage/stats"),
    ]);
    expect([ping.status, picture.status, counted.status]).toEqual([200, 200, 200]);
    expect(performance.now() - began).toBeLessThan(3000);
  }

  async function noStateChanged(): Promise<void> {
    expect((await serversOf(system)).map(({ state }) => state)).toEqual(["healthy", "healthy"]);
  }

  /** All ways of leaving at the same time. */
  async function each(work: (manner: string, leave: (socket: Socket) => void) => Promise<void>): Promise<void> {
    await Promise.all(ways.map(([manner, leave]) => work(manner, leave)));
  }

  function posted(path: string, body: Readonly<Record<string, unknown>>): Buffer {
    return requestBytes(path, { method: "POST", headers: json, body: JSON.stringify(body) });
  }

  it("who leaves in the middle of a request's body costs nothing and blames nobody", async () => {
    const prompts: string[] = [];
    await each(async (manner, leave) => {
      const prompt = `half a body, ${manner}`;
      prompts.push(prompt);
      const whole = posted(pictures, { prompt, filling: "x".repeat(5000) });
      const socket = await openRaw(system.port, whole.subarray(0, whole.length - 1000));
      await sleep(50);
      leave(socket);
    });
    await everyLeaseEnds(system);
    for (const prompt of prompts) expect(await submitsOf(prompt)).toBe(0);
    await noStateChanged();
    await nobodyElseHangs();
  });

  it("who leaves in the middle of an upload that is passed on blames nobody", async () => {
    const body = Buffer.alloc(3_000_000, "x");
    const headers = { Authorization: "Bearer a", "Content-Type": "multipart/form-data; boundary=b" };
    const whole = requestBytes("/v1/images/compositions", { method: "POST", headers, body });
    await each(async (_manner, leave) => {
      for (let round = 0; round < 6; round += 1) {
        const socket = await openRaw(system.port, whole.subarray(0, 1_500_000));
        await sleep(50);
        leave(socket);
      }
    });
    await everyLeaseEnds(system);
    await noStateChanged();
    await nobodyElseHangs();
  });

  it("who leaves before the pick is spared, or the generation runs once and is followed", async () => {
    const prompts: string[] = [];
    await each(async (manner, leave) => {
      for (let index = 0; index < 20; index += 1) {
        const prompt = `at once, ${manner}, ${index}`;
        prompts.push(prompt);
        leave(await openRaw(system.port, posted(pictures, { prompt })));
      }
    });
    await everyLeaseEnds(system);
    for (const prompt of prompts) expect(await submitsOf(prompt)).toBeLessThanOrEqual(1);
    await noStateChanged();
    await nobodyElseHangs();
  });

  it("who leaves before the headers: the generation counts as in flight until it is done", async () => {
    const prompts: string[] = [];
    await each(async (manner, leave) => {
      const prompt = `[[delay=700]] before the headers, ${manner}`;
      prompts.push(prompt);
      const socket = await openRaw(system.port, posted(pictures, { prompt }));
      await sleep(200);
      leave(socket);
      await sleep(200);
    });
    expect(await inFlight(system)).toBe(ways.length);
    await nobodyElseHangs();
    await everyLeaseEnds(system);
    for (const prompt of prompts) expect(await submitsOf(prompt)).toBe(1);
    await noStateChanged();
  });

  it("who leaves in the middle of a stream: it is followed to its end", async () => {
    const contents: string[] = [];
    await each(async (manner, leave) => {
      const content = `[[delay=600]] a stream, ${manner}`;
      contents.push(content);
      const messages = [{ role: "user", content }];
      const ask = posted("/v1/chat/completions", { model: "jimeng-4.5", stream: true, messages });
      const socket = await openRaw(system.port, ask);
      await once(socket, "data");
      leave(socket);
      await sleep(200);
    });
    expect(await inFlight(system)).toBe(ways.length);
    await everyLeaseEnds(system);
    for (const content of contents) expect(await submitsOf(content)).toBe(1);
    await noStateChanged();
    await nobodyElseHangs();
  });

  it("who leaves in the middle of a large answer holds nothing", async () => {
    await each(async (manner, leave) => {
      const ask = { prompt: `[[b64=8MiB]] large, ${manner}`, response_format: "b64_json" };
      const socket = await openRaw(system.port, posted(pictures, ask));
      await once(socket, "data");
      leave(socket);
    });
    await everyLeaseEnds(system);
    await noStateChanged();
    await nobodyElseHangs();
  });

  it("a collapsed miss whose first client resets is answered to all the others, by the one request", async () => {
    const target = "/test/shared?cc=max-age%3D60&delay=500";
    const before = await echoes();
    const first = await openRaw(system.port, requestBytes(target));
    await sleep(100);
    const others = Array.from({ length: 10 }, () => askRaw(system.port, target));
    await sleep(100);
    first.resetAndDestroy();
    const answers = await Promise.all(others);
    expect(answers.map(({ status }) => status)).toEqual(others.map(() => 200));
    expect((await echoes()) - before).toBe(1);
    await nobodyElseHangs();
    await everyLeaseEnds(system);
  });

  async function echoes(): Promise<number> {
    const all = await Promise.all(system.backends.map((backend) => backend.counts()));
    return all.reduce((sum, counts) => sum + (counts["GET /test/shared"] ?? 0), 0);
  }

  it("and the process stops on SIGTERM after all that", async () => {
    const pid = workerdPid(system);
    process.kill(pid, "SIGTERM");
    await expect.poll(() => isRunning(pid), { timeout: 8000, interval: 50 }).toBe(false);
  });
});
