import { describe, expect, test } from "vitest";
import { passEvents, type StreamLimits } from "../../../src/worker/event-stream.ts";

const patient: StreamLimits = {
  idleMs: 60_000,
  ceilingMs: 60_000,
  expectsDone: true,
  followed: true,
  keepAliveMs: 40,
};

interface Source {
  readonly stream: ReadableStream<Uint8Array>;
  write(text: string): void;
  close(): void;
  fail(): void;
}

function source(): Source {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({
    start: (given) => {
      controller = given;
    },
  });
  return {
    stream,
    write: (text) => controller.enqueue(new TextEncoder().encode(text)),
    close: () => controller.close(),
    fail: () => controller.error(new Error("broke")),
  };
}

interface Stopped {
  count: number;
}

function pass(
  from: Source,
  limits: Partial<StreamLimits> = {},
  lost = false,
): ReturnType<typeof passEvents> & { readonly stopped: Stopped } {
  const stopped: Stopped = { count: 0 };
  const ends = { stop: () => void (stopped.count += 1), isLost: () => lost };
  return { ...passEvents(from.stream, { ...patient, ...limits }, ends), stopped };
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const event = 'data: {"a":1}\n\n';
const done = "data: [DONE]\n\n";

/** Reads the first so many pieces as text. */
async function pieces(body: ReadableStream<Uint8Array>, count: number): Promise<string[]> {
  const reader = body.getReader();
  const texts: string[] = [];
  while (texts.length < count) {
    const { done: isOver, value } = await reader.read();
    if (isOver) break;
    texts.push(new TextDecoder().decode(value));
  }
  reader.releaseLock();
  return texts;
}

describe("a comment keeps a silent stream warm", () => {
  test("between events", async () => {
    const from = source();
    const { body } = pass(from);
    from.write(event);
    expect(await pieces(body, 3)).toEqual([event, ": keep-alive\n\n", ": keep-alive\n\n"]);
  });

  test("before the first event", async () => {
    const { body } = pass(source());
    expect(await pieces(body, 1)).toEqual([": keep-alive\n\n"]);
  });

  test.each(["data: {", "data: {}\n", "event: x\n", "da"])("never inside of one: %j", async (half) => {
    const from = source();
    const { body } = pass(from);
    from.write(half);
    const read = pieces(body, 2);
    await wait(150);
    from.write("\n\n");
    expect(await read).toEqual([half, "\n\n"]);
  });

  test("not while events come in time", async () => {
    const from = source();
    const { body } = pass(from, { keepAliveMs: 200 });
    const read = pieces(body, 10);
    for (let index = 0; index < 10; index += 1) {
      from.write(event);
      await wait(20);
    }
    expect(await read).toEqual(Array.from({ length: 10 }, () => event));
  });
});

describe("the end of a stream", () => {
  test("with [DONE] is a success, byte for byte", async () => {
    const from = source();
    const { body, ended, stopped } = pass(from);
    from.write(event + done);
    from.close();
    expect(await new Response(body).text()).toBe(event + done);
    expect(await ended).toMatchObject({ outcome: { kind: "success" }, bytes: (event + done).length });
    expect(stopped.count).toBe(0);
  });

  test("after [DONE] is a success and nothing more, though the connection breaks or is kept open", async () => {
    for (const end of ["break", "stay"]) {
      const from = source();
      const { body, ended, stopped } = pass(from);
      from.write(event + done);
      if (end === "break") setTimeout(() => from.fail(), 20);
      expect(await new Response(body).text()).toBe(event + done);
      expect([end, (await ended).outcome.kind, stopped.count]).toEqual([end, "success", 1]);
    }
  });

  test("without [DONE] is an error event, where one is expected", async () => {
    const from = source();
    const { body, ended } = pass(from);
    from.write(event);
    from.close();
    expect(await new Response(body).text()).toContain('"code":"backend_answer_cut"');
    expect((await ended).outcome).toMatchObject({ kind: "backend_fault", executed: "unknown" });
    const other = source();
    const plain = pass(other, { expectsDone: false });
    other.write(event);
    other.close();
    expect(await new Response(plain.body).text()).toBe(event);
    expect((await plain.ended).outcome.kind).toBe("success");
  });

  test("by an error of the connection is an error event of its own, and closes that connection", async () => {
    const from = source();
    const { body, ended, stopped } = pass(from);
    from.write("data: {");
    const text = new Response(body).text();
    await wait(5);
    from.fail();
    expect(await text).toMatch(/^data: \{\n\ndata: \{"error":.*"backend_answer_cut"/);
    expect((await ended).outcome).toMatchObject({ kind: "backend_fault", reason: "cut" });
    expect(stopped.count).toBe(1);
  });

  test("by the registry's word that the backend is lost says so", async () => {
    const from = source();
    const { body, ended } = pass(from, {}, true);
    from.fail();
    expect(await new Response(body).text()).toContain('"code":"backend_lost"');
    expect((await ended).outcome).toMatchObject({ kind: "backend_fault", reason: "lost", executed: "unknown" });
  });

  test("by silence is nobody's fault, and comes at the idle limit though comments were sent", async () => {
    const { body, ended, stopped } = pass(source(), { idleMs: 150 });
    const text = await new Response(body).text();
    expect(text).toMatch(/^(?:: keep-alive\n\n)+data: \{"error":.*"deadline_exceeded"/);
    expect((await ended).outcome).toMatchObject({ kind: "unknown" });
    expect(stopped.count).toBe(1);
  });

  test("by the ceiling comes though events never cease", async () => {
    const from = source();
    const { body, ended } = pass(from, { ceilingMs: 150 });
    const timer = setInterval(() => from.write(event), 10);
    const text = await new Response(body).text();
    clearInterval(timer);
    expect(text).toContain('"deadline_exceeded"');
    expect((await ended).outcome.kind).toBe("unknown");
  });

  test("comes at the ceiling for a client that doesn't read, too, and breaks its connection", async () => {
    const from = source();
    const { body, ended } = pass(from, { ceilingMs: 100, keepAliveMs: 50 });
    for (let index = 0; index < 10; index += 1) from.write(event);
    expect((await ended).outcome.kind).toBe("unknown");
    await expect(new Response(body).text()).rejects.toThrow();
  });

  test("told as text is the account's fault or nobody's, never a success", async () => {
    const from = source();
    const { body, ended } = pass(from);
    const content = "生成图片失败: [登录失效]: x";
    from.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n${done}`);
    from.close();
    await new Response(body).text();
    expect((await ended).outcome).toMatchObject({ kind: "token_fault", executed: "unknown" });
  });
});

describe("a client that leaves", () => {
  test("ends a stream that nobody has paid for", async () => {
    const from = source();
    const { body, ended, stopped } = pass(from, { followed: false });
    from.write(event);
    await body.cancel();
    from.write(event);
    expect((await ended).outcome.kind).toBe("aborted");
    expect(stopped.count).toBe(1);
  });

  test("leaves a paid one running to its end, whose outcome counts", async () => {
    const from = source();
    const { body, ended, stopped } = pass(from);
    from.write(event);
    await body.cancel();
    from.write(event);
    from.write(done);
    from.close();
    expect(await ended).toMatchObject({ outcome: { kind: "success" }, bytes: (event + event + done).length });
    expect(stopped.count).toBe(0);
  });
});
