import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { registryName } from "../../src/shared/contract.ts";
import type { BackendRegistryApi, RegistryOperationsApi } from "../../src/shared/contract.ts";

const { BACKEND_REGISTRY } = env as unknown as { readonly BACKEND_REGISTRY: DurableObjectNamespace };
/** Far ahead, so that no alarm of a test under this clock rings by itself. */
const start = 4_000_000_000_000;
const hook = "https://hook.example/a-secret-path";

/** What the webhook was sent; `takes` says whether it takes the message. */
let sent: { readonly status: string; readonly subject: string; readonly taken: boolean }[] = [];
let takes: () => Response | Promise<Response> = () => new Response("ok");
const dead = new Set<string>();

beforeEach(async () => {
  sent = [];
  takes = () => new Response("ok");
  dead.clear();
  vi.useFakeTimers({ toFake: ["Date"], now: start });
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input.toString());
    if (url.href === hook) return received(String(init?.body));
    if (dead.has(url.host)) throw new Error("Network connection lost.");
    return new Response("pong");
  });
  await configure({
    "ALERTS.webhooks": [{ kind: "json", url: hook, secret: "a-signing-secret" }],
    "ALERTS.rules.backend_down.for": 5,
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await reset();
});

async function received(body: string): Promise<Response> {
  const { alerts } = JSON.parse(body) as { alerts: { status: string; subject: string }[] };
  const answer = await takes();
  for (const { status, subject } of alerts) sent.push({ status, subject, taken: answer.ok });
  return answer;
}

function stub() {
  return BACKEND_REGISTRY.get(BACKEND_REGISTRY.idFromName(registryName));
}

function registry(): BackendRegistryApi & RegistryOperationsApi {
  return stub() as unknown as BackendRegistryApi & RegistryOperationsApi;
}

/** Webhooks can't be set at run time, and a test has one configuration: the stored overrides stand for another. */
async function configure(values: Readonly<Record<string, unknown>>): Promise<void> {
  await registry().overrides();
  const beneath = { "ALERTS.webhooks": [], "ALERTS.rules.backend_down.for": 30 };
  const stored = JSON.stringify({ version: 1, values, beneath });
  await runInDurableObject(stub(), (_, state) => {
    state.storage.sql.exec("INSERT OR REPLACE INTO fact VALUES ('overrides', '', ?)", stored);
  });
  await abortAllDurableObjects();
}

/** Rings the alarm at a time, and waits until what it sent has been answered. */
async function ring(atMs: number): Promise<void> {
  vi.setSystemTime(start + atMs);
  await registry().overrides();
  await runDurableObjectAlarm(stub());
  await new Promise((resolve) => setTimeout(resolve, 30));
}

const taken = (): string[] => sent.filter((one) => one.taken).map(({ status }) => status);

/** A backend's failing probes eject it while the others' pass; then the rule's time passes. The time at which it holds. */
async function goDown(atMs: number): Promise<number> {
  dead.add("127.0.0.1:9101");
  let ringMs = atMs;
  for (; ringMs < atMs + 60_000; ringMs += 1000) {
    await ring(ringMs);
    const backends = await registry().listBackends();
    if (backends.find(({ name }) => name === "a")?.healthy === false) break;
  }
  await ring(ringMs + 1000);
  return ringMs + 1000;
}

/** Past the rule's five seconds. */
const heldMs = 6000;

describe("an outage", () => {
  test("is told once when it has lasted, and once when it is over, through aborts at every step", async () => {
    await ring(0);
    const downMs = await goDown(61_000);
    expect(sent).toEqual([]);
    await abortAllDurableObjects();
    await ring(downMs + heldMs);
    expect(sent).toEqual([{ status: "firing", subject: "a", taken: true }]);
    await abortAllDurableObjects();
    await ring(downMs + 30_000);
    expect(sent).toHaveLength(1);
    dead.clear();
    for (let afterMs = 41_000; afterMs < 140_000; afterMs += 11_000) {
      await abortAllDurableObjects();
      await ring(downMs + afterMs);
    }
    expect(taken()).toEqual(["firing", "resolved"]);
    expect((await registry().metrics())?.alertsFiring.backend_down).toBe(0);
  });

  test("shorter than it must last is told to nobody", async () => {
    await ring(0);
    const downMs = await goDown(61_000);
    dead.clear();
    for (let afterMs = 1000; afterMs < 4000; afterMs += 1000) {
      vi.setSystemTime(start + downMs + afterMs);
      await registry().probeBackend("a", { name: "x", from: null });
    }
    for (let afterMs = 4000; afterMs < 120_000; afterMs += 11_000) await ring(downMs + afterMs);
    expect(sent).toEqual([]);
  });
});

describe("a webhook that doesn't take its message", () => {
  test("is sent it again after a pause, and what came later waits for it", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    takes = () => new Response("no", { status: 503 });
    await ring(0);
    const downMs = await goDown(61_000);
    await ring(downMs + heldMs);
    await ring(downMs + heldMs + 1000);
    expect(sent.map(({ status, taken: ok }) => [status, ok])).toEqual([["firing", false]]);
    await abortAllDurableObjects();
    dead.clear();
    takes = () => new Response("ok");
    for (let afterMs = 20_000; afterMs < 140_000; afterMs += 11_000) await ring(downMs + afterMs);
    expect(taken()).toEqual(["firing", "resolved"]);
  });

  test("that can't be reached is warned of without its address or secret, and the probes go on", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "warn").mockImplementation((line: string) => void lines.push(line));
    takes = () => Promise.reject(new Error(`can't connect to ${hook}`));
    await ring(0);
    const downMs = await goDown(61_000);
    for (let afterMs = heldMs; afterMs < 55_000; afterMs += 11_000) await ring(downMs + afterMs);
    const told = lines.filter((line) => line.includes("webhook_failed"));
    expect(told).toHaveLength(1);
    expect(lines.join()).not.toMatch(/hook\.example|a-secret-path|a-signing-secret/);
    const backends = await registry().listBackends();
    expect(backends.find(({ name }) => name === "b")?.lastCheckMs).toBeGreaterThan(start + 60_000);
  });
});

test("with nobody to tell, what fires is in the metrics", async () => {
  await configure({ "ALERTS.rules.backend_down.for": 5 });
  await ring(0);
  const downMs = await goDown(61_000);
  // Nobody waits for it, so that it is looked at once a minute.
  await ring(downMs + 61_000);
  await ring(downMs + 122_000);
  expect((await registry().metrics())?.alertsFiring.backend_down).toBe(1);
  expect(sent).toEqual([]);
});

test("probes that come late fire their alert, and a backend that was disabled for long does not", async () => {
  await ring(0);
  await registry().changeBackend({ kind: "state", name: "a", state: "disabled" }, { name: "x", from: null });
  for (let atMs = 30_000; atMs < 400_000; atMs += 30_000) await ring(atMs);
  await registry().changeBackend({ kind: "state", name: "a", state: "active" }, { name: "x", from: null });
  await ring(401_000);
  expect((await registry().metrics())?.alertsFiring.probe_late).toBe(0);
  await ring(1_000_000);
  expect(sent.map(({ status }) => status)).toContain("firing");
});
