/** The limiter as clients meet it, over real sockets. Each test is another client, by its address. */
import { Agent, get as httpGet } from "node:http";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adminToken, startSystem, type EdgeSystem } from "./edge.ts";

const cycling = "203.0.113.50";
const patient = "203.0.113.51";
const counted = "203.0.113.52";

let system: EdgeSystem;
beforeAll(async () => {
  const clients = {
    [cycling]: { requests: 3, window: 2, blockDuration: 3 },
    [patient]: { requests: 1, window: 1, blockDuration: 1 },
    [counted]: { requests: 2, window: 60, blockDuration: 60 },
  };
  system = await startSystem({
    backends: [{ name: "only" }],
    config: {
      RATE_LIMIT: { enabled: true, clients, deny: ["192.0.2.0/24"], exempt: ["198.51.100.7"] },
    },
  });
});
afterAll(() => system.stop());

const from = (address: string) => ({ "cf-connecting-ip": address });

async function statusOf(path: string, address: string): Promise<number> {
  const answer = await system.get(path, from(address));
  await answer.arrayBuffer();
  return answer.status;
}

async function timed(address: string) {
  const sentMs = performance.now();
  const answer = await system.get("/ping", from(address));
  await answer.arrayBuffer();
  const retryAfter = Number(answer.headers.get("retry-after"));
  return { status: answer.status, retryAfter, sentMs, arrivedMs: performance.now() };
}

/** All at once, on as many connections. */
function burst(address: string, times: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: false, maxSockets: times });
  const one = () =>
    new Promise<number>((resolve, reject) => {
      const request = httpGet(`${system.url}/ping`, { agent, headers: from(address) }, (answer) => {
        answer.resume().on("end", () => resolve(answer.statusCode ?? 0));
      });
      request.on("error", reject);
    });
  return Promise.all(Array.from({ length: times }, one));
}

function tallied(statuses: readonly number[]): Record<number, number> {
  const groups = Object.entries(Object.groupBy(statuses, String));
  return Object.fromEntries(groups.map(([status, list]) => [status, list?.length ?? 0]));
}

describe("a client over its limit", () => {
  it("of 1,000 concurrent requests gets exactly 100 through", async () => {
    const statuses = await burst("203.0.113.1", 1000);
    expect(statuses.filter((status) => status === 200)).toHaveLength(100);
    expect(statuses.filter((status) => status === 429)).toHaveLength(900);
  });

  it("gets a 429 that both kinds of clients understand, and reaches no backend with it", async () => {
    expect([await statusOf("/ping", counted), await statusOf("/ping", counted)]).toEqual([200, 200]);
    const before = (await system.backend("only").counts())["GET /v1/models"] ?? 0;
    const answer = await system.get("/v1/models", from(counted));
    expect(answer.status).toBe(429);
    const retryAfter = Number(answer.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(58);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect(answer.headers.get("ratelimit-policy")).toBe('"default";q=2;w=60');
    expect(answer.headers.get("ratelimit")).toBe(`"default";r=0;t=${retryAfter}`);
    expect(answer.headers.get("x-request-id")).not.toBeNull();
    expect(await answer.json()).toMatchObject({
      error: { type: "rate_limit_error", code: "rate_limited" },
      data: null,
    });
    expect((await system.backend("only").counts())["GET /v1/models"] ?? 0).toBe(before);
  });

  it("is refused with a falling Retry-After and let in again on time", async () => {
    for (let index = 0; index < 3; index += 1) expect(await statusOf("/ping", cycling)).toBe(200);
    const waits: number[] = [];
    // The block began between the sending and the arrival of the first refusal, so the net's own time doesn't count.
    const first = await timed(cycling);
    let last = first;
    let answer = first;
    while (answer.status === 429) {
      waits.push(answer.retryAfter);
      last = answer;
      await new Promise((resolve) => setTimeout(resolve, 20));
      answer = await timed(cycling);
      if (answer.sentMs - first.sentMs > 10_000) throw new Error("never let in again");
    }
    expect(answer.status).toBe(200);
    expect(answer.arrivedMs - first.sentMs).toBeGreaterThanOrEqual(2900);
    expect(last.sentMs - first.arrivedMs).toBeLessThanOrEqual(3100);
    expect([...new Set(waits)]).toEqual([3, 2, 1]);
    for (let index = 0; index < 2; index += 1) expect(await statusOf("/ping", cycling)).toBe(200);
    expect(await statusOf("/ping", cycling)).toBe(429);
  });

  it("with the OpenAI SDK comes back by itself when Retry-After is short", async () => {
    const client = new OpenAI({ apiKey: "a-session", baseURL: `${system.url}/v1`, defaultHeaders: from(patient) });
    await client.models.list();
    const began = performance.now();
    expect((await client.models.list()).data.length).toBeGreaterThan(0);
    expect(performance.now() - began).toBeGreaterThan(900);
  });
});

describe("who is not counted", () => {
  it("many clients at once: none of 60 with 10 requests each is refused", async () => {
    const clients = Array.from({ length: 60 }, (_, index) => `203.0.114.${index}`);
    const tenOf = async (client: string): Promise<number[]> => {
      const statuses: number[] = [];
      while (statuses.length < 10) statuses.push(await statusOf("/ping", client));
      return statuses;
    };
    const statuses = (await Promise.all(clients.map(tenOf))).flat();
    expect(tallied(statuses)).toEqual({ 200: 600 });
  });

  it("preflights, /health and operators leave the count alone", async () => {
    const client = "203.0.113.53";
    const preflight = { ...from(client), origin: "https://app.example", "access-control-request-method": "POST" };
    for (let index = 0; index < 3; index += 1) {
      await fetch(`${system.url}/v1/images/generations`, { method: "OPTIONS", headers: preflight });
      await statusOf("/health", client);
      const operator = await system.get("/api/ip-preference", {
        ...from(client),
        authorization: `Bearer ${adminToken}`,
      });
      expect(operator.status).toBe(200);
      await operator.arrayBuffer();
    }
    const answer = await system.get("/ping", from(client));
    expect(answer.headers.get("ratelimit")).toBe('"default";r=99;t=60');
  });

  it("an exempt address carries no limit, and a denied one gets 403 client_denied", async () => {
    expect((await system.get("/ping", from("198.51.100.7"))).headers.get("ratelimit")).toBeNull();
    const denied = await system.get("/ping", from("::ffff:192.0.2.9"));
    expect(denied.status).toBe(403);
    expect(await denied.json()).toMatchObject({ error: { code: "client_denied" } });
  });
});

describe("with API_KEYS", () => {
  let keyed: EdgeSystem;
  beforeAll(async () => {
    const keys = {
      alice: { key: "alice-secret-key" },
      bob: { key: "bobs-secret-key!", tokens: ["jimeng-1", "jimeng-2"] },
    };
    keyed = await startSystem({
      backends: [{ name: "only" }],
      config: { RATE_LIMIT: { clients: { alice: { requests: 1, window: 60, blockDuration: 60 } } } },
      variables: { API_KEYS: JSON.stringify(keys) },
    });
  });
  afterAll(() => keyed.stop());

  const ask = (headers: Record<string, string>) => keyed.get("/v1/models", headers);

  it("a missing or wrong key is 401 api_key_invalid", async () => {
    for (const headers of [
      {},
      { "x-api-key": "wrong" },
      { authorization: "Bearer jimeng-1" },
      { authorization: "Bearer alice-secret-key" },
    ]) {
      const answer = await ask(headers as Record<string, string>);
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ error: { code: "api_key_invalid" } });
    }
  });

  it("no key reaches a backend: its tokens do", async () => {
    const body = { prompt: "a cat", model: "jimeng-4.5" };
    const viaBearer = await keyed.post("/v1/images/generations", body, { authorization: "Bearer bobs-secret-key!" });
    expect(viaBearer.status).toBe(200);
    const viaHeader = await keyed.post("/v1/images/generations", body, {
      "x-api-key": "alice-secret-key",
      authorization: "Bearer own-session",
    });
    expect(viaHeader.status).toBe(200);
    const seen = JSON.stringify(await keyed.backend("only").requests());
    expect(seen).toContain("Bearer jimeng-1,jimeng-2");
    expect(seen).toContain("Bearer own-session");
    expect(seen).not.toContain("secret-key");
  });
});
