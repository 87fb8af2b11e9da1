/** A generation is paid once: whatever a backend answers, and however stubborn the client's SDK is. */
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dialectNames, type DialectName } from "../../../demo/dialect.ts";
import { startBackends, startEdgeBefore, startSystem, TestBackend, type EdgeSystem } from "../edge.ts";

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

type Call = (client: OpenAI, model: string, content: string) => Promise<unknown>;

const image: Call = (client, model, prompt) => client.images.generate({ model, prompt });
const chat: Call = (client, model, content) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }] });
const stream: Call = async (client, model, content) => {
  const messages = [{ role: "user" as const, content }];
  const chunks = await client.chat.completions.create({ model, stream: true, messages });
  for await (const chunk of chunks) void chunk;
};

const picturePath = "/v1/images/generations";
const chatPath = "/v1/chat/completions";

/** Two servers of each dialect, which alone serve a model of its name. */
let system: EdgeSystem;
beforeAll(async () => {
  const backends = dialectNames.flatMap((dialect) =>
    ["one", "two"].map((name) => ({ name: `${dialect}-${name}`, dialect, server: { models: [dialect] } })),
  );
  system = await startSystem({ backends, config: { EJECTION: { maxShare: 0 } } });
});
afterAll(() => system.stop());

function serversOf(dialect: DialectName): readonly TestBackend[] {
  return system.backends.filter(({ spec }) => spec.dialect === dialect);
}

/** Requests for this paid work that reached the servers of a dialect. */
async function paidRequests(dialect: DialectName, path: string): Promise<number> {
  const counts = await Promise.all(serversOf(dialect).map((backend) => backend.counts()));
  return counts.reduce((sum, byRoute) => sum + (byRoute[`POST ${path}`] ?? 0), 0);
}

function sdk(apiKey = "a-session"): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${system.url}/v1`, maxRetries: 2 });
}

function generate(model: DialectName, prompt: string, headers: Record<string, string> = {}): Promise<Response> {
  return system.post(picturePath, { model, prompt }, headers);
}

/** `x-should-retry` of the answer that an SDK made an error of. */
function saidOf(failure: unknown): string | null | undefined {
  return failure instanceof APIError && failure.status >= 400 ? failure.headers?.get("x-should-retry") : undefined;
}

async function onePerSpoiler(call: Call, dialect: DialectName, name: string): Promise<void> {
  const path = name === "a picture" ? picturePath : chatPath;
  let before = await paidRequests(dialect, path);
  for (const spoiler of spoilers) {
    const failure = await call(sdk(), dialect, `${spoiler} ${name}`).then(
      () => null,
      (error: unknown) => error,
    );
    const after = await paidRequests(dialect, path);
    expect([spoiler, after - before]).toEqual([spoiler, 1]);
    before = after;
    // Inside a stream the servers tell their errors as text; everything else is an error to the SDK.
    const toldAsText = name === "a stream" && spoiler.startsWith("[[code=");
    const bearable = toldAsText || (name === "a stream" && spoiler.startsWith("[[garbage"));
    if (!bearable) expect(failure, spoiler).toBeInstanceOf(Error);
    // Every status that says no to a generation says not to send it again.
    if (name === "a picture") expect([spoiler, saidOf(failure)]).toEqual([spoiler, "false"]);
  }
}

describe.concurrent(
  "the OpenAI SDK with maxRetries 2, whatever goes wrong, reaches one backend once and is told not to send a picture again",
  () => {
    it.each(dialectNames)("when it asks %s for a picture", (dialect) => onePerSpoiler(image, dialect, "a picture"));

    it.each(["mapped", "flat-2"] as const)("when it asks %s for a chat, and for a stream", async (dialect) => {
      await onePerSpoiler(chat, dialect, "a chat");
      await onePerSpoiler(stream, dialect, "a stream");
    });
  },
);

describe("one request more or less", () => {
  it.concurrent.each(dialectNames)("is what a dead token and a broke one cost, with %s", async (dialect) => {
    for (const apiKey of ["dead-token", "broke-token"]) {
      const before = await paidRequests(dialect, picturePath);
      await expect(image(sdk(apiKey), dialect, "x")).rejects.toBeInstanceOf(APIError);
      expect([apiKey, (await paidRequests(dialect, picturePath)) - before]).toEqual([apiKey, 1]);
    }
  });

  it("is sent for what is proven not to have been executed: elsewhere by us, then by the SDK", async () => {
    const ofDialect = async (dialect: DialectName): Promise<void> => {
      for (const status of [429, 521, 522, 523, 525, 526, 530]) {
        const prompt = `[[status=${status}]] proven`;
        const before = await paidRequests(dialect, picturePath);
        const answer = await generate(dialect, prompt);
        expect([status, answer.status, answer.headers.get("x-should-retry")]).toEqual([status, status, null]);
        // One attempt at each of the two backends.
        expect((await paidRequests(dialect, picturePath)) - before).toBe(2);
        const once = await generate(dialect, `${prompt}[[only=${dialect}-one]]`);
        expect(once.status).toBe(200);
      }
      const submits = await Promise.all(serversOf(dialect).map((backend) => backend.submits()));
      expect(submits.flat().filter(({ prompt }) => prompt.includes("[[only="))).toHaveLength(7);
    };
    await Promise.all(dialectNames.map(ofDialect));
  });
});

it("a 524 is a 504 of ours with its own code, and nobody's fault", async () => {
  const answer = await generate("mapped", "[[status=524]]");
  const body = (await answer.json()) as { error: { code: string; message: string } };
  expect([answer.status, body.error.code]).toEqual([504, "edge_read_timeout"]);
  expect(body.error.message).toContain("charged");
});

it("a client's Idempotency-Key changes nothing, since no backend honours it", async () => {
  const before = await paidRequests("mapped", picturePath);
  const answer = await generate("mapped", "[[reset]]", { "idempotency-key": "k" });
  expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([502, "false"]);
  expect((await paidRequests("mapped", picturePath)) - before).toBe(1);
});

describe("a backend that refuses connections from the start", () => {
  let fleet: EdgeSystem;
  let alive: readonly TestBackend[];
  beforeAll(async () => {
    const server = { models: ["jimeng-4.5"] };
    const [dead, ...others] = await startBackends([
      { name: "dead", server: { models: ["jimeng-4.5", "only-here"] } },
      ...dialectNames.map((dialect) => ({ name: dialect, dialect, server })),
    ]);
    alive = others;
    await dead!.kill();
    fleet = await startEdgeBefore([dead!, ...alive]);
  });
  afterAll(() => fleet.stop());

  async function tenAtATime(count: number, work: (index: number) => Promise<void>): Promise<void> {
    let left = count;
    const worker = async (): Promise<void> => {
      while (left > 0) await work((left -= 1));
    };
    await Promise.all(Array.from({ length: 10 }, worker));
  }

  it("costs none of 100 generations: a ping goes before the first one", async () => {
    const statuses: number[] = [];
    await tenAtATime(100, async () => {
      statuses.push((await fleet.post(picturePath, { model: "jimeng-4.5", prompt: "x" })).status);
    });
    expect(statuses).toEqual(Array.from({ length: 100 }, () => 200));
    const submits = await Promise.all(alive.map((backend) => backend.submitCount()));
    expect(submits.reduce((sum, count) => sum + count)).toBe(100);
  });

  it("and alone could serve is answered 502, provably unexecuted, so an SDK may send again", async () => {
    const answer = await fleet.post(picturePath, { model: "only-here", prompt: "x" });
    expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([502, "true"]);
    expect(await answer.json()).toMatchObject({ error: { code: "backend_unreachable" }, code: -3020 });
  });

  const dead = { prompt: "x", token: "dead-1", messages: [{ role: "user", content: "x" }] };
  const mistakes: readonly (readonly [name: string, body: unknown, token: string])[] = [
    ["a dead token", dead, "dead-1"],
    ["an empty account", { ...dead, token: "broke-1" }, "broke-1"],
    ["bad parameters", { size: "1024x1024", prompt: "x" }, "a-session"],
    ["a missing prompt", { nothing: true }, "a-session"],
    ["a blocked prompt", { prompt: "[[code=-2006]]", messages: [{ role: "user", content: "[[code=-2006]]" }] }, "a"],
    ["JSON that is none", "not an object", "a-session"],
  ];

  it.each(mistakes)(
    "is the only one with a state: %s ×100 over three dialects is nobody's fault",
    async (_name, body, token) => {
      await tenAtATime(100, async (index) => {
        const route = index % 10 === 0 ? "/token/check" : index % 2 === 0 ? picturePath : chatPath;
        const answer = await fleet.post(route, body, { authorization: `Bearer ${token}` });
        await answer.arrayBuffer();
      });
      const { servers } = (await (await fleet.operate("/api/ip-preference")).json()) as {
        servers: { name: string; state: string; consecutiveFailures?: number; consecutive_failures?: number }[];
      };
      const states = servers
        .filter(({ name }) => name !== "dead")
        .map((server) => [server.state, server.consecutiveFailures ?? server.consecutive_failures]);
      expect(states).toEqual(alive.map(() => ["healthy", 0]));
    },
  );
});

it("servers that are gone, and for which a gateway answers 502, 503 or 504 at once, cost no generation", async () => {
  const gone = await Promise.all([502, 503, 504].map((status) => TestBackend.start({ name: `gone-${status}` })));
  await Promise.all(gone.map((one, index) => one.fault({ kind: "status", status: 502 + index })));
  const well = await TestBackend.start({ name: "well" });
  const fleet = await startEdgeBefore([...gone, well]);
  try {
    const statuses: number[] = [];
    for (let index = 0; index < 30; index += 1) statuses.push((await fleet.post(picturePath, { prompt: "x" })).status);
    expect(statuses).toEqual(Array.from({ length: 30 }, () => 200));
    expect(await well.submitCount()).toBe(30);
  } finally {
    await fleet.stop();
  }
});
