import { runDurableObjectAlarm } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { publishedKey, registryName } from "../../../src/shared/contract.ts";
import type { PublishedFleet } from "../../../src/shared/contract.ts";
import { registry } from "./fleet-state.ts";
import { ask, bindings, broken, environment, startAnew } from "./fixture.ts";

const by = { name: "alice", from: null };

startAnew();

test("an edge that starts while the registry can't be reached works by what the registry published last", async () => {
  for (const name of ["a", "b"]) await registry().changeBackend({ kind: "state", name, state: "draining" }, by);
  const values = { "RATE_LIMIT.requests": 7, "LOG.console": false };
  await registry().changeOverrides({ kind: "set", values, version: null }, by);
  const namespace = bindings.BACKEND_REGISTRY;
  await runDurableObjectAlarm(namespace.get(namespace.idFromName(registryName)));
  await vi.waitFor(async () => {
    const fleet = await bindings.CACHE?.get<PublishedFleet>(publishedKey, "json");
    expect(fleet?.table.overrides.values).toEqual(values);
  });
  const at = environment({ BACKEND_REGISTRY: broken(), CACHE: bindings.CACHE });
  for (let sent = 0; sent < 4; sent += 1) {
    const answer = await ask(at, "/ping", { token: null });
    expect([answer.status, answer.headers.get("x-jimeng-edge-backend")]).toEqual([200, "c"]);
  }
  const limited = await ask(at, "/ping", { token: null });
  expect(limited.headers.get("ratelimit-policy")).toContain("q=7");
});

/** A KV of which each read is answered in its turn. */
function kvThat(...answers: readonly (() => Promise<unknown>)[]): {
  get: () => Promise<unknown>;
  readonly asked: number;
} {
  let asked = 0;
  return {
    get: () => answers[Math.min(asked++, answers.length - 1)]?.() ?? Promise.resolve(null),
    get asked() {
      return asked;
    },
  };
}

const hangs = (): Promise<never> => new Promise(() => undefined);

test("an edge that can reach neither the registry nor KV serves by its configuration, and waits for neither", async () => {
  const at = environment({ BACKEND_REGISTRY: broken(), CACHE: kvThat(hangs) });
  const began = performance.now();
  expect((await ask(at, "/ping", { token: null })).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(2000);
});

test("a KV that failed is asked again, once in a while", async () => {
  const fails = (): Promise<never> => Promise.reject(new Error("KV is down for the test"));
  for (const name of ["a", "b"]) await registry().changeBackend({ kind: "state", name, state: "draining" }, by);
  const namespace = bindings.BACKEND_REGISTRY;
  await runDurableObjectAlarm(namespace.get(namespace.idFromName(registryName)));
  const fleet = await vi.waitFor(async () => {
    const found = await bindings.CACHE?.get<PublishedFleet>(publishedKey, "json");
    if (found === null || found === undefined) throw new Error("nothing is published yet");
    return found;
  });
  const kv = kvThat(fails, () => Promise.resolve(fleet));
  const at = environment({ BACKEND_REGISTRY: broken(), CACHE: kv });
  const pinged = async (): Promise<string | null> =>
    (await ask(at, "/ping", { token: null })).headers.get("x-jimeng-edge-backend");
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  await pinged();
  await pinged();
  expect(kv.asked).toBe(1);
  vi.setSystemTime(Date.now() + 11_000);
  expect([await pinged(), await pinged(), kv.asked]).toEqual(["c", "c", 2]);
});

test("what is published holds no secret", async () => {
  await registry().overrides();
  const namespace = bindings.BACKEND_REGISTRY;
  await runDurableObjectAlarm(namespace.get(namespace.idFromName(registryName)));
  const text = await vi.waitFor(async () => {
    const found = await bindings.CACHE?.get(publishedKey);
    if (typeof found !== "string") throw new Error("nothing is published yet");
    return found;
  });
  expect(text).not.toMatch(/test-admin-token/);
  expect(Object.keys(JSON.parse(text) as object).sort()).toEqual(["config", "publishedAtMs", "table"]);
});
