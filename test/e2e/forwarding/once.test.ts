/** A generation is paid once: whatever a backend answers, and however stubborn the client's SDK is. */
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialectNames, type DialectName } from "../../../demo/dialect.ts";
import { startSystem, TestBackend, startEdgeBefore, type EdgeSystem } from "../edge.ts";

const codes = [-1000, -2000, -2001, -2002, -2003, -2004, -2006, -2007, -2008, -2009, -2010, -9999];
const worded = [
  "[[code=-1000]][[message=不支持的参数: size]]",
  "[[code=-1000]][[message=无效的JSON格式: x]]",
  "[[code=-2001]][[message=积分不足]]",
];
const statuses = [400, 403, 404, 408, 409, 422, 500, 501, 502, 503, 504, 520, 524, 529];
const accidents = ["[[reset]]", "[[reset=before]]", "[[cut]]", "[[cut=clean]]", "[[garbage]]", "[[garbage=http]]"];
const spoilers = [
  ...codes.map((code) => `[[code=${code}]]`),
  ...worded,
  ...statuses.map((status) => `[[status=${status}]]`),
  "[[status=503]][[retry-after=1]]",
  ...accidents,
];

type Call = (client: OpenAI, content: string) => Promise<unknown>;

const image: Call = (client, prompt) => client.images.generate({ prompt });
const chat: Call = (client, content) =>
  client.chat.completions.create({ model: "jimeng-4.5", messages: [{ role: "user", content }] });
const stream: Call = async (client, content) => {
  const chunks = await client.chat.completions.create({
    model: "jimeng-4.5",
    stream: true,
    messages: [{ role: "user", content }],
  });
  for await (const chunk of chunks) void chunk;
};

/** Requests for paid work that reached the backends. */
async function paidRequests(system: EdgeSystem): Promise<number> {
  const counts = await Promise.all(system.backends.map((backend) => backend.counts()));
  const paid = counts.flatMap((byRoute) => Object.entries(byRoute)).filter(([route]) => route.startsWith("POST /v1/"));
  return paid.reduce((sum, [, count]) => sum + count, 0);
}

const systems = new Map<DialectName, EdgeSystem>();
beforeAll(async () => {
  const config = { EJECTION: { maxShare: 0 } };
  const starts = dialectNames.map(async (dialect) => {
    const backends = [
      { name: "one", dialect },
      { name: "two", dialect },
    ];
    systems.set(dialect, await startSystem({ backends, config }));
  });
  await Promise.all(starts);
});
afterAll(async () => {
  await Promise.all([...systems.values()].map((system) => system.stop()));
});

function systemOf(dialect: DialectName): EdgeSystem {
  return systems.get(dialect) as EdgeSystem;
}

const calls: readonly (readonly [name: string, call: Call, dialects: readonly DialectName[]])[] = [
  ["a picture", image, dialectNames],
  ["a chat", chat, ["mapped", "flat-2"]],
  ["a stream", stream, ["mapped", "flat-2"]],
];

describe.each(calls.flatMap(([name, call, served]) => served.map((dialect) => ({ name, call, dialect }))))(
  "the OpenAI SDK with maxRetries 2 asks $dialect for $name",
  ({ call, dialect, name }) => {
    it("and whatever goes wrong, one request reaches a backend", async () => {
      const system = systemOf(dialect);
      const client = new OpenAI({ apiKey: "a-session", baseURL: `${system.url}/v1`, maxRetries: 2 });
      for (const spoiler of spoilers) {
        const before = await paidRequests(system);
        const failure = await call(client, `${spoiler} ${name}`).then(
          () => null,
          (error: unknown) => error,
        );
        const during = (await paidRequests(system)) - before;
        expect([spoiler, during]).toEqual([spoiler, 1]);
        // Inside a stream the servers tell their errors as text; everything else is an error to the SDK.
        const toldAsText = name === "a stream" && spoiler.startsWith("[[code=");
        const bearable = toldAsText || (name === "a stream" && spoiler.startsWith("[[garbage"));
        if (!bearable) expect(failure, spoiler).toBeInstanceOf(Error);
      }
    });
  },
);

describe.each(dialectNames)("%s", (dialect) => {
  it.each(["dead-token", "broke-token"])("a %s is an error that costs one request", async (apiKey) => {
    const system = systemOf(dialect);
    const client = new OpenAI({ apiKey, baseURL: `${system.url}/v1`, maxRetries: 2 });
    const before = await paidRequests(system);
    await expect(client.images.generate({ prompt: "x" })).rejects.toBeInstanceOf(APIError);
    expect((await paidRequests(system)) - before).toBe(1);
  });

  it("every status that says no to a generation says not to send it again", async () => {
    const system = systemOf(dialect);
    for (const spoiler of spoilers) {
      const answer = await system.post("/v1/images/generations", { prompt: spoiler });
      expect([spoiler, answer.status >= 400, answer.headers.get("x-should-retry")]).toEqual([spoiler, true, "false"]);
      await answer.arrayBuffer();
    }
  });

  it("what is proven not to have been executed may be sent again, and is: elsewhere by us, then by the SDK", async () => {
    const system = systemOf(dialect);
    for (const status of [429, 521, 522, 523, 525, 526, 530]) {
      const prompt = `[[status=${status}]] proven`;
      const before = await paidRequests(system);
      const answer = await system.post("/v1/images/generations", { prompt });
      expect([status, answer.status, answer.headers.get("x-should-retry")]).toEqual([status, status, null]);
      // One attempt at each of the two backends.
      expect((await paidRequests(system)) - before).toBe(2);
      const once = await system.post("/v1/images/generations", { prompt: `${prompt}[[only=one]]` });
      expect(once.status).toBe(200);
    }
    const submits = await Promise.all(system.backends.map((backend) => backend.submits()));
    const perPrompt = submits.flat().filter(({ prompt }) => prompt.includes("[[only=one]]"));
    expect(perPrompt).toHaveLength(7);
  });
});

it("a 524 is a 504 of ours with its own code, and nobody's fault", async () => {
  const system = systemOf("mapped");
  const answer = await system.post("/v1/images/generations", { prompt: "[[status=524]]" });
  const body = (await answer.json()) as { error: { code: string; message: string } };
  expect([answer.status, body.error.code]).toEqual([504, "edge_read_timeout"]);
  expect(body.error.message).toContain("charged");
});

it("a client's Idempotency-Key changes nothing, since no backend honours it", async () => {
  const system = systemOf("mapped");
  const before = await paidRequests(system);
  const answer = await system.post("/v1/images/generations", { prompt: "[[reset]]" }, { "idempotency-key": "k" });
  expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([502, "false"]);
  expect((await paidRequests(system)) - before).toBe(1);
});

describe("nobody is blamed for a client's mistake", () => {
  let system: EdgeSystem;
  beforeAll(async () => {
    const backends = dialectNames.map((dialect) => ({ name: dialect, dialect }));
    system = await startSystem({ backends, config: { RETRY: { generations: "safe" } } });
    await system.get("/health");
  });
  afterAll(() => system.stop());

  const routes = ["/v1/images/generations", "/v1/chat/completions", "/token/check"];
  const dead = { prompt: "x", token: "dead-1", messages: [{ role: "user", content: "x" }] };
  const mistakes: readonly (readonly [name: string, body: unknown, token: string])[] = [
    ["a dead token", dead, "dead-1"],
    ["an empty account", { ...dead, token: "broke-1" }, "broke-1"],
    ["bad parameters", { size: "1024x1024", prompt: "x" }, "a-session"],
    ["a missing prompt", { nothing: true }, "a-session"],
    ["a blocked prompt", { prompt: "[[code=-2006]]", messages: [{ role: "user", content: "[[code=-2006]]" }] }, "a"],
    ["JSON that is none", "not an object", "a-session"],
  ];

  it.each(mistakes)("%s ×100 over three dialects changes no backend's state", async (_name, body, token) => {
    let left = 100;
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const route = routes[left % 2] as string;
        const answer = await system.post(left % 10 === 0 ? (routes[2] as string) : route, body, {
          authorization: `Bearer ${token}`,
        });
        await answer.arrayBuffer();
      }
    };
    await Promise.all(Array.from({ length: 10 }, work));
    const { servers } = (await (await system.operate("/api/ip-preference")).json()) as {
      servers: { state: string; consecutiveFailures?: number; consecutive_failures?: number }[];
    };
    const states = servers.map((server) => [server.state, server.consecutiveFailures ?? server.consecutive_failures]);
    expect(states).toEqual(servers.map(() => ["healthy", 0]));
  });
});

describe("a backend that refuses connections from the start", () => {
  it("costs none of 100 generations: a ping goes before the first one", async () => {
    const dead = await TestBackend.start({ name: "dead" });
    const alive = await Promise.all(["two", "three"].map((name) => TestBackend.start({ name })));
    await dead.kill();
    const system = await startEdgeBefore([dead, ...alive]);
    try {
      let left = 100;
      const statuses: number[] = [];
      const work = async (): Promise<void> => {
        while (left-- > 0) statuses.push((await system.post("/v1/images/generations", { prompt: "x" })).status);
      };
      await Promise.all(Array.from({ length: 10 }, work));
      expect(statuses).toEqual(Array.from({ length: 100 }, () => 200));
      const submits = await Promise.all(alive.map((backend) => backend.submitCount()));
      expect(submits.reduce((sum, count) => sum + count)).toBe(100);
    } finally {
      await system.stop();
    }
  });

  it("that are all of them are answered 502, provably unexecuted, so an SDK may send again", async () => {
    const dead = await TestBackend.start({ name: "dead" });
    await dead.kill();
    const system = await startEdgeBefore([dead]);
    try {
      const answer = await system.post("/v1/images/generations", { prompt: "x" });
      expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([502, "true"]);
      expect(await answer.json()).toMatchObject({ error: { code: "backend_unreachable" }, code: -3020 });
    } finally {
      await system.stop();
    }
  });
});
