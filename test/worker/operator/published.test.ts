import { reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { publishedKey, registryName } from "../../../src/shared/contract.ts";
import type { PublishedFleet } from "../../../src/shared/contract.ts";
import { registry } from "./fleet-state.ts";
import { ask, bindings, broken, environment } from "./fixture.ts";

const by = { name: "alice", from: null };

beforeEach(() => {
  for (const method of ["log", "warn"] as const) vi.spyOn(console, method).mockReturnValue();
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("pong"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

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
