/** The stand-ins are what every end-to-end claim rests on, so they are held to the facts measured on real servers. */
import { createConnection } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { DemoBackend } from "../../demo/backend-server.ts";
import { dialectNames, type DialectName } from "../../demo/dialect.ts";
import { demoDefaults, type DemoOptions } from "../../demo/state.ts";

const running: DemoBackend[] = [];
afterEach(() => {
  for (const backend of running.splice(0)) backend.close();
});

interface Started {
  readonly url: string;
  readonly control: string;
  readonly port: number;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  submits(): Promise<{ total: number; submits: { state: string; charged: boolean; clientGone: boolean }[] }>;
  fault(fault: unknown): Promise<Response>;
}

async function start(dialect: DialectName, options: Partial<DemoOptions> = {}): Promise<Started> {
  const quick = { imageMs: 0, videoMs: 0, retryGapMs: 1, dotMs: 5 };
  const backend = new DemoBackend({ ...demoDefaults, ...quick, dialect, ...options });
  running.push(backend);
  const { port, controlPort } = await backend.listen();
  const url = `http://127.0.0.1:${port}`;
  const control = `http://127.0.0.1:${controlPort}/__demo`;
  return {
    url,
    control,
    port,
    post: (path, body, headers = { authorization: "Bearer demo" }) =>
      fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    submits: async () => (await fetch(`${control}/submits`)).json() as never,
    fault: (fault) => fetch(`${control}/fault`, { method: "PUT", body: JSON.stringify(fault) }),
  };
}

/** A GET over a bare socket: the bytes, and how the connection ended; `enough` ends it from this side. */
function rawGet(port: number, path: string, enough?: string): Promise<{ text: string; end: string }> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      if (enough !== undefined && text.includes(enough)) socket.end();
    });
    socket.on("end", () => resolve({ text, end: "fin" }));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ text, end: error.code ?? "error" }));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: demo\r\n\r\n`);
  });
}

const submitted = async (backend: Started, count: number): Promise<void> =>
  expect.poll(async () => (await backend.submits()).total).toBe(count);

describe("routes", () => {
  it("every dialect answers /ping as text, to HEAD too", async () => {
    for (const dialect of dialectNames) {
      const { url } = await start(dialect);
      const answer = await fetch(`${url}/ping`);
      expect([answer.status, await answer.text()]).toEqual([200, "pong"]);
      expect(answer.headers.get("content-type")).toContain("text/plain");
      const head = await fetch(`${url}/ping`, { method: "HEAD" });
      expect([head.status, await head.text()]).toEqual([200, ""]);
    }
  });

  it("the lists of models differ between dialects, and one of them names a model twice", async () => {
    const lists = await Promise.all(
      dialectNames.map(async (dialect) => {
        const { url } = await start(dialect);
        const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
        return data.map(({ id }) => id);
      }),
    );
    expect(new Set(lists.map((list) => list.join())).size).toBe(3);
    expect(lists.some((list) => new Set(list).size < list.length)).toBe(true);
  });

  it("a picture is four links, and the links load", async () => {
    for (const dialect of dialectNames) {
      const backend = await start(dialect);
      const answer = await backend.post("/v1/images/generations", { prompt: "a cat" });
      const { created, data } = (await answer.json()) as { created: number; data: { url: string }[] };
      expect(created).toBeGreaterThan(1_700_000_000);
      expect(data).toHaveLength(4);
      expect((await fetch(data[0]?.url ?? "")).status).toBe(200);
    }
  });

  it("multipart is read, and a composition wants one to ten pictures", async () => {
    const backend = await start("flat-1");
    const form = new FormData();
    form.set("prompt", "mix");
    form.append("images", new Blob(["one"]), "1.png");
    form.append("images", new Blob(["two"]), "2.png");
    const headers = { authorization: "Bearer demo" };
    const send = (body: FormData): Promise<Response> =>
      fetch(`${backend.url}/v1/images/compositions`, { method: "POST", headers, body });
    expect(await (await send(form)).json()).toHaveProperty("data");
    const empty = new FormData();
    empty.set("prompt", "mix");
    expect(await (await send(empty)).json()).toMatchObject({ code: -2000 });
  });

  it("flat-1 has no chat, flat-2 neither compositions nor videos: those are unknown routes", async () => {
    const missing: readonly [DialectName, string][] = [
      ["flat-1", "/v1/chat/completions"],
      ["flat-2", "/v1/images/compositions"],
      ["flat-2", "/v1/videos/generations"],
      ["flat-2", "/v1/async/videos/generations"],
    ];
    for (const [dialect, path] of missing) {
      const backend = await start(dialect);
      const answer = await backend.post(path, { prompt: "x", messages: [] });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ code: -1000, message: expect.stringContaining("请求有误") });
    }
  });

  it("usage is counted per process, by session", async () => {
    const backend = await start("mapped");
    const other = await start("mapped");
    for (const session of ["s1", "s1", "hk-s2"]) {
      await backend.post("/v1/images/generations", { prompt: "x" }, { authorization: `Bearer ${session}` });
    }
    await backend.post("/v1/videos/generations", { prompt: "x" }, { authorization: "Bearer s1" });
    const stats = (await (await fetch(`${backend.url}/usage/stats`)).json()) as { data: unknown; date: string };
    expect(stats.data).toEqual({
      total_sessions: 2,
      active_sessions_today: 2,
      total_images_today: 3,
      total_videos_today: 1,
      total_avatars_today: 0,
      avg_images_per_session: 1.5,
      avg_videos_per_session: 0.5,
      avg_avatars_per_session: 0,
    });
    expect(await (await fetch(`${backend.url}/usage/session/s1`)).json()).toMatchObject({
      data: { session_id: "s1", image_count: 2, video_count: 1, remaining_images: 8, remaining_videos: 1 },
    });
    expect(await (await fetch(`${other.url}/usage/stats`)).json()).toMatchObject({ data: { total_sessions: 0 } });
  });

  it("a task lives in its own process: another one answers -2010", async () => {
    const home = await start("mapped");
    const other = await start("mapped");
    const submit = (await (await home.post("/v1/async/images/generations", { prompt: "x" })).json()) as {
      data: { task_id: string; status: string };
    };
    expect(submit.data.status).toBe("pending");
    const path = `/v1/async/tasks/${submit.data.task_id}`;
    const status = async (): Promise<unknown> => (await fetch(`${home.url}${path}/status`)).json();
    await expect.poll(status).toMatchObject({ data: { status: "completed", has_result: true, progress: 100 } });
    const result = (await (await fetch(`${home.url}${path}/result`)).json()) as { data: { result: unknown } };
    expect(result.data.result).toMatchObject({ data: expect.any(Array) });
    const elsewhere = await fetch(`${other.url}${path}/status`);
    expect(elsewhere.status).toBe(500);
    expect(await elsewhere.json()).toMatchObject({ code: -2010, message: expect.stringContaining("任务不存在") });
  });

  it("a task that is not ready, failed or was cancelled says so by its code", async () => {
    const backend = await start("flat-2");
    const submit = async (prompt: string): Promise<string> => {
      const answer = (await (await backend.post("/v1/async/images/generations", { prompt })).json()) as {
        data: { task_id: string };
      };
      return `${backend.url}/v1/async/tasks/${answer.data.task_id}`;
    };
    const result = async (task: string): Promise<unknown> => (await fetch(`${task}/result`)).json();
    const slow = await submit("[[delay=60000]]");
    expect(await result(slow)).toMatchObject({ code: -2011 });
    await fetch(slow, { method: "DELETE" });
    expect(await result(slow)).toMatchObject({ code: -2013 });
    const broken = await submit("[[code=-2007]]");
    await expect.poll(() => result(broken)).toMatchObject({ code: -2012 });
  });
});

describe("errors", () => {
  const table: readonly [code: number, mapped: number][] = [
    [-1000, 500],
    [-2000, 400],
    [-2001, 500],
    [-2002, 401],
    [-2003, 400],
    [-2004, 413],
    [-2006, 400],
    [-2007, 500],
    [-2008, 500],
    [-2009, 402],
    [-2010, 500],
    [-2011, 500],
    [-2012, 500],
    [-2013, 500],
  ];

  it("every code comes in its dialect's status, in the one shape", async () => {
    for (const dialect of dialectNames) {
      const backend = await start(dialect);
      for (const [code, mapped] of table) {
        const answer = await backend.post("/v1/images/generations", { prompt: `[[code=${code}]]` });
        expect([dialect, code, answer.status]).toEqual([dialect, code, dialect === "mapped" ? mapped : 200]);
        expect(await answer.json()).toEqual({ code, message: expect.any(String), data: null });
      }
    }
  });

  it("what is refused before it is sent to Jimeng leaves no submit; what Jimeng refuses does", async () => {
    const backend = await start("mapped");
    for (const code of [-2000, -2002, -2003, -2004]) {
      await backend.post("/v1/images/generations", { prompt: `[[code=${code}]]` });
    }
    await backend.post("/v1/images/generations", { prompt: "x", size: "1x1" });
    expect((await backend.submits()).total).toBe(0);
    for (const code of [-2001, -2006, -2007, -2009, -1000]) {
      await backend.post("/v1/images/generations", { prompt: `[[code=${code}]]` });
    }
    const { total, submits } = await backend.submits();
    expect(total).toBe(5);
    expect(submits.some(({ charged }) => charged)).toBe(false);
  });

  it("a client's mistakes are named as the real servers name them", async () => {
    const backend = await start("mapped");
    const cases: readonly [Promise<Response>, number, number, string][] = [
      [backend.post("/v1/images/generations", { prompt: "x" }, {}), 400, -2000, "Params headers.authorization invalid"],
      [backend.post("/v1/images/generations", {}), 400, -2000, "Params body.prompt invalid"],
      [backend.post("/v1/images/generations", "{nonsense"), 500, -1000, "无效的JSON格式"],
      [backend.post("/v1/images/generations", { prompt: "x", width: 9 }), 500, -1000, "不支持的参数"],
      [fetch(`${backend.url}/no-such-route`), 500, -1000, "[请求有误]"],
    ];
    for (const [pending, status, code, message] of cases) {
      const answer = await pending;
      expect(answer.status).toBe(status);
      expect(await answer.json()).toMatchObject({ code, message: expect.stringContaining(message) });
    }
  });

  it("a dead token is 401/-2002, 200/-2001 or live:false, by dialect", async () => {
    const check = async (dialect: DialectName): Promise<[number, unknown]> => {
      const backend = await start(dialect);
      const answer = await backend.post("/token/check", { token: "us-dead-1" });
      return [answer.status, await answer.json()];
    };
    expect(await check("mapped")).toEqual([401, { code: -2002, message: expect.any(String), data: null }]);
    expect(await check("flat-1")).toEqual([200, { live: false }]);
    expect(await check("flat-2")).toEqual([200, { code: -2001, message: expect.any(String), data: null }]);
    const alive = await start("mapped");
    expect(await (await alive.post("/token/check", { token: "fine" })).json()).toEqual({ live: true });
  });

  it("mapped sends its headers with every answer", async () => {
    const { port } = await start("mapped");
    const { text } = await rawGet(port, "/v1/models", '{"data"');
    for (const line of [
      "Vary: Origin",
      "Access-Control-Allow-Origin: *",
      "Accept-Ranges: bytes",
      "Content-Type: application/json; charset=utf-8",
      "Connection: keep-alive",
      "Keep-Alive: timeout=5",
    ]) {
      expect(text).toContain(`\r\n${line}\r\n`);
    }
  });

  it("an idle connection is closed after five seconds", { timeout: 10_000 }, async () => {
    const { port } = await start("flat-2");
    const began = performance.now();
    expect((await rawGet(port, "/ping")).end).toBe("fin");
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(4500);
    expect(took).toBeLessThan(6500);
  });
});

describe("chat", () => {
  interface Chunk {
    readonly id: string;
    readonly choices: readonly [{ index: number; delta: { content: string }; finish_reason: string | null }];
  }
  const ask = (content: string, model = "jimeng-4.5"): Record<string, unknown> => ({
    model,
    stream: true,
    messages: [{ role: "user", content }],
  });
  const chunks = (text: string): Chunk[] =>
    text
      .split("\n\n")
      .filter((line) => line.startsWith("data: {"))
      .map((line) => JSON.parse(line.slice(6)) as Chunk);

  it("a stream changes its ids, climbs its index and ends with [DONE]", async () => {
    const backend = await start("flat-2");
    const answer = await backend.post("/v1/chat/completions", ask("a cat"));
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    const text = await answer.text();
    const seen = chunks(text);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
    expect(seen.map(({ choices }) => choices[0].index)).toEqual(seen.map((_, index) => index));
    expect(seen[1]?.choices[0].delta.content).toMatch(/^!\[image_0\]\(http/);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it("the first chunk of a stream comes before anything is submitted", async () => {
    const backend = await start("mapped");
    const answer = await backend.post("/v1/chat/completions", ask("[[code=-2002]]"));
    const seen = chunks(await answer.text());
    expect(answer.status).toBe(200);
    expect(seen[0]?.choices[0].delta.content).toContain("生成中");
    expect(seen[1]?.choices[0]).toMatchObject({
      delta: { content: expect.stringContaining("生成图片失败") },
      finish_reason: "stop",
    });
    expect((await backend.submits()).total).toBe(0);
  });

  it("a video's stream sends dots while it waits, and stop twice", async () => {
    const backend = await start("mapped", { videoMs: 40 });
    const text = await (await backend.post("/v1/chat/completions", ask("waves", "jimeng-video-3.0"))).text();
    const seen = chunks(text).map(({ choices }) => choices[0]);
    expect(seen.some(({ delta }) => delta.content === ".")).toBe(true);
    expect(seen.filter(({ finish_reason }) => finish_reason === "stop")).toHaveLength(2);
  });

  it("without stream a failing request is submitted four times", async () => {
    const backend = await start("mapped");
    const answer = await backend.post("/v1/chat/completions", { ...ask("[[code=-2001]]"), stream: false });
    expect([answer.status, await answer.json()]).toMatchObject([500, { code: -2001 }]);
    expect((await backend.submits()).total).toBe(4);
  });
});

describe("behaviour on demand", () => {
  it("a client that leaves does not stop its job: it finishes and is charged", async () => {
    const backend = await start("mapped");
    const leave = new AbortController();
    const request = fetch(`${backend.url}/v1/images/generations`, {
      method: "POST",
      headers: { authorization: "Bearer a", "content-type": "application/json" },
      body: JSON.stringify({ prompt: "[[delay=150]] x" }),
      signal: leave.signal,
    }).catch((error: Error) => error.name);
    await submitted(backend, 1);
    leave.abort();
    expect(await request).toBe("AbortError");
    await expect
      .poll(async () => (await backend.submits()).submits[0])
      .toMatchObject({ state: "done", charged: true, clientGone: true });
  });

  it("[[reset]] comes after the submit and [[reset=before]] before it", async () => {
    const backend = await start("mapped");
    await expect(backend.post("/v1/images/generations", { prompt: "[[reset=before]]" })).rejects.toThrow(
      "fetch failed",
    );
    expect((await backend.submits()).total).toBe(0);
    await expect(backend.post("/v1/images/generations", { prompt: "[[reset]]" })).rejects.toThrow("fetch failed");
    await expect.poll(async () => (await backend.submits()).submits[0]).toMatchObject({ charged: true });
  });

  it("[[cut]] breaks off inside the body, [[garbage]] is no JSON, [[status]] is a gateway's page", async () => {
    const backend = await start("mapped");
    const send = (prompt: string): Promise<Response> => backend.post("/v1/images/generations", { prompt });
    await expect((await send("[[cut]]")).text()).rejects.toThrow(/terminated|aborted/);
    const garbage = await send("[[garbage]]");
    await expect(garbage.json()).rejects.toThrow(SyntaxError);
    await expect(send("[[garbage=http]]")).rejects.toThrow("fetch failed");
    const page = await send("[[status=503]][[retry-after=7]]");
    expect([page.status, page.headers.get("retry-after"), page.headers.get("content-type")]).toEqual([
      503,
      "7",
      "text/html",
    ]);
  });

  it("[[silent]] never sends a byte, and its job is charged", async () => {
    const backend = await start("mapped");
    const request = fetch(`${backend.url}/v1/images/generations`, {
      method: "POST",
      headers: { authorization: "Bearer a", "content-type": "application/json" },
      body: JSON.stringify({ prompt: "[[silent]]" }),
      signal: AbortSignal.timeout(300),
    });
    await expect(request).rejects.toThrow(/timeout/);
    expect((await backend.submits()).submits[0]).toMatchObject({ charged: true });
  });

  it("[[b64]] sizes the answer", async () => {
    const backend = await start("mapped");
    const answer = await backend.post("/v1/images/generations", { prompt: "[[b64=1MiB]][[count=2]]" });
    const { data } = (await answer.json()) as { data: { b64_json: string }[] };
    expect(data.map(({ b64_json }) => b64_json.length)).toEqual([524288, 524288]);
  });

  it("[[only]] holds on one backend and [[once]] one time", async () => {
    const a = await start("mapped", { name: "a" });
    const b = await start("mapped", { name: "b" });
    const status = async (backend: Started, prompt: string): Promise<number> =>
      (await backend.post("/v1/images/generations", { prompt })).status;
    expect(await status(a, "[[code=-2001]][[only=a]]")).toBe(500);
    expect(await status(b, "[[code=-2001]][[only=a]]")).toBe(200);
    expect([await status(a, "[[status=502]][[once]]"), await status(a, "[[status=502]][[once]]")]).toEqual([502, 200]);
  });

  it("markers in a query hold for routes without a prompt", async () => {
    const { url } = await start("mapped");
    const get = (markers: string): Promise<Response> => fetch(`${url}/v1/models?demo=${encodeURIComponent(markers)}`);
    expect((await get("[[status=502]]")).status).toBe(502);
    await expect(get("[[reset]]")).rejects.toThrow("fetch failed");
    expect((await get("[[code=-1000]]")).status).toBe(500);
  });
});

describe("faults of a whole server", () => {
  it("refuse closes the listener until the fault is cleared; the control endpoint stays", async () => {
    const backend = await start("mapped");
    await backend.fault({ kind: "refuse" });
    expect((await rawGet(backend.port, "/ping")).end).toBe("ECONNREFUSED");
    await fetch(`${backend.control}/fault`, { method: "DELETE" });
    expect((await fetch(`${backend.url}/ping`)).status).toBe(200);
  });

  it("reset, garbage and freeze befall every connection", async () => {
    const backend = await start("mapped");
    const during = async (kind: string): Promise<{ text: string; end: string }> => {
      await backend.fault({ kind });
      const seen = await rawGet(backend.port, "/ping");
      await fetch(`${backend.control}/fault`, { method: "DELETE" });
      return seen;
    };
    expect(await during("reset")).toEqual({ text: "", end: "ECONNRESET" });
    expect((await during("garbage")).text).toContain("not HTTP");
    await backend.fault({ kind: "freeze" });
    await expect(fetch(`${backend.url}/ping`, { signal: AbortSignal.timeout(200) })).rejects.toThrow(/timeout/);
  });

  it("/ping can be dead while the rest lives, for a number of requests", async () => {
    const backend = await start("mapped");
    await backend.fault({ kind: "status", status: 500, path: "/ping", times: 2 });
    const pings = async (): Promise<number> => (await fetch(`${backend.url}/ping`)).status;
    expect((await fetch(`${backend.url}/v1/models`)).status).toBe(200);
    expect([await pings(), await pings(), await pings()]).toEqual([500, 500, 200]);
  });

  it("upstream-down fails generations while /ping answers", async () => {
    const backend = await start("mapped");
    await backend.fault({ kind: "upstream-down" });
    const answer = await backend.post("/v1/images/generations", { prompt: "x" });
    expect([answer.status, await answer.json()]).toMatchObject([500, { code: -1000 }]);
    expect((await backend.submits()).total).toBe(0);
    expect((await fetch(`${backend.url}/ping`)).status).toBe(200);
  });

  it("an unknown fault is refused with what is allowed", async () => {
    const backend = await start("mapped");
    const answer = await backend.fault({ kind: "explode" });
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: expect.stringContaining("upstream-down") },
    ]);
  });
});

describe("the echo beyond the list", () => {
  it("shapes its caching headers and honours If-None-Match", async () => {
    const { url } = await start("mapped");
    const first = await fetch(`${url}/test/a?cc=max-age=5&etag=v1&vary=Accept`);
    expect([first.headers.get("cache-control"), first.headers.get("etag")]).toEqual(["max-age=5", '"v1"']);
    const again = await fetch(`${url}/test/a?etag=v1`, { headers: { "if-none-match": '"v1"' } });
    expect(again.status).toBe(304);
  });
});
