/** Whatever comes in, the answer is a clear JSON error, soon, and the edge goes on. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adminToken, startEdgeBefore, startSystem, TestBackend, type EdgeSystem } from "./edge.ts";

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly tookMs: number;
}

async function timed(pending: Promise<Response>): Promise<Answer> {
  const began = performance.now();
  const response = await pending;
  const text = await response.text();
  expect(text).not.toMatch(/\n\s+at /);
  return { status: response.status, body: JSON.parse(text), tookMs: performance.now() - began };
}

const ourError = (code: string): unknown =>
  expect.objectContaining({
    error: expect.objectContaining({ code, message: expect.any(String), type: expect.any(String) }),
    code: expect.any(Number),
    message: expect.any(String),
    data: null,
  });

describe("from a client", () => {
  let system: EdgeSystem;
  beforeAll(async () => {
    system = await startSystem({ backends: [{ name: "a" }, { name: "b", dialect: "flat-1" }] });
  });
  afterAll(() => system.stop());

  const goesOn = async (): Promise<void> => expect((await system.get("/ping")).status).toBe(200);

  it("a mebibyte of random bytes as JSON is the client's error, answered in under a second", async () => {
    for (let index = 0; index < 6; index += 1) {
      const { status, body, tookMs } = await timed(
        fetch(`${system.url}/v1/images/generations`, {
          method: "POST",
          headers: { authorization: "Bearer a", "content-type": "application/json" },
          body: new Uint8Array(randomBytes(1024 * 1024)),
        }),
      );
      expect(body).toMatchObject({ code: expect.any(Number), message: expect.any(String) });
      expect([200, 400, 500]).toContain(status);
      expect(tookMs).toBeLessThan(1000);
    }
    const health = (await (await system.get("/health")).json()) as { backends: { healthy: boolean }[] };
    expect(health.backends.map(({ healthy }) => healthy)).toEqual([true, true]);
    await goesOn();
  });

  it("an unknown route is a 404 of ours and reaches no backend", async () => {
    const { status, body, tookMs } = await timed(system.get("/no/such/route"));
    expect([status, body]).toEqual([404, ourError("not_found")]);
    expect(tookMs).toBeLessThan(1000);
    const counts = await Promise.all(system.backends.map((backend) => backend.counts()));
    expect(counts.flatMap((count) => Object.keys(count))).not.toContain("GET /no/such/route");
    await goesOn();
  });

  it("a method that a route doesn't know is a 405 that names those it does", async () => {
    const response = await fetch(`${system.url}/v1/models`, { method: "DELETE" });
    expect(response.headers.get("allow")).toContain("GET");
    const { status, body } = await timed(Promise.resolve(response));
    expect([status, body]).toEqual([405, ourError("method_not_allowed")]);
    await goesOn();
  });

  it("headers larger than the servers take are the client's error, and no server's fault", async () => {
    for (let index = 0; index < 6; index += 1) {
      const { status, body, tookMs } = await timed(
        fetch(`${system.url}/v1/images/generations`, {
          method: "POST",
          headers: { authorization: "Bearer a", "content-type": "application/json", "x-large": "a".repeat(100_000) },
          body: "{}",
        }),
      );
      expect([status, body]).toMatchObject([431, { error: { type: "invalid_request_error" } }]);
      expect(tookMs).toBeLessThan(1000);
    }
    const { backends } = (await (await system.get("/health")).json()) as {
      backends: { state: string; consecutive_failures: number }[];
    };
    expect(backends.map((backend) => [backend.state, backend.consecutive_failures])).toEqual([
      ["healthy", 0],
      ["healthy", 0],
    ]);
  });

  it("a method that no route knows is a JSON error too", async () => {
    const response = await fetch(`${system.url}/v1/models`, { method: "PROPFIND" });
    const { status, body } = await timed(Promise.resolve(response));
    expect([status, body]).toEqual([405, ourError("method_not_allowed")]);
    await goesOn();
  });
});

describe("from an operator", () => {
  const cases: readonly [name: string, variables: Record<string, string>][] = [
    ["BACKEND_SERVERS that is not JSON", { BACKEND_SERVERS: "http://127.0.0.1:9101" }],
    ["an empty list of servers", { BACKEND_SERVERS: "[]" }],
    [
      "CONFIG with a wrong value",
      { BACKEND_SERVERS: '[{"url":"http://127.0.0.1:1"}]', CONFIG: '{"RETRY":{"maxAttempts":-1}}' },
    ],
  ];
  it.each(cases)(
    "%s is 503 configuration_invalid for every request, with the details for an admin only",
    async (_name, variables) => {
      const system = await startEdgeBefore([], { variables });
      try {
        for (const path of ["/v1/models", "/health", "/nowhere"]) {
          const { status, body, tookMs } = await timed(system.get(path));
          expect([status, body]).toEqual([503, ourError("configuration_invalid")]);
          expect(tookMs).toBeLessThan(1000);
          expect(JSON.stringify(body)).not.toMatch(/maxAttempts|127\.0\.0\.1|BACKEND_SERVERS/);
        }
        const detailed = await fetch(`${system.url}/health`, { headers: { authorization: `Bearer ${adminToken}` } });
        expect(await detailed.text()).toMatch(/maxAttempts|BACKEND_SERVERS/);
      } finally {
        await system.stop();
      }
    },
  );
});

type Kind = readonly [name: string, send: () => Promise<Response>];

const everyKind = (system: EdgeSystem): readonly Kind[] => [
  ["ping", () => system.get("/ping")],
  ["picture", () => system.post("/v1/images/generations", { prompt: "x" })],
  ["stream", () => system.post("/v1/chat/completions", { stream: true, messages: [{ role: "user", content: "x" }] })],
  ["token", () => system.post("/token/check", { token: "x" })],
  ["usage", () => system.get("/usage/stats")],
  ["task", () => system.post("/v1/async/images/generations", { prompt: "x" })],
];

async function expectSoonRefused(name: string, answer: Promise<Response>): Promise<void> {
  const { status, body, tookMs } = await timed(answer);
  expect([name, body]).toEqual([
    name,
    expect.objectContaining({ error: expect.objectContaining({ code: expect.any(String) }) }),
  ]);
  expect(status, name).toBeGreaterThanOrEqual(502);
  expect(tookMs, name).toBeLessThan(10_000);
}

describe("with no backend alive", () => {
  let system: EdgeSystem;
  let backend: TestBackend;
  beforeAll(async () => {
    backend = await TestBackend.start({ name: "only" });
    system = await startEdgeBefore([backend]);
    await system.get("/ping");
    await backend.kill();
  });
  afterAll(() => system.stop());

  it("every kind of request gets a JSON error in under ten seconds", async () => {
    for (const [name, send] of everyKind(system)) await expectSoonRefused(name, send());
  });

  it("/health says 503, and the first request after its return is served", async () => {
    const health = async (): Promise<number> => (await system.get("/health")).status;
    await expect.poll(health, { timeout: 15_000, interval: 200 }).toBe(503);
    await backend.restart();
    expect((await system.get("/ping")).status).toBe(200);
    await expect.poll(health, { timeout: 15_000, interval: 200 }).toBe(200);
  });
});

/** A machine that is off, as a firewall or a frozen process shows it: connections open or hang, and nothing ever comes. */
class Silence {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server = createServer((socket) => {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
  });

  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe("with ten backends of which none says a word", () => {
  const silent = Array.from({ length: 10 }, () => new Silence());
  let system: EdgeSystem;
  beforeAll(async () => {
    const urls = await Promise.all(silent.map((one) => one.listen()));
    const servers = urls.map((url, index) => ({ url, name: `silent-${index}` }));
    system = await startEdgeBefore([], { variables: { BACKEND_SERVERS: JSON.stringify(servers) } });
  });
  afterAll(async () => {
    await system.stop();
    for (const one of silent) one.close();
  });

  it("every kind of request gets a JSON error in under ten seconds", async () => {
    await Promise.all(everyKind(system).map(([name, send]) => expectSoonRefused(name, send())));
  });
});
