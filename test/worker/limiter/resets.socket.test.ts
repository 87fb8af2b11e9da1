/** A client that resets its connections while its limiter, far away, is being asked. */
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRaw, requestBytes } from "../../e2e/forwarding/raw-client.ts";
import { startWorker, type FixtureHost } from "../cache/fixture-host.ts";
import { RawClient } from "../cache/raw-client.ts";

const token = "an-admin-token-for-tests";

let backend: Server;
let edge: FixtureHost;
let client: RawClient;

beforeAll(async () => {
  backend = createServer((_, answer) => answer.end("pong")).listen(0, "127.0.0.1");
  await once(backend, "listening");
  const url = `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;
  edge = await startWorker({
    folder: import.meta.dirname,
    bindings: {
      RUNTIME: "local",
      ADMIN_TOKEN: token,
      BACKEND_SERVERS: JSON.stringify([{ name: "only", url }]),
      CONFIG: JSON.stringify({ RATE_LIMIT: { requests: 2, blockDuration: 60 }, LOG: { console: false } }),
    },
    objects: {
      BACKEND_REGISTRY: "BackendRegistry",
      RATE_LIMITER: "RateLimiter",
      OPERATIONS_LEDGER: "OperationsLedger",
    },
  });
  client = new RawClient(edge.url, 300);
});

afterAll(async () => {
  client?.close();
  await edge?.stop();
  backend?.close();
});

const from = (address: string) => ({ headers: { "cf-connecting-ip": address } });

/** The status, and `uncounted` where the limiter had no word in it. */
async function asked(address: string): Promise<string> {
  const { status, headers } = await client.ask("/ping", from(address));
  return headers["ratelimit"] === undefined ? `${status} uncounted` : String(status);
}

/** Long enough that the limiter is being asked, and too short for its answer. */
async function reset(address: string): Promise<void> {
  const socket = await openRaw(Number(edge.url.port), requestBytes("/ping", from(address)));
  await sleep(20);
  socket.resetAndDestroy();
}

/** Of the isolate, told with the next report; another client's request brings that about. */
async function decisions(): Promise<Record<string, number>> {
  await asked("203.0.113.99");
  await sleep(1500);
  const { body } = await client.ask("/metrics", { headers: { authorization: `Bearer ${token}` } });
  const found = body.matchAll(/^jimeng_edge_limiter_decisions_total\{decision="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, name, count]) => [String(name), Number(count)]));
}

async function block(address: string): Promise<void> {
  for (const status of ["200", "200", "429"]) expect(await asked(address)).toBe(status);
}

test("a blocked client gains nothing by it: all that it asks beside is refused", async () => {
  const address = "203.0.113.1";
  await block(address);
  const answers: Promise<string>[] = [];
  const resets: Promise<void>[] = [];
  const began = performance.now();
  while (performance.now() - began < 2000) {
    resets.push(reset(address));
    await sleep(10);
    answers.push(asked(address));
    await sleep(10);
  }
  await Promise.all(resets);
  expect(new Set(await Promise.all(answers))).toEqual(new Set(["429"]));
});

test("a flood of nothing but resets costs its limiter no more calls than another one", async () => {
  const address = "203.0.113.2";
  await block(address);
  const before = await decisions();
  const resets: Promise<void>[] = [];
  const began = performance.now();
  while (performance.now() - began < 2000) {
    resets.push(reset(address));
    await sleep(10);
  }
  await Promise.all(resets);
  const after = await decisions();
  const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
  expect(grown("refused")).toBeGreaterThanOrEqual(1);
  expect(grown("refused")).toBeLessThanOrEqual(6);
  expect(grown("remembered")).toBeGreaterThan(30);
  expect(grown("failed_open")).toBe(0);
});
