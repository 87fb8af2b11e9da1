/** What an isolate tells the registry, and how it behaves when it can't. */
import { env as bindings } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Report } from "../../../src/shared/contract.ts";
import { success } from "../../../src/shared/outcome.ts";
import { Edge } from "../../../src/worker/edge.ts";
import type { Env } from "../../../src/worker/env.ts";
import { readEnvConfig } from "../../../src/worker/env.ts";

const told: Report[] = [];
let reply: () => Promise<unknown>;
const registry = {
  idFromName: () => ({}),
  get: () => ({
    report: (report: Report) => {
      told.push(report);
      return reply();
    },
  }),
};

function isolate(): Edge {
  const env = { ...bindings, BACKEND_REGISTRY: registry } as unknown as Env;
  const reading = readEnvConfig(env);
  if (!reading.ok) throw new Error("misconfigured");
  return new Edge(env, reading.config, null);
}

const silence = vi.spyOn(console, "warn").mockImplementation(() => undefined);
beforeEach(() => {
  told.length = 0;
  works.length = 0;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  silence.mockClear();
});

const works: Promise<unknown>[] = [];
const waitUntil = (work: Promise<unknown>): void => void works.push(work);

const gone = (): Promise<never> => Promise.reject(new Error("gone"));
const known = async (): Promise<unknown> => ({ kind: "known", table: null });

/** A request every 20 ms, each with something to tell. */
async function requests(edge: Edge, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    edge.findings.note("a", "query", success, 5, 10, null);
    const fresh = edge.freshen("r", waitUntil, Date.now());
    edge.reportSoon("r", waitUntil, Date.now());
    await vi.advanceTimersByTimeAsync(20);
    await fresh;
  }
  await vi.advanceTimersByTimeAsync(3000);
  await Promise.all(works);
}

describe("a registry that refuses reports", () => {
  test("is asked about once a second, however many requests come", async () => {
    reply = gone;
    await requests(isolate(), 250);
    // Five seconds and what comes after them, with pauses of half a second at least.
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(told.length).toBeLessThanOrEqual(17);
  });

  test("hears everything when it is back, once", async () => {
    const edge = isolate();
    reply = gone;
    await requests(edge, 100);
    reply = known;
    told.length = 0;
    await requests(edge, 100);
    const lines = told.flatMap((report) => report.lines);
    expect(lines.reduce((sum, line) => sum + (line.outcomes.success ?? 0), 0)).toBe(200);
    expect(edge.findings.isEmpty).toBe(true);
  });

  test("keeps no request waiting for its pause", async () => {
    const edge = isolate();
    reply = gone;
    await edge.freshen("r", waitUntil, Date.now());
    const beganMs = Date.now();
    await edge.freshen("r", waitUntil, Date.now());
    expect([Date.now() - beganMs, told.length]).toEqual([0, 1]);
  });
});

test("those who come while another request asks take its table as soon as it is there", async () => {
  const edge = isolate();
  reply = () => new Promise((resolve) => setTimeout(() => resolve(known()), 50));
  const beganMs = Date.now();
  const ends = Array.from({ length: 5 }, async () => {
    await edge.freshen("r", waitUntil, beganMs);
    return Date.now() - beganMs;
  });
  await vi.advanceTimersByTimeAsync(300);
  const [first, ...others] = await Promise.all(ends);
  expect([first, told.length]).toEqual([50, 1]);
  expect(others.every((ms) => ms >= 50 && ms <= 62)).toBe(true);
});
