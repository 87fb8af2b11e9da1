import { describe, expect, test } from "vitest";
import { judgeApiKey, readApiKeys } from "../../src/shared/api-key.ts";
import type { HashedApiKey } from "../../src/shared/api-key.ts";

const hash = async (text: string) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
const keys: HashedApiKey[] = [
  { name: "alice", sha256: await hash("alice-key"), tokens: null },
  { name: "bob", sha256: await hash("bob-key"), tokens: "sid1,sid2" },
  { name: "bob-next", sha256: await hash("bob-next-key"), tokens: "sid1,sid2" },
];
const judge = async (xApiKey: string | null, ...bearer: string[]) =>
  judgeApiKey(keys, {
    xApiKey: xApiKey === null ? null : await hash(xApiKey),
    bearer: await Promise.all(bearer.map(hash)),
  });

describe("the secret API_KEYS", () => {
  test("missing or empty it is off", () => {
    for (const off of [undefined, null, ""]) expect(readApiKeys(off)).toEqual({ ok: true, keys: null });
  });

  test("is read as JSON text and as a value, with one token, several or none", () => {
    const value = {
      alice: { key: "k1-of-sixteen-or-more" },
      bob: { key: "k2-of-sixteen-or-more", tokens: "s1,s2" },
      carol: { key: "k3-of-sixteen-or-more", tokens: ["s1", "s2"] },
    };
    const expected = [
      { name: "alice", key: "k1-of-sixteen-or-more", tokens: null },
      { name: "bob", key: "k2-of-sixteen-or-more", tokens: "s1,s2" },
      { name: "carol", key: "k3-of-sixteen-or-more", tokens: "s1,s2" },
    ];
    expect(readApiKeys(value)).toEqual({ ok: true, keys: expected });
    expect(readApiKeys(JSON.stringify(value))).toEqual({ ok: true, keys: expected });
  });

  test("tells every fault at once and shows no key", () => {
    const reading = readApiKeys({
      "bad name": { key: "secret-1-that-is-long" },
      empty: { key: "" },
      spaced: { key: "secret 2 that is long" },
      listed: { key: "secret-4,secret-5-long" },
      none: {},
      list: ["secret-3"],
      twice: { key: "secret-1-that-is-long" },
      more: { key: "secret-6-that-is-long", tokens: [], role: "admin" },
    });
    expect(reading.ok).toBe(false);
    const faults = reading.ok ? [] : reading.faults;
    expect(faults.map((one) => one.field).sort()).toEqual([
      "API_KEYS.bad name",
      "API_KEYS.empty.key",
      "API_KEYS.list.key",
      "API_KEYS.listed.key",
      "API_KEYS.more.role",
      "API_KEYS.more.tokens",
      "API_KEYS.none.key",
      "API_KEYS.spaced.key",
      "API_KEYS.twice.key",
    ]);
    expect(JSON.stringify(faults)).not.toContain("secret");
  });

  test("is told a key that could be guessed, or is endless, by its length alone", () => {
    for (const key of ["secret", "fifteen-secrets", "secret".repeat(200)]) {
      const reading = readApiKeys({ alice: { key } });
      const allowed =
        "16 to 1024 printable ASCII characters without spaces and commas; make one with `openssl rand -hex 32`";
      const faults = [{ field: "API_KEYS.alice.key", allowed, received: `*** (${key.length} characters)` }];
      expect(reading).toEqual({ ok: false, faults });
    }
    expect(readApiKeys({ alice: { key: "sixteen-secrets!" } }).ok).toBe(true);
  });

  test.each(["not json {secret", "[]", "7", '"secret"'])("%j is refused as a whole, unseen", (given) => {
    const reading = readApiKeys(given);
    expect(reading.ok).toBe(false);
    expect(JSON.stringify(reading)).not.toContain("secret");
  });
});

describe("an API key", () => {
  test("in X-API-Key is known by its name and is dropped; the client's own Authorization stays", async () => {
    expect(await judge("alice-key", "jimeng-token")).toEqual({
      kind: "ok",
      name: "alice",
      replaceAuthorization: null,
      dropHeader: "x-api-key",
    });
    expect(await judge("bob-key", "jimeng-token")).toMatchObject({ name: "bob", replaceAuthorization: null });
  });

  test("in X-API-Key brings its tokens where the client sent none", async () => {
    expect(await judge("bob-key")).toMatchObject({ name: "bob", replaceAuthorization: "Bearer sid1,sid2" });
    expect(await judge("alice-key")).toMatchObject({ name: "alice", replaceAuthorization: null });
  });

  test("as Bearer is replaced by its tokens", async () => {
    expect(await judge(null, "bob-key")).toEqual({
      kind: "ok",
      name: "bob",
      replaceAuthorization: "Bearer sid1,sid2",
      dropHeader: null,
    });
  });

  test("as Bearer without tokens to put in its place is invalid, so that it never reaches a backend", async () => {
    expect(await judge(null, "alice-key")).toEqual({ kind: "invalid" });
    expect(await judge("alice-key", "alice-key")).toEqual({ kind: "invalid" });
    expect(await judge("bob-key", "alice-key")).toEqual({ kind: "invalid" });
  });

  test("leaves several tokens of the client's own as they are: nobody pays for another", async () => {
    expect(await judge("bob-key", "own-1", "own-2")).toMatchObject({ name: "bob", replaceAuthorization: null });
  });

  test("among the tokens of a list is invalid, so that it never reaches a backend", async () => {
    for (const key of ["alice-key", "bob-key"]) {
      expect(await judge("bob-key", "own-1", key)).toEqual({ kind: "invalid" });
      expect(await judge(null, key, "own-1")).toEqual({ kind: "invalid" });
    }
    expect(await judge(null, "bob-key", "bob-next-key")).toEqual({ kind: "invalid" });
  });

  test("shown twice is replaced, not forwarded", async () => {
    expect(await judge("bob-key", "bob-key")).toMatchObject({
      name: "bob",
      replaceAuthorization: "Bearer sid1,sid2",
      dropHeader: "x-api-key",
    });
  });

  test("missing or wrong is invalid, and a wrong X-API-Key is not saved by a right Bearer", async () => {
    expect(await judge(null)).toEqual({ kind: "invalid" });
    expect(await judge("wrong")).toEqual({ kind: "invalid" });
    expect(await judge(null, "wrong")).toEqual({ kind: "invalid" });
    expect(await judge("wrong", "bob-key")).toEqual({ kind: "invalid" });
  });

  test("two of one client are valid at once, so that a rotation has no gap", async () => {
    expect(await judge("bob-key")).toMatchObject({ kind: "ok", name: "bob" });
    expect(await judge("bob-next-key")).toMatchObject({ kind: "ok", name: "bob-next" });
  });
});
