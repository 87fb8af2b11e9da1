/** `GET /api/config` tells what is in force, the servers among it. */
import { expect, test } from "vitest";
import { ask, bindings, environment, json, startAnew } from "./fixture.ts";

startAnew();

interface Shown {
  readonly backends: readonly Record<string, unknown>[];
  readonly origins: Readonly<Record<string, string>>;
}

async function shown(variables: Readonly<Record<string, unknown>> = {}): Promise<Shown> {
  const answer = await ask(environment(variables), "/api/config");
  expect(answer.status).toBe(200);
  const { values, origins } = (await json(answer)) as {
    values: { BACKENDS: readonly Record<string, unknown>[] };
    origins: Readonly<Record<string, string>>;
  };
  const ofBackends = Object.entries(origins).filter(([path]) => path.startsWith("BACKENDS."));
  return { backends: values.BACKENDS, origins: Object.fromEntries(ofBackends) };
}

async function operate(path: string, method: string, body?: unknown): Promise<void> {
  const asking = body === undefined ? { method } : { method, body };
  expect((await ask(environment(), path, asking)).ok).toBe(true);
}

test("the servers are as configured while nobody has changed any, and their headers' values stay hidden", async () => {
  const servers = JSON.parse(String((bindings as unknown as Record<string, unknown>)["BACKEND_SERVERS"])) as object[];
  const [first, ...others] = servers;
  const BACKEND_SERVERS = JSON.stringify([{ ...first, headers: { "x-origin": "of-secret" } }, ...others]);
  const { backends, origins } = await shown({ BACKEND_SERVERS });
  expect(
    backends.map(({ name, weight, operatorState, overridden }) => [name, weight, operatorState, overridden]),
  ).toEqual([
    ["a", 3, "active", {}],
    ["b", 2, "active", {}],
    ["c", 1, "active", {}],
  ]);
  expect(backends[0]).toMatchObject({ headers: { "x-origin": "***" }, maxInFlight: null, priority: 1 });
  expect(origins).toEqual({ "BACKENDS.a": "variable", "BACKENDS.b": "variable", "BACKENDS.c": "variable" });
});

test("a server that operators changed, drained, disabled or added is as it is in force, and marked", async () => {
  await operate("/api/backends/a", "PATCH", { weight: 7, maxInFlight: 4 });
  await operate("/api/backends/b/drain", "POST");
  await operate("/api/backends/c/disable", "POST");
  await operate("/api/backends", "POST", { name: "d", url: "http://127.0.0.1:9104", weight: 5 });
  const { backends, origins } = await shown();
  expect(
    backends.map(({ name, weight, maxInFlight, operatorState }) => [name, weight, maxInFlight, operatorState]),
  ).toEqual([
    ["a", 7, 4, "active"],
    ["b", 2, null, "draining"],
    ["c", 1, null, "disabled"],
    ["d", 5, null, "active"],
  ]);
  expect(backends.map(({ overridden }) => overridden)).toEqual([
    { weight: { value: 7, configured: 3 }, maxInFlight: { value: 4, configured: null } },
    { operatorState: { value: "draining", configured: "active" } },
    { operatorState: { value: "disabled", configured: "active" } },
    {},
  ]);
  expect(origins).toEqual({
    "BACKENDS.a": "variable",
    "BACKENDS.a.weight": "override",
    "BACKENDS.a.maxInFlight": "override",
    "BACKENDS.b": "variable",
    "BACKENDS.b.operatorState": "override",
    "BACKENDS.c": "variable",
    "BACKENDS.c.operatorState": "override",
    "BACKENDS.d": "override",
  });
});

test("a change that was taken back is shown no longer", async () => {
  await operate("/api/backends/a", "PATCH", { weight: 7 });
  await operate("/api/backends/a", "PATCH", { weight: 3 });
  await operate("/api/backends/b/drain", "POST");
  await operate("/api/backends/b/resume", "POST");
  const { backends } = await shown();
  expect(backends.map(({ weight, operatorState, overridden }) => [weight, operatorState, overridden])).toEqual([
    [3, "active", {}],
    [2, "active", {}],
    [1, "active", {}],
  ]);
});
