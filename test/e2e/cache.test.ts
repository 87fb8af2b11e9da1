/** The cache as clients and backends meet it: the whole edge, real sockets, backends that count what reaches them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { SeenRequest } from "../../demo/traffic.ts";
import { RawClient } from "../worker/cache/raw-client.ts";
import type { Received } from "../worker/cache/raw-client.ts";
import { startEdgeBefore, startSystem } from "./edge.ts";
import { openRaw, requestBytes } from "./forwarding/raw-client.ts";
import type { EdgeSystem } from "./edge.ts";

const crowd = 500;
/** Of a dialect that sets no `Vary` of its own. */
const backends = ["a", "b", "c"].map((name) => ({ name, dialect: "flat-1" as const }));
const routeAt = (path: string, cache: "origin" | "none" | number) => ({ path, methods: ["GET"], cache });

/** Requests that reached the backends, of all of them together. */
async function reached(system: EdgeSystem, label: string): Promise<number> {
  const counts = await Promise.all(system.backends.map((backend) => backend.counts()));
  return counts.reduce((sum, count) => sum + (count[label] ?? 0), 0);
}

const statusOf = ({ headers }: Received): string => String(headers["cache-status"]);

async function atOnce(client: RawClient, path: string): Promise<readonly Received[]> {
  return Promise.all(Array.from({ length: crowd }, () => client.ask(path)));
}

const isReading = ({ url, rawHeaders }: SeenRequest): boolean =>
  url === "/v1/models" && rawHeaders.includes("jimeng-edge-probe");

/** The prober has read every backend's models, and the edge has them; nobody has asked for them yet. */
async function modelsAreRead(system: EdgeSystem): Promise<void> {
  const health = async () => (await (await system.get("/health")).json()) as { table: { age: number | null } };
  const read = async (): Promise<boolean> => {
    await health();
    const seen = await Promise.all(system.backends.map((backend) => backend.requests()));
    return seen.every((requests) => requests.some(isReading));
  };
  await expect.poll(read, { timeout: 20_000, interval: 100 }).toBe(true);
  // What a backend has just sent is known to the registry a moment later.
  const readMs = Date.now() + 500;
  const tableMs = async (): Promise<number> => {
    const { age } = (await health()).table;
    return age === null ? 0 : Date.now() - age * 1000;
  };
  await expect.poll(tableMs, { timeout: 20_000, interval: 100 }).toBeGreaterThan(readMs);
}

describe("while the backends live", () => {
  let system: EdgeSystem;
  let client: RawClient;
  beforeAll(async () => {
    const ROUTES = [
      routeAt("/test/shared/*", 60),
      routeAt("/test/origin/*", "origin"),
      routeAt("/test/none/*", "none"),
    ];
    system = await startSystem({ backends, config: { ROUTES } });
    client = new RawClient(new URL(system.url), 600);
  });
  afterAll(async () => {
    client?.close();
    await system?.stop();
  });

  test("500 concurrent cold GETs of a route with cache: 60 are one request at the backends", async () => {
    // Slow enough that most of the crowd is there before the answer is.
    const answers = await atOnce(client, "/test/shared/crowd?delay=400");
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(200);
    expect(await reached(system, "GET /test/shared/crowd")).toBe(1);
    const collapsed = answers.filter((answer) => statusOf(answer).includes("; collapsed"));
    expect(collapsed.length).toBeGreaterThan(0);
  });

  test("who waits for the answer that another asked for gets it, though that one has left", async () => {
    const path = "/test/shared/left?delay=2000";
    const label = "GET /test/shared/left";
    const leaver = await openRaw(system.port, requestBytes(path));
    await expect.poll(async () => reached(system, label), { interval: 10 }).toBe(1);
    const waiting = Array.from({ length: 50 }, () => client.ask(path));
    await sleep(100);
    leaver.resetAndDestroy();
    const answers = await Promise.all(waiting);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await reached(system, label)).toBe(1);
  });

  test("500 concurrent GETs of /v1/models are none, once the prober has read them", async () => {
    await modelsAreRead(system);
    const before = await reached(system, "GET /v1/models");
    const answers = await atOnce(client, "/v1/models");
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(answers.filter((answer) => statusOf(answer).startsWith("jimeng-edge; hit")).length).toBe(crowd);
    expect(await reached(system, "GET /v1/models")).toBe(before);
  });

  test.each([
    ["of the path", { paths: ["/api/test/shared/purged"] }],
    ["of everything", { all: true }],
  ])("a purge %s is in force within 3 s", async (_name, body) => {
    const path = "/test/shared/purged";
    const label = `GET ${path}`;
    await client.ask(path);
    expect(statusOf(await client.ask(path))).toContain("; hit");
    const before = await reached(system, label);
    const purgedMs = performance.now();
    expect((await system.operate("/api/cache/purge", { method: "POST", body })).status).toBe(200);
    await expect
      .poll(async () => statusOf(await client.ask(path)), { timeout: 10_000, interval: 20 })
      .toContain("fwd=uri-miss");
    const tookMs = performance.now() - purgedMs;
    expect(tookMs).toBeLessThan(3000);
    expect(await reached(system, label)).toBe(before + 1);
    expect(statusOf(await client.ask(path))).toContain("; hit");
  });

  describe("two clients with different Authorization never get each other's answer", () => {
    const people = ["Bearer alice-session", "Bearer bob-session"];

    const nobody = "";

    /** All ask the same again and again, at once and after one another; whoever is answered must read the own name. */
    async function eachReadsTheOwn(path: string): Promise<void> {
      const askedBy = async (authorization: string): Promise<string> => {
        const headers = authorization === nobody ? {} : { authorization };
        const { body } = await client.ask(path, { headers });
        return (JSON.parse(body) as Echo).headers.authorization ?? nobody;
      };
      expect(await askedBy(nobody), path).toBe(nobody);
      for (let round = 0; round < 4; round += 1) {
        const asked = Array.from({ length: 20 }, (_, index) => people[(index + round) % people.length] as string);
        expect(await Promise.all(asked.map(askedBy)), path).toEqual(asked);
      }
      expect(await askedBy(nobody), path).toBe(nobody);
    }

    const undeclared = [
      "",
      "cc=max-age%3D60",
      "cc=max-age%3D60%2Cstale-while-revalidate%3D60%2Cstale-if-error%3D60",
      "cc=private%2Cmax-age%3D60",
      "cc=no-cache&etag=v1",
      "cc=max-age%3D60&vary=Accept",
      "cc=max-age%3D60&vary=Authorization",
      "cc=public%2Cmax-age%3D60&vary=Authorization",
      "cc=s-maxage%3D60%2Cstale-if-error%3D60&vary=accept%2C%20AUTHORIZATION",
      "lm=Mon%2C%2023%20Nov%202020%2000%3A00%3A00%20GMT",
      "expires=Mon%2C%2023%20Nov%202099%2000%3A00%3A00%20GMT",
      "cc=max-age%3D60&delay=30",
    ];
    test.each(undeclared)("on a route that obeys its origin, which says: %s", async (query) => {
      await eachReadsTheOwn(`/test/origin/whose?${query}`);
    });

    test.each(["cc=public%2Cmax-age%3D60", "cc=s-maxage%3D60&delay=30"])(
      "on a route that is never stored, whatever its origin says: %s",
      async (query) => {
        await eachReadsTheOwn(`/test/none/whose?${query}`);
      },
    );

    test("on the specification's own: a token's check is each client's own", async () => {
      const check = async (token: string): Promise<unknown> => {
        const answer = await system.post("/token/check", { token }, { authorization: `Bearer ${token}` });
        return answer.json();
      };
      const tokens = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? "alice-session" : "dead-session"));
      const alone = { "alice-session": await check("alice-session"), "dead-session": await check("dead-session") };
      expect(alone["alice-session"]).not.toEqual(alone["dead-session"]);
      expect(await Promise.all(tokens.map(check))).toEqual(tokens.map((token) => alone[token as keyof typeof alone]));
    });
  });
});

interface Echo {
  readonly headers: Readonly<Record<string, string | undefined>>;
}

describe("when every backend is killed", () => {
  const endings: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of endings.splice(0).toReversed()) await end();
  });

  test.each([
    ["served while it is refreshed behind", {}],
    ["served because the backends fail", { staleWhileRevalidate: 0 }],
  ])("models, usage and a route answer 200 within 50 ms, marked stale: %s", async (_name, given) => {
    const system = await startSystem({
      backends,
      config: {
        ROUTES: [routeAt("/test/short", 1)],
        CACHE: { ttl: { models: 1, stats: 1 }, ...given },
      },
    });
    const client = new RawClient(new URL(system.url), 10);
    endings.push(async () => {
      client.close();
      await system.stop();
    });
    const paths = ["/v1/models", "/usage/stats", "/test/short"];
    await modelsAreRead(system);
    const living = new Map<string, string>();
    for (const path of paths) living.set(path, (await client.ask(path)).body);
    await Promise.all(system.backends.map((backend) => backend.kill()));
    // Past every lifetime of one second, so that nothing is fresh any more.
    await sleep(1200);

    for (const path of paths) {
      const tookMs: number[] = [];
      for (let asked = 0; asked < 20; asked += 1) {
        const began = performance.now();
        const answer = await client.ask(path);
        tookMs.push(performance.now() - began);
        expect([path, answer.status, answer.body]).toEqual([path, 200, living.get(path)]);
        expect(statusOf(answer)).toMatch(/; detail=stale/);
        expect(statusOf(answer)).toMatch(/; ttl=(-|0)/);
      }
      const sorted = tookMs.toSorted((one, other) => one - other);
      const said = `${path}: ${sorted.map((ms) => ms.toFixed(1)).join(", ")} ms`;
      expect(sorted[10], said).toBeLessThan(50);
      // Never after waiting for a dead backend's deadline, a pause between attempts, or the registry.
      expect(sorted.at(-1), said).toBeLessThan(500);
    }

    // And so it stays when the registry has found out that there is nobody to ask.
    const health = async (): Promise<number> => (await client.ask("/health")).status;
    await expect.poll(health, { timeout: 20_000, interval: 100 }).toBe(503);
    for (const path of paths) {
      const { status, headers, body } = await client.ask(path);
      expect([path, status, body]).toEqual([path, 200, living.get(path)]);
      expect(headers["cache-status"]).toMatch(/; detail=stale/);
    }
  });

  test("models are known to an edge that starts anew, too", async () => {
    const stateFolder = await mkdtemp(join(tmpdir(), "jimeng-edge-state-"));
    endings.push(() => rm(stateFolder, { recursive: true, force: true }));
    const options = { config: { CACHE: { ttl: { models: 1 } } }, stateFolder };
    const first = await startSystem({ backends, ...options });
    endings.push(() => first.stop());
    await modelsAreRead(first);
    // What was learned is written behind.
    await sleep(1500);
    const living = await (await first.get("/v1/models")).text();
    await Promise.all(first.backends.map((backend) => backend.kill()));
    await first.stopEdge();
    const second = await startEdgeBefore(first.backends, options);
    endings.push(() => second.stopEdge());
    const answer = await second.get("/v1/models");
    expect([answer.status, await answer.text()]).toEqual([200, living]);
    expect(answer.headers.get("cache-status")).toMatch(/; detail=stale/);
    // The registry has kept what the prober read, and not only a cache its answer.
    const status = async (): Promise<string | null> => (await second.get("/v1/models")).headers.get("cache-status");
    await expect.poll(status, { timeout: 10_000, interval: 100 }).toMatch(/; hit; ttl=-\d+; detail=stale$/);
  });
});
