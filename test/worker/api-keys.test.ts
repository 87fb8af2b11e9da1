import { describe, expect, test } from "vitest";
import { readApiKeyGate } from "../../src/worker/api-keys.ts";
import type { ApiKeyGate } from "../../src/worker/api-keys.ts";

function gateOf(given: unknown): ApiKeyGate {
  const reading = readApiKeyGate(given);
  if (!reading.ok || reading.gate === null) throw new Error("no gate");
  return reading.gate;
}

describe("API keys", () => {
  const gate = gateOf({
    alice: { key: "the-key-of-alice" },
    bob: { key: "the-keys-of-bob!", tokens: ["sid1", "sid2"] },
  });
  const judge = (headers: Record<string, string>) => gate.judge(new Headers(headers));

  test("are off without the secret, and refuse a broken one", () => {
    expect(readApiKeyGate(undefined)).toEqual({ ok: true, gate: null });
    expect(readApiKeyGate("{broken")).toMatchObject({ ok: false });
  });

  test("pass in X-API-Key, which is dropped", async () => {
    expect(await judge({ "x-api-key": "the-key-of-alice", authorization: "Bearer jimeng" })).toEqual({
      kind: "ok",
      name: "alice",
      replaceAuthorization: null,
      dropHeader: "x-api-key",
    });
  });

  test("pass as Bearer where they stand for tokens, which replace them", async () => {
    expect(await judge({ authorization: "bearer  the-keys-of-bob!" })).toMatchObject({
      kind: "ok",
      name: "bob",
      replaceAuthorization: "Bearer sid1,sid2",
    });
  });

  test("leave a list of the client's own tokens alone, however it is written", async () => {
    for (const authorization of ["Bearer own-1,own-2", "Bearer own-1, own-2", "bearer  own-1 , own-2 "]) {
      expect(await judge({ "x-api-key": "the-keys-of-bob!", authorization })).toMatchObject({
        kind: "ok",
        name: "bob",
        replaceAuthorization: null,
      });
    }
    expect(await judge({ "x-api-key": "the-keys-of-bob!", authorization: "Bearer own-1, the-key-of-alice" })).toEqual({
      kind: "invalid",
    });
  });

  test.each([
    {},
    { "x-api-key": "wrong" },
    { authorization: "Bearer jimeng" },
    { authorization: "Bearer the-key-of-alice" },
    { authorization: "Bearer the-keys-of-bob!, own-1" },
    { "x-api-key": "" },
  ])("%j is invalid", async (headers) => {
    expect(await judge(headers as Record<string, string>)).toEqual({ kind: "invalid" });
  });

  test("a hundred requests at once, the first of the isolate, are all judged", async () => {
    const fresh = gateOf({ alice: { key: "the-key-of-alice" } });
    const verdicts = await Promise.all(
      Array.from({ length: 100 }, () => fresh.judge(new Headers({ "x-api-key": "the-key-of-alice" }))),
    );
    expect(verdicts.every((verdict) => verdict.kind === "ok")).toBe(true);
  });
});
