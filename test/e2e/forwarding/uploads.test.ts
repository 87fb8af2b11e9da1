/**
 * Uploads that are announced and do not come: given up after a while, with nobody blamed and nothing held for them. And
 * clients that leave, as one backend sees it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { becomes, everyLeaseEnds, inFlight, serversOf } from "./observed.ts";
import { chunk, head, whole, type RawBackend } from "./raw-backend.ts";
import { askInPieces, openRaw, requestBytes, valuesOf, type RawAnswer } from "./raw-client.ts";
import { startRawSystem, type RawSystem } from "./raw-system.ts";

const idleMs = 1000;
let raw: RawSystem;
beforeAll(async () => {
  raw = await startRawSystem({ config: { DEADLINES: { uploadIdle: idleMs / 1000, uploadRate: 1000 } } });
});
afterAll(() => raw.stop());

function backend(): RawBackend {
  return raw.backends[0] as RawBackend;
}

const json = { "Content-Type": "application/json", Authorization: "Bearer a" };
const multipart = { "Content-Type": "multipart/form-data; boundary=b", Authorization: "Bearer a" };

interface Told {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** All that is said until the connection ends. */
function told(socket: Socket): Promise<Told> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (bytes: Buffer) => (text += bytes.toString("utf8")));
    socket.once("close", () => {
      const end = text.indexOf("\r\n\r\n");
      resolve({ status: Number(text.slice(9, 12)), head: text.slice(0, end).toLowerCase(), body: text.slice(end + 4) });
    });
  });
}

function announced(path: string, headers: Readonly<Record<string, string>>, sent: Buffer): Promise<Socket> {
  return openRaw(raw.edge.port, Buffer.concat([requestBytes(path, { method: "POST", headers }), sent]));
}

const some = Buffer.alloc(100_000, "x");
const silences = [
  ["a small body", "/v1/images/generations", { ...json, "Content-Length": "400" }, some.subarray(0, 100)],
  ["a body of which nothing comes", "/v1/images/generations", { ...json, "Content-Length": "900000" }, Buffer.alloc(0)],
  ["a body that is kept", "/v1/images/generations", { ...json, "Content-Length": "900000" }, some],
  ["a body without a length", "/v1/chat/completions", { ...json, "Transfer-Encoding": "chunked" }, chunk(some)],
  ["a cheap request's body", "/token/check", { ...json, "Content-Length": "90000" }, some.subarray(0, 5000)],
] as const;

describe("an upload that falls silent", () => {
  it.concurrent.each(silences)("is a 408 that may be sent again: %s", async (_what, path, headers, sent) => {
    const began = performance.now();
    const { status, head, body } = await told(await announced(path, headers, sent));
    expect(performance.now() - began).toBeGreaterThan(idleMs - 50);
    expect([status, /^x-should-retry: (.*)$/m.exec(head)?.[1]]).toEqual([408, "true"]);
    expect(JSON.parse(body)).toMatchObject({ error: { code: "request_timeout" }, code: -3033, data: null });
    expect(backend().requests.filter(({ target }) => target === path)).toEqual([]);
  });

  const passedOn = [
    ["multipart", "/v1/images/compositions", { ...multipart, "Content-Length": "3000000" }],
    ["large", "/v1/videos/generations", { ...json, "Content-Length": "3000000" }],
    ["large, without a length", "/v1/videos/generations", { ...json, "Transfer-Encoding": "chunked" }],
  ] as const;

  it.concurrent.each(passedOn)(
    "while it is passed on ends its lease and blames nobody: %s",
    async (what, path, headers) => {
      const large = Buffer.alloc(1_500_000, "x");
      const socket = await announced(path, headers, what.includes("without") ? chunk(large) : large);
      const answer = told(socket);
      await becomes(
        () => inFlight(raw.edge),
        (open) => open > 0,
        "leases in flight",
      );
      const { status, head, body } = await answer;
      expect([status, /^x-should-retry: (.*)$/m.exec(head)?.[1]]).toEqual([408, "false"]);
      expect(JSON.parse(body)).toMatchObject({ error: { code: "request_timeout" } });
      await everyLeaseEnds(raw.edge);
      expect((await serversOf(raw.edge)).map(({ state }) => state)).toEqual(["healthy"]);
    },
  );
});

describe("an upload that breaks off while it is passed on", () => {
  const large = Buffer.alloc(1_500_000, "x");
  const broken = [
    ["multipart", { ...multipart, "Content-Length": "3000000" }, large],
    ["multipart without a length", { ...multipart, "Transfer-Encoding": "chunked" }, chunk(large)],
    ["JSON without a length", { ...json, "Transfer-Encoding": "chunked" }, chunk(large)],
  ] as const;
  const manners = [
    ["reset", (socket: Socket) => socket.resetAndDestroy()],
    ["closed", (socket: Socket) => socket.destroy()],
  ] as const;

  it.concurrent.each(
    broken.flatMap(([what, headers, sent]) => manners.map((manner) => [what, ...manner, headers, sent] as const)),
  )("never seems whole to a backend: %s, %s", async (what, manner, leave, headers, sent) => {
    const path = `/test/broken-${what.replaceAll(" ", "-")}-${manner}`;
    const socket = await announced(path, headers, sent);
    await becomes(
      async () => raw.backends.some((one) => one.begun(path)),
      (isThere) => isThere,
      "the request's arrival",
    );
    leave(socket);
    await becomes(
      async () => raw.backends.some((one) => one.begun(path)),
      (isThere) => !isThere,
      "the connection's end",
    );
    expect(raw.backends.flatMap(({ requests }) => requests).filter(({ target }) => target === path)).toEqual([]);
  });
});

describe("a backend that ends an upload before all of it has come", () => {
  const ways = [
    ["multipart", "/v1/images/compositions", multipart],
    ["large", "/v1/videos/generations", json],
  ] as const;
  const forms = ways.flatMap(([what, ...way]) => [
    [what, ...way, true] as const,
    [`${what}, without a length`, ...way, false] as const,
  ]);

  const pieces = 60;
  /** JSON without a length is kept until it is longer than a mebibyte, and only then sent on. */
  const beginning = (headers: object, hasLength: boolean): number => (headers === json && !hasLength ? 17 : 1);

  /** The answer, where no more than `sent` pieces come before it. */
  function upload(
    path: string,
    headers: Readonly<Record<string, string>>,
    hasLength: boolean,
    sent = pieces,
  ): Promise<RawAnswer> {
    const piece = Buffer.alloc(65_536, "x");
    const size = hasLength ? { "Content-Length": String(pieces * piece.length) } : { "Transfer-Encoding": "chunked" };
    return askInPieces(
      raw.edge.port,
      requestBytes(path, { method: "POST", headers: { ...headers, ...size } }),
      Array.from({ length: sent }, () => (hasLength ? piece : chunk(piece))),
    );
  }

  it.each(forms)("by a reset is what broke, not its client: %s", async (_what, path, headers, hasLength) => {
    backend().onBegin = (_target, socket) => void setTimeout(() => socket.resetAndDestroy(), 50);
    const answer = await upload(path, headers, hasLength);
    expect([answer.status, valuesOf(answer, "x-should-retry")]).toEqual([502, ["false"]]);
    expect(JSON.parse(answer.body.toString("utf8"))).toMatchObject({ error: { code: "backend_reset" } });
    await everyLeaseEnds(raw.edge);
  });

  it.each(forms)("with an answer is heard: %s", async (_what, path, headers, hasLength) => {
    const refusal = '{"code":-2004,"message":"too large","data":null}';
    backend().onBegin = (_target, socket) => {
      socket.end(whole(413, refusal, { "Content-Type": "application/json", Connection: "close" }));
      setTimeout(() => socket.destroy(), 50);
    };
    // With nothing on its way: bytes that arrive at a closed connection reset it, and the answer may be lost in that.
    const answer = await upload(path, headers, hasLength, beginning(headers, hasLength));
    expect([answer.status, answer.body.toString("utf8")]).toEqual([413, refusal]);
    await everyLeaseEnds(raw.edge);
  });

  afterEach(() => {
    backend().onBegin = () => undefined;
  });
});

describe("an upload that is slow", () => {
  it.concurrent.each([
    ["kept", 100],
    ["passed on", 300_000],
  ] as const)("is waited for as long as some of it comes: %s", async (_how, size) => {
    const pieces = 8;
    const path = `/test/slow-${size}`;
    const socket = await announced(
      path,
      { ...json, "Content-Length": String(20_000 + pieces * size) },
      some.subarray(0, 20_000),
    );
    const answer = new Promise<string>((resolve) => {
      socket.once("data", (bytes: Buffer) => resolve(bytes.toString("latin1")));
    });
    for (let piece = 0; piece < pieces; piece += 1) {
      await sleep(idleMs / 4);
      socket.write(Buffer.alloc(size, "y"));
    }
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
    const arrived = backend().requests.find(({ target }) => target === path);
    expect(arrived?.body.equals(Buffer.concat([some.subarray(0, 20_000), Buffer.alloc(pieces * size, "y")]))).toBe(
      true,
    );
  });
});

describe("a client's reset", () => {
  it("cancels a cheap request at its backend, before its headers", async () => {
    const gone = new Promise<void>((resolve) => {
      backend().script = (_request, socket) => void socket.once("close", () => resolve());
    });
    const socket = await openRaw(raw.edge.port, requestBytes("/test/slow"));
    await expect.poll(() => backend().requests.some(({ target }) => target === "/test/slow")).toBe(true);
    socket.resetAndDestroy();
    await gone;
  });

  it("cancels a download at its backend, in the middle", async () => {
    const gone = new Promise<void>((resolve) => {
      backend().script = (_request, socket) => {
        socket.once("close", () => resolve());
        socket.write(head(200, { "Content-Type": "application/octet-stream", "Content-Length": "50000000" }));
        socket.write(Buffer.alloc(1_000_000));
      };
    });
    const socket = await openRaw(raw.edge.port, requestBytes("/test/large"));
    await new Promise((resolve) => socket.once("data", resolve));
    socket.resetAndDestroy();
    // What is on its way is noticed at the next write.
    await gone;
  });
});
