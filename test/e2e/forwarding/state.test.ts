/** What lives on one server, or differs between servers: tasks, counters, models, routes, room. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startEdgeBefore, startSystem, type EdgeSystem, type TestBackend } from "../edge.ts";
import { everyLeaseEnds } from "./observed.ts";

const chat = (content: string): Record<string, unknown> => ({
  model: "jimeng-4.5",
  messages: [{ role: "user", content }],
});

async function requestsTo(backend: TestBackend, route: string): Promise<number> {
  return (await backend.counts())[route] ?? 0;
}

async function codeOf(answer: Response): Promise<unknown> {
  return ((await answer.json()) as { error?: { code?: unknown } }).error?.code;
}

describe("tasks and room", () => {
  let system: EdgeSystem;
  const room = 3;
  const folder = mkdtempSync(join(tmpdir(), "jimeng-edge-tasks-"));
  beforeAll(async () => {
    system = await startSystem({
      backends: ["one", "two", "three"].map((name) => ({ name, server: { maxInFlight: room } })),
      stateFolder: folder,
    });
  });
  afterAll(async () => {
    await system.stop();
    rmSync(folder, { recursive: true });
  });

  async function submit(edge: EdgeSystem, prompt: string): Promise<{ id: string; backend: string }> {
    const answer = await edge.post("/v1/async/images/generations", { prompt });
    const { data } = (await answer.json()) as { data: { task_id: string } };
    return { id: data.task_id, backend: answer.headers.get("x-jimeng-edge-backend") ?? "" };
  }

  it("of a task: status, result and cancellation go to the server that made the task, whoever asks", async () => {
    for (let round = 0; round < 6; round += 1) {
      const { id, backend } = await submit(system, `[[delay=50]] ${round}`);
      const status = await system.get(`/v1/async/tasks/${id}/status`, { "cf-connecting-ip": `10.0.0.${round}` });
      expect([status.status, status.headers.get("x-jimeng-edge-backend")]).toEqual([200, backend]);
      const result = async (): Promise<number> => {
        const answer = await system.get(`/v1/async/tasks/${id}/result`);
        await answer.arrayBuffer();
        return answer.status;
      };
      await expect.poll(result).toBe(200);
    }
    const { id, backend } = await submit(system, "[[delay=60000]] to be cancelled");
    const cancelled = await fetch(`${system.url}/v1/async/tasks/${id}`, { method: "DELETE" });
    expect([cancelled.status, cancelled.headers.get("x-jimeng-edge-backend")]).toEqual([200, backend]);
    await everyLeaseEnds(system);
  });

  it("tasks of everybody are listed to nobody", async () => {
    for (const path of ["/v1/async/tasks", "/v1/async/tasks/stats", "/v1/async/tasks/", "/v1/async/stats"]) {
      expect([path, (await system.get(path)).status]).toEqual([path, 404]);
    }
  });

  it("room that is used up is 503 with Retry-After, provably unexecuted, and comes back", async () => {
    const running = Array.from({ length: room * system.backends.length }, (_, index) =>
      system.post("/v1/images/generations", { prompt: `[[delay=900]] ${index}` }),
    );
    const more = async (prompt: string): Promise<Response> => system.post("/v1/images/generations", { prompt });
    await expect.poll(async () => (await more("no room")).status, { interval: 10 }).toBe(503);
    const refused = await more("no room");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect([refused.headers.get("x-should-retry"), await codeOf(refused)]).toEqual(["true", "no_capacity"]);
    expect(new Set((await Promise.all(running)).map(({ status }) => status))).toEqual(new Set([200]));
    await everyLeaseEnds(system);
    expect((await more("room again")).status).toBe(200);
  });

  it("tasks survive the edge's restart; a task whose server has left the fleet is 410", async () => {
    const tasks = await Promise.all(Array.from({ length: 6 }, (_, index) => submit(system, `kept ${index}`)));
    await system.stopEdge();
    const [gone, ...left] = system.backends as [TestBackend, ...TestBackend[]];
    const smaller = await startEdgeBefore(left, { stateFolder: folder });
    try {
      for (const { id, backend } of tasks) {
        const answer = await smaller.get(`/v1/async/tasks/${id}/status`);
        if (backend === gone.name) expect([answer.status, await codeOf(answer)]).toEqual([410, "task_home_gone"]);
        else expect([answer.status, answer.headers.get("x-jimeng-edge-backend")]).toEqual([200, backend]);
      }
      expect(new Set(tasks.map(({ backend }) => backend)).has(gone.name)).toBe(true);
    } finally {
      await smaller.stopEdge();
    }
  });
});

describe("room in a fleet of which one server is frozen, and nobody knows it yet", () => {
  let system: EdgeSystem;
  const room = 2;
  beforeAll(async () => {
    system = await startSystem({
      backends: ["one", "two", "three"].map((name) => ({
        name,
        server: { maxInFlight: room, priority: name === "one" ? 1 : 2 },
      })),
      // The first are picked for the frozen one. Only they find out, each by its ping, when all have been picked.
      config: {
        WATCH: { proofOfLife: 0, pingTimeout: 1 },
        HEALTH_CHECK: { interval: 3600, timeout: 60 },
        EJECTION: { consecutive: 1000 },
      },
    });
    await system.get("/health");
    process.kill(system.backend("one").pid, "SIGSTOP");
  });
  afterAll(() => system.stop());

  const living = (): TestBackend[] => ["two", "three"].map((name) => system.backend(name));

  async function generated(count: number, what: string): Promise<Response[]> {
    const prompts = Array.from({ length: count }, (_, index) => `[[delay=2500]] ${what} ${index}`);
    return Promise.all(prompts.map((prompt) => system.post("/v1/images/generations", { prompt })));
  }

  it("is found for those that fail over, and no server gets more than its bound", async () => {
    const answers = await generated(2 * room, "as many as there is room for");
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(await Promise.all(living().map((backend) => backend.submitCount()))).toEqual([room, room]);
    await everyLeaseEnds(system);
  });

  it("is 503 with Retry-After for those that find none, and nothing was sent or charged for them", async () => {
    const before = await Promise.all(living().map((backend) => backend.submitCount()));
    const answers = await generated(3 * room, "more than there is room for");
    const refused = answers.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(room);
    for (const answer of refused) {
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      expect([answer.headers.get("x-should-retry"), await codeOf(answer)]).toEqual(["true", "no_capacity"]);
    }
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2 * room);
    const after = await Promise.all(living().map((backend) => backend.submitCount()));
    expect(after).toEqual(before.map((count) => count + room));
    await everyLeaseEnds(system);
  });
});

describe("a fleet of three dialects", () => {
  let system: EdgeSystem;
  beforeAll(async () => {
    system = await startSystem({
      backends: [
        { name: "flat-1", dialect: "flat-1", server: { priority: 1 } },
        { name: "flat-2", dialect: "flat-2", server: { priority: 1 } },
        { name: "mapped", server: { priority: 2 } },
      ],
      config: { BALANCE: { spillover: 10 }, CACHE: { ttl: { stats: 0 } } },
    });
  });
  afterAll(() => system.stop());

  it("lists its models without asking anybody twice, however many ask at once", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => system.get("/v1/models")));
    const lists = await Promise.all(answers.map(async (one) => (await one.json()) as { data: { id: string }[] }));
    for (const { data } of lists) {
      const ids = data.map(({ id }) => id);
      expect(ids).toEqual(expect.arrayContaining(["jimeng-4.0", "jimeng-3.1", "jimeng-2.1"]));
      expect(new Set(ids).size).toBe(ids.length);
    }
    // Once by the prober, and once for all those who asked before it had.
    for (const backend of system.backends) {
      expect(await requestsTo(backend, "GET /v1/models")).toBeLessThanOrEqual(2);
    }
  });

  it("sends a route that one server lacks to another, charges nothing for it, and remembers", async () => {
    const [first, second] = [system.backend("flat-1"), system.backend("flat-2")];
    for (let index = 0; index < 12; index += 1) {
      const answers = await Promise.all([
        system.post("/v1/chat/completions", chat(`chat ${index}`)),
        system.post("/v1/videos/generations", { prompt: `video ${index}` }),
        system.post("/v1/images/compositions", { prompt: `mix ${index}`, images: ["https://x.example/a.png"] }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    }
    // Refused once, perhaps by a few at the same time; never asked again.
    expect(await requestsTo(first, "POST /v1/chat/completions")).toBeLessThanOrEqual(1);
    expect(await requestsTo(second, "POST /v1/videos/generations")).toBeLessThanOrEqual(1);
    expect(await requestsTo(second, "POST /v1/images/compositions")).toBeLessThanOrEqual(1);
    for (const prefix of ["chat", "video", "mix"]) {
      const submits = await Promise.all(
        system.backends.flatMap((backend) =>
          Array.from({ length: 12 }, (_, index) => backend.submits(`${prefix} ${index}`)),
        ),
      );
      expect(submits.flat()).toHaveLength(12);
    }
  });

  it("learns no missing route from what a client wrote into a body that can't be read", async () => {
    const headers = { authorization: "Bearer a-session", "content-type": "application/json" };
    for (let index = 0; index < 3; index += 1) {
      const answer = await fetch(`${system.url}/v1/images/generations`, { method: "POST", headers, body: "请求有误" });
      expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([500, "false"]);
      expect(await answer.json()).toMatchObject({ code: -1000 });
    }
    expect((await system.post("/v1/images/generations", { prompt: "of somebody else" })).status).toBe(200);
  });

  it("sends a model to a server that lists it", async () => {
    for (let index = 0; index < 5; index += 1) {
      const answer = await system.post("/v1/images/generations", { model: "jimeng-2.1", prompt: "x" });
      expect([answer.status, answer.headers.get("x-jimeng-edge-backend")]).toEqual([200, "flat-2"]);
    }
  });

  it("keeps its servers' administration to itself", async () => {
    const closed =
      `GET /proxy/config, POST /proxy/config, POST /proxy/test, POST /proxy/enable, GET /dashboard, GET /dashboard/x,
      POST /token/points, POST /token/receive, GET /usage/export, POST /usage/cleanup, GET /PROXY/config, GET /proxy%2fconfig,
      GET /v1/../proxy/config, GET /token//points`.split(/,\s+/);
    for (const one of closed) {
      const [method = "", path = ""] = one.split(" ");
      const answer = await fetch(system.url + path, { method });
      expect([one, answer.status]).toEqual([one, 404]);
    }
    for (const backend of system.backends) {
      const reached = Object.keys(await backend.counts()).filter((route) =>
        /proxy|dashboard|points|receive|export|cleanup/i.test(route),
      );
      expect(reached).toEqual([]);
    }
  });

  it("adds up its usage, with averages of the sums, one dead server or not", async () => {
    const headers = { authorization: "Bearer counted-session" };
    for (let index = 0; index < 4; index += 1) await system.post("/v1/images/generations", { prompt: "x" }, headers);
    interface Stats {
      readonly data: { total_images_today: number; active_sessions_today: number; avg_images_per_session: number };
      readonly meta: Record<string, unknown>;
    }
    const stats = async (): Promise<Stats> => (await (await system.get("/usage/stats")).json()) as Stats;
    const before = await stats();
    const own = await Promise.all(
      system.backends.map(async ({ url }) => (await (await fetch(`${url}/usage/stats`)).json()) as Stats),
    );
    const sum = (field: "total_images_today" | "active_sessions_today"): number =>
      own.reduce((total, { data }) => total + data[field], 0);
    expect(before.data).toMatchObject({
      total_images_today: sum("total_images_today"),
      avg_images_per_session: sum("total_images_today") / sum("active_sessions_today"),
    });
    expect(before.meta).toEqual({ backends_asked: 3, backends_answered: 3, sessions: "upper bound" });
    const session = (await (await system.get("/usage/session/counted-session")).json()) as {
      data: { image_count: number; remaining_images: number };
    };
    expect(session.data).toMatchObject({ image_count: 4, remaining_images: 6 });

    await system.backend("mapped").kill();
    const after = await system.get("/usage/stats");
    expect(after.status).toBe(200);
    expect(((await after.json()) as Stats).meta["backends_answered"]).toBe(2);
    const history = await system.get("/usage/session/counted-session/history");
    expect([history.status, (await system.get("/usage/range")).status]).toEqual([200, 200]);
  });
});
