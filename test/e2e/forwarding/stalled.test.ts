/** A server that falls silent in the middle of an answer: its client is told by the end of the connection, and it is known whose fault it was. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { becomes, everyLeaseEnds } from "./observed.ts";
import { chunk, head, lastChunk, whole, type RawBackend } from "./raw-backend.ts";
import { askRaw, openRaw, requestBytes, type RawAnswer } from "./raw-client.ts";
import { startRawSystem, type RawSystem } from "./raw-system.ts";

const idleMs = 1000;

let raw: RawSystem;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "jimeng-edge-stalled-"));
  const DEADLINES = { answerIdle: idleMs / 1000 };
  const config = { DEADLINES, EJECTION: { maxShare: 0 } };
  raw = await startRawSystem({ config, logFile: join(folder, "edge.log") });
});
afterAll(async () => {
  await raw.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  backend().requests.length = 0;
});

function backend(): RawBackend {
  return raw.backends[0] as RawBackend;
}

/** What the log says of the last request that went so far. */
async function logged(userAgent: string): Promise<readonly [outcome: string, reason: string]> {
  const read = async (): Promise<{ outcome: string; reason: string } | null> => {
    const text = await readFile(join(folder, "edge.log"), "utf8");
    const line = text.split("\n").find((one) => one.includes(`"user_agent":"${userAgent}"`));
    return line === undefined
      ? null
      : (JSON.parse(line.slice(line.indexOf("{"))) as { outcome: string; reason: string });
  };
  await becomes(read, (line) => line !== null, `the log line of ${userAgent}`);
  const line = await read();
  return [line?.outcome ?? "", line?.reason ?? ""];
}

function generate(userAgent: string): Promise<RawAnswer> {
  return askRaw(raw.edge.port, "/v1/images/generations", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer a-session", "User-Agent": userAgent },
    body: '{"prompt":"a cat"}',
  });
}

async function tookMs<Value>(work: Promise<Value>): Promise<readonly [Value, number]> {
  const began = performance.now();
  return [await work, performance.now() - began];
}

const json = { "Content-Type": "application/json" };
const text = { "Content-Type": "text/plain" };
const chunked = { "Transfer-Encoding": "chunked" };
const large = Buffer.alloc(1_500_000, "x");

describe("a generation's answer that stalls", () => {
  it.each([
    ["with a length", [head(200, { ...json, "Content-Length": "3000000" }), large]],
    ["chunked", [head(200, { ...json, ...chunked }), chunk(large)]],
    ["text of some length", [head(200, { ...text, "Content-Length": "100000" }), large.subarray(0, 50_000)]],
    ["text, chunked", [head(200, { ...text, ...chunked }), chunk("so far")]],
  ])("is cut after the silence, blamed on its server, and not sent again: %s", async (how, pieces) => {
    backend().script = (_request, socket) => pieces.forEach((piece) => socket.write(piece));
    const [answer, ms] = await tookMs(generate(`stalls ${how}`));
    expect([answer.status, answer.ended === "open"]).toEqual([200, false]);
    expect(ms).toBeGreaterThan(idleMs - 100);
    expect(ms).toBeLessThan(idleMs + 3000);
    expect(backend().requests).toHaveLength(1);
    await everyLeaseEnds(raw.edge);
    expect(await logged(`stalls ${how}`)).toEqual(["backend_fault", "stalled"]);
  });

  it("is known for cut where its connection breaks", async () => {
    backend().script = (_request, socket) => {
      socket.write(head(200, { ...json, "Content-Length": "3000000" }));
      socket.write(large, () => setTimeout(() => socket.resetAndDestroy(), 50));
    };
    expect((await generate("breaks")).ended).not.toBe("open");
    await everyLeaseEnds(raw.edge);
    expect(await logged("breaks")).toEqual(["backend_fault", "cut"]);
  });
});

it("an answer that comes slowly, piece by piece, comes whole", async () => {
  const pieces = Array.from({ length: 5 }, (_, index) => large.subarray(index * 300_000, (index + 1) * 300_000));
  backend().script = async (_request, socket) => {
    socket.write(head(200, { ...json, "Content-Length": String(large.length) }));
    for (const piece of pieces) {
      socket.write(piece);
      await sleep(idleMs * 0.6);
    }
  };
  const answer = await generate("slowly");
  expect([answer.status, answer.body.equals(large)]).toEqual([200, true]);
  expect(await logged("slowly")).toEqual(["success", "ok"]);
});

it("a text without a length reaches its client as it comes", async () => {
  const firstSeen = Promise.withResolvers<void>();
  backend().script = async (_request, socket) => {
    socket.write(Buffer.concat([head(200, { ...text, ...chunked }), chunk("first")]));
    await firstSeen.promise;
    socket.write(Buffer.concat([chunk("second"), lastChunk]));
  };
  const answer = await fetch(`${raw.edge.url}/test/x`);
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("first");
  firstSeen.resolve();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("second");
  expect((await reader.read()).done).toBe(true);
});

const huge = Buffer.alloc(24_000_000, "x");

function askFor(userAgent: string): Promise<Socket> {
  const headers = { ...json, Authorization: "Bearer a-session", "User-Agent": userAgent };
  const bytes = requestBytes("/v1/images/generations", { method: "POST", headers, body: '{"prompt":"a cat"}' });
  return openRaw(raw.edge.port, bytes);
}

describe("a client of a large answer", () => {
  it("that takes its time is not the server's silence, nor its work", async () => {
    backend().script = (_request, socket) => void socket.write(whole(200, huge));
    const socket = await askFor("takes its time");
    await new Promise((resolve) => socket.once("readable", resolve));
    await sleep(idleMs * 3);
    await everyLeaseEnds(raw.edge);
    let bytes = 0;
    await new Promise<void>((resolve) => {
      socket.on("data", (piece: Buffer) => ((bytes += piece.length) >= huge.length ? resolve() : undefined));
      socket.once("close", resolve);
    });
    socket.destroy();
    expect(bytes).toBeGreaterThanOrEqual(huge.length);
    expect(await logged("takes its time")).toEqual(["success", "ok"]);
  });

  it("that leaves in its middle is nobody's fault", async () => {
    backend().script = (_request, socket) => void socket.write(whole(200, huge));
    const socket = await askFor("leaves");
    await new Promise((resolve) => socket.once("readable", resolve));
    socket.destroy();
    await everyLeaseEnds(raw.edge);
    expect(await logged("leaves")).toEqual(["aborted", "client_left"]);
  });
});
