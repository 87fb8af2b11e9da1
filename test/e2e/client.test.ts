/** What a client sees through the edge, with the clients that people use. */
import { createHash, randomBytes } from "node:crypto";
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type EdgeSystem } from "./edge.ts";

let system: EdgeSystem;
beforeAll(async () => {
  system = await startSystem({
    backends: [
      { name: "mapped", dialect: "mapped" },
      { name: "flat-1", dialect: "flat-1" },
      { name: "flat-2", dialect: "flat-2" },
    ],
  });
});
afterAll(() => system.stop());

const clientOf = (base: string): OpenAI => new OpenAI({ apiKey: "a-session", baseURL: `${system.url}${base}` });

/** Both forms that users have: a domain of its own, and a path of their site. */
describe.each(["/v1", "/api/v1"])("the OpenAI SDK at %s", (base) => {
  it("lists the models of the whole fleet, each once", async () => {
    const { data } = await clientOf(base).models.list();
    const ids = data.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(["jimeng-4.5", "jimeng-video-3.0-pro", "jimeng-2.1"]));
  });

  it("makes a picture", async () => {
    const { data } = await clientOf(base).images.generate({ model: "jimeng-4.5", prompt: "a cat" });
    expect(data).toHaveLength(4);
    expect(data?.[0]?.url).toMatch(/^http/);
  });

  it("makes a picture in a chat", async () => {
    const answer = await clientOf(base).chat.completions.create({
      model: "jimeng-4.5",
      messages: [{ role: "user", content: "a cat" }],
    });
    expect(answer.choices[0]?.message.content).toMatch(/^!\[image_0\]\(http/);
  });

  it("streams a chat, its first chunk before the picture is done", async () => {
    const began = performance.now();
    const stream = await clientOf(base).chat.completions.create({
      model: "jimeng-4.5",
      stream: true,
      messages: [{ role: "user", content: "[[delay=1200]] a cat" }],
    });
    let text = "";
    let firstAfterMs = 0;
    for await (const chunk of stream) {
      if (text === "") firstAfterMs = performance.now() - began;
      text += chunk.choices[0]?.delta.content ?? "";
    }
    expect(text).toContain("![image_0](http");
    expect(firstAfterMs).toBeLessThan(1000);
    expect(performance.now() - began).toBeGreaterThan(1200);
  });

  it("makes a video, on one of the servers that can", async () => {
    const answer = await clientOf(base).chat.completions.create({
      model: "jimeng-video-3.0",
      messages: [{ role: "user", content: "waves" }],
    });
    expect(answer.choices[0]?.message.content).toMatch(/^!\[video\]\(http/);
  });

  it("gets a failed generation as an error that it does not send again", async () => {
    const prompt = `[[code=-2007]] ${base}`;
    const failure = await clientOf(base)
      .images.generate({ prompt })
      .then(
        () => null,
        (error: unknown) => error,
      );
    expect(failure).toBeInstanceOf(APIError);
    const submits = await Promise.all(system.backends.map((backend) => backend.submits(prompt)));
    expect(submits.flat()).toHaveLength(1);
  });
});

describe("plain HTTP", () => {
  it("checks a token; a dead one is the token's fault, so every backend stays healthy", async () => {
    const alive = await system.post("/token/check", { token: "fine" });
    expect(await alive.json()).toEqual({ live: true });
    for (let index = 0; index < 12; index += 1) await system.post("/token/check", { token: "dead-one" });
    const health = (await (await system.get("/health")).json()) as { backends: { healthy: boolean }[] };
    expect(health.backends.map(({ healthy }) => healthy)).toEqual([true, true, true]);
  });

  it("usage is that of the whole fleet", async () => {
    for (let index = 0; index < 6; index += 1) {
      const answer = await system.post("/v1/images/generations", { prompt: "x" }, { authorization: "Bearer counted" });
      expect(answer.status).toBe(200);
    }
    const session = (await (await system.get("/usage/session/counted")).json()) as { data: { image_count: number } };
    expect(session.data.image_count).toBe(6);
  });

  it("a task is found again, whichever server took it", async () => {
    for (let index = 0; index < 6; index += 1) {
      const submit = await system.post("/v1/async/images/generations", { prompt: `task ${index}` });
      const { data } = (await submit.json()) as { data: { task_id: string } };
      const status = async (): Promise<unknown> => (await system.get(`/v1/async/tasks/${data.task_id}/status`)).json();
      await expect.poll(status).toMatchObject({ data: { task_id: data.task_id, status: "completed" } });
    }
  });

  it("answers carry a request id and the backend's name, never its address", async () => {
    const answer = await system.get("/ping");
    expect(answer.headers.get("x-request-id")).toMatch(/./);
    expect(["mapped", "flat-1", "flat-2"]).toContain(answer.headers.get("x-jimeng-edge-backend"));
    const all = JSON.stringify([...answer.headers]);
    for (const { port } of system.backends) expect(all).not.toContain(String(port));
  });

  it("a browser's preflight is answered, and its answer may be read", async () => {
    const preflight = await fetch(`${system.url}/v1/images/generations`, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    expect(preflight.ok).toBe(true);
    expect(preflight.headers.get("access-control-allow-methods")).toContain("POST");
    const answer = await system.get("/ping", { origin: "https://app.example" });
    expect(answer.headers.get("access-control-allow-origin")).toMatch(/^(\*|https:\/\/app\.example)$/);
    expect(answer.headers.get("access-control-allow-origin")).not.toContain(",");
    expect(answer.headers.get("access-control-expose-headers")?.toLowerCase()).toContain("x-request-id");
  });

  it("what the servers leave open to everybody stays closed", async () => {
    for (const path of [
      "/proxy/config",
      "/dashboard",
      "/dashboard/x",
      "/v1/async/tasks",
      "/v1/async/tasks/stats",
      "/__demo/state",
    ]) {
      expect([path, (await system.get(path)).status]).toEqual([path, 404]);
      expect([path, (await system.get(`/api${path}`)).status]).toEqual([path, 404]);
    }
    expect((await system.post("/token/points", {})).status).toBe(404);
  });

  it("an operator sees the servers ranked with their addresses, a stranger nothing", async () => {
    expect((await system.get("/api/ip-preference")).status).toBe(401);
    const answer = await system.operate("/api/ip-preference");
    expect(answer.status).toBe(200);
    const { servers } = (await answer.json()) as { servers: { url: string; healthy: boolean }[] };
    expect(servers.map(({ url }) => url).sort()).toEqual(system.backends.map(({ url }) => url).sort());
    expect(servers.every(({ healthy }) => healthy)).toBe(true);
  });
});

describe("uploads", () => {
  let uploads: EdgeSystem;
  beforeAll(async () => {
    uploads = await startSystem({
      backends: [{ name: "a" }, { name: "b", dialect: "flat-1" }],
      config: { ROUTES: [{ path: "/test/*", methods: ["POST"], class: "query", cache: "none" }] },
    });
  });
  afterAll(() => uploads.stop());

  it("of pictures as multipart become a composition", async () => {
    const form = new FormData();
    form.set("prompt", "mix");
    form.append("images", new Blob([new Uint8Array(300_000).fill(7)], { type: "image/png" }), "a.png");
    const answer = await fetch(`${uploads.url}/v1/images/compositions`, {
      method: "POST",
      headers: { authorization: "Bearer a-session" },
      body: form,
    });
    expect([answer.status, await answer.json()]).toMatchObject([200, { data: expect.any(Array) }]);
  });

  it.each([0, 1000, 1024 * 1024, 5 * 1024 * 1024])("of %i bytes arrive byte for byte", async (size) => {
    const body = new Uint8Array(randomBytes(size));
    const answer = await fetch(`${uploads.url}/test/upload`, { method: "POST", body });
    const { bodyBytes, bodySha256 } = (await answer.json()) as { bodyBytes: number; bodySha256: string };
    expect(bodyBytes).toBe(size);
    expect(bodySha256).toBe(createHash("sha256").update(body).digest("hex"));
  });
});
