import { reset } from "cloudflare:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { CryptoKey, JWTPayload } from "jose";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Env } from "../../../src/worker/env.ts";
import { acts, fleetState } from "./fleet-state.ts";
import { ask, broken, environment, json, tokens } from "./fixture.ts";
import { operationsOf } from "./generated.ts";
import type { Operation } from "./generated.ts";

const issuer = "https://team.cloudflareaccess.com";
const audience = "an-audience-tag";
const access = {
  teamDomain: "team.cloudflareaccess.com",
  aud: audience,
  groups: { viewer: ["readers"], operator: ["ops", "olga@example.com"] },
};

const samples: Readonly<Record<string, string>> = { name: "a", key: "203.0.113.9", path: "RATE_LIMIT.requests" };
const bodies: Readonly<Record<string, unknown>> = {
  "POST /api/backends": { url: "http://127.0.0.1:9109" },
  "PATCH /api/backends/{name}": { weight: 7 },
  "POST /api/blocks": { client: "203.0.113.9", seconds: 60 },
  "PUT /api/config/overrides": { values: { "RATE_LIMIT.requests": 7 } },
  "POST /api/cache/purge": { all: true },
};

let keys: { ours: CryptoKey; foreign: CryptoKey; jwks: unknown };
let keyRequests = 0;
let serveKeys = true;

beforeAll(async () => {
  const [ours, foreign] = await Promise.all([generateKeyPair("RS256"), generateKeyPair("RS256")]);
  const jwk = { ...(await exportJWK(ours.publicKey)), kid: "ours", alg: "RS256", use: "sig" };
  keys = { ours: ours.privateKey, foreign: foreign.privateKey, jwks: { keys: [jwk] } };
});

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
  addresses = 0;
  keyRequests = 0;
  serveKeys = true;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const url = input instanceof Request ? input.url : String(input);
    if (!url.startsWith(issuer)) return new Response("pong");
    keyRequests += 1;
    return serveKeys ? Response.json(keys.jwks) : new Response("no", { status: 500 });
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

interface Claims {
  readonly key?: CryptoKey;
  readonly kid?: string;
  readonly iss?: string;
  readonly aud?: string;
  readonly expiresInS?: number;
  readonly claims?: JWTPayload;
}

function assertion(given: Claims = {}): Promise<string> {
  const {
    key = keys.ours,
    kid = "ours",
    iss = issuer,
    aud = audience,
    expiresInS = 60,
    claims = { groups: ["ops"] },
  } = given;
  const nowS = Math.floor(Date.now() / 1000);
  return new SignJWT({ email: "olga@example.org", ...claims })
    .setProtectedHeader({ alg: "RS256", kid })
    .setIssuer(iss)
    .setAudience(aud)
    .setIssuedAt(nowS - 100)
    .setExpirationTime(nowS + expiresInS)
    .sign(key);
}

function unsigned(): string {
  const part = (value: unknown): string =>
    btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
  const payload = { iss: issuer, aud: [audience], exp: 4_000_000_000, email: "olga@example.com", groups: ["ops"] };
  return `${part({ alg: "none", kid: "ours" })}.${part(payload)}.`;
}

/** Signed with the public key's text as an HMAC secret, hoping that the algorithm is the token's to choose. */
function confused(): Promise<string> {
  const secret = new TextEncoder().encode(JSON.stringify(keys.jwks));
  const nowS = Math.floor(Date.now() / 1000);
  const token = new SignJWT({ groups: ["ops"] }).setProtectedHeader({ alg: "HS256", kid: "ours" });
  return token
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime(nowS + 60)
    .sign(secret);
}

async function operations(at: Env): Promise<readonly Operation[]> {
  return operationsOf(await json(await ask(at, "/openapi.json")));
}

const keyOf = ({ method, path }: Operation): string => `${method} ${path}`;
const changes = (operation: Operation): boolean => operation.role === "operator";

let addresses = 0;
/** From another address before too many were wrong, so that guesses aren't what is refused. */
function askFor(
  at: Env,
  operation: Operation,
  given: { token?: string | null; headers?: Record<string, string> },
): Promise<Response> {
  addresses += 1;
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => samples[name] ?? name);
  const address = `198.18.0.${Math.floor(addresses / 8) % 250}`;
  return ask(at, path, { method: operation.method, body: bodies[keyOf(operation)], address, token: null, ...given });
}

describe("every route of the document", () => {
  const refusals: readonly {
    readonly what: string;
    readonly status: number;
    readonly code: string;
    readonly who: (operation: Operation) => boolean;
    readonly show: () => Promise<{ token?: string | null; headers?: Record<string, string> }>;
  }[] = [
    { what: "without a token", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({}) },
    { what: "with a wrong token", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ token: "wrong" }) },
    { what: "with a token of almost the right spelling", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ token: `${tokens.operator}x` }) },
    { what: "with the token in another scheme", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { authorization: `Basic ${btoa(`x:${tokens.operator}`)}` } }) },
    { what: "on a change with a viewer's token", status: 403, code: "operator_forbidden", who: changes, show: async () => ({ token: tokens.viewer }) },
    { what: "with an expired assertion", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ expiresInS: -60 }) } }) },
    { what: "with an assertion for another audience", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ aud: "another" }) } }) },
    { what: "with another team's assertion", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ iss: "https://other.cloudflareaccess.com" }) } }) },
    { what: "with an unsigned assertion", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": unsigned() } }) },
    { what: "with an assertion under a foreign key", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ key: keys.foreign }) } }) },
    { what: "with an assertion under a key that nobody has", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ key: keys.foreign, kid: "foreign" }) } }) },
    { what: "with an assertion under another algorithm", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await confused() } }) },
    { what: "with an assertion that is noise", status: 401, code: "operator_unauthorized", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": "a.b.c" } }) },
    { what: "on a change with a reader's assertion", status: 403, code: "operator_forbidden", who: changes, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ claims: { groups: ["readers"] } }) } }) },
    { what: "with an assertion of somebody in no group", status: 403, code: "operator_forbidden", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion({ claims: { groups: ["guests"] } }) } }) },
    { what: "asked by a page of another site, in the name of an operator", status: 403, code: "operator_forbidden", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion(), "sec-fetch-site": "cross-site" } }) },
    { what: "asked from another origin, in the name of an operator", status: 403, code: "operator_forbidden", who: () => true, show: async () => ({ headers: { "cf-access-jwt-assertion": await assertion(), origin: "https://evil.example" } }) },
  ]; // prettier-ignore

  test.each(refusals)(
    "is closed $what: $status, nothing changed, nothing said",
    async ({ status, code, who, show }) => {
      const at = environment({ ACCESS: JSON.stringify(access) });
      const all = (await operations(at)).filter(who);
      expect(all.length).toBeGreaterThan(8);
      const before = await fleetState();
      for (const operation of all) {
        const answer = await askFor(at, operation, await show());
        const body = await answer.text();
        expect([answer.status, (JSON.parse(body) as { error: { code: string } }).error.code], keyOf(operation)).toEqual(
          [status, code],
        );
        expect(body, keyOf(operation)).not.toMatch(/127\.0\.0\.1|weight|RATE_LIMIT|an-operator-token|audience|expired/);
        expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      }
      expect(await fleetState()).toBe(before);
      expect(await acts()).toEqual([]);
    },
  );

  test("is closed while nothing is configured, whatever is shown, and says how to open it", async () => {
    const at = environment({ ADMIN_TOKENS: undefined });
    const before = await fleetState();
    for (const operation of await operations(environment())) {
      const answer = await askFor(at, operation, { token: tokens.operator });
      const { error } = (await json(answer)) as { error: { code: string; message: string } };
      expect([answer.status, error.code], keyOf(operation)).toEqual([403, "operators_api_disabled"]);
      expect(error.message).toContain("ADMIN_TOKEN");
    }
    expect(await fleetState()).toBe(before);
  });

  test("is not there with the base path, nor with a slash at its end", async () => {
    const at = environment();
    for (const operation of await operations(at)) {
      const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => samples[name] ?? name);
      for (const other of [`/api${path}`, `${path}/`, path.toUpperCase()]) {
        const { status } = await ask(at, other, { method: operation.method, body: bodies[keyOf(operation)] });
        expect([404, 405], `${operation.method} ${other}`).toContain(status);
      }
    }
  });

  test("takes no other method, and tells those there are to operators only", async () => {
    const at = environment();
    for (const path of new Set((await operations(at)).map((operation) => operation.path))) {
      const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => samples[name] ?? name);
      const answer = await ask(at, target, { method: "OPTIONS" });
      expect([answer.status, answer.headers.get("allow")], path).toEqual([
        405,
        expect.stringMatching(/GET|POST|PUT|PATCH|DELETE/),
      ]);
      expect((await ask(at, target, { method: "OPTIONS", token: null })).status, path).toBe(401);
    }
  });
});

describe("who is let in", () => {
  test("ADMIN_TOKEN, also with the line's end that a shell has put behind it", async () => {
    const at = environment({ ADMIN_TOKENS: undefined, ADMIN_TOKEN: "one-token-for-everybody\n" });
    expect((await ask(at, "/api/backends", { token: "one-token-for-everybody" })).status).toBe(200);
    expect((await ask(at, "/api/backends/a/drain", { method: "POST", token: "one-token-for-everybody" })).status).toBe(
      200,
    );
  });

  test("a viewer's token, to read", async () => {
    const at = environment();
    for (const path of [
      "/api/ip-preference",
      "/api/backends",
      "/metrics",
      "/api/config",
      "/api/events",
      "/openapi.json",
    ]) {
      expect((await ask(at, path, { token: tokens.viewer })).status, path).toBe(200);
    }
  });

  test("an assertion of Access by group, by e-mail address and by service token, and the ledger has their names", async () => {
    const groups = { viewer: ["*"], operator: ["ops", "olga@example.com", "a-client-id.access"] };
    const at = environment({ ADMIN_TOKENS: undefined, ACCESS: { ...access, groups } });
    const whom: readonly (readonly [JWTPayload, string])[] = [
      [{ groups: [{ id: "1", name: "ops" }] }, "access:olga@example.org"],
      [{ custom: { groups: ["ops"] } }, "access:olga@example.org"],
      [{ email: "olga@example.com" }, "access:olga@example.com"],
      [{ email: "", common_name: "a-client-id.access" }, "access:a-client-id.access"],
    ];
    let weight = 10;
    for (const [claims, name] of whom) {
      weight += 1;
      const headers = { "cf-access-jwt-assertion": await assertion({ claims }) };
      const answer = await ask(at, "/api/backends/a", { method: "PATCH", body: { weight }, token: null, headers });
      expect(answer.status, name).toBe(200);
      await vi.waitFor(async () => expect((await acts())[0]?.detail["after"]).toEqual({ weight }));
      expect((await acts())[0]?.actor).toBe(name);
    }
    const stranger = { "cf-access-jwt-assertion": await assertion({ claims: { email: "new@example.com" } }) };
    expect((await ask(at, "/api/backends", { token: null, headers: stranger })).status).toBe(200);
    expect((await ask(at, "/api/backends/a/drain", { method: "POST", token: null, headers: stranger })).status).toBe(
      403,
    );
  });

  test("whoever follows a link from another site, to read and not to change", async () => {
    const at = environment({ ACCESS: access });
    const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
    const headers = { "cf-access-jwt-assertion": await assertion(), ...link };
    expect((await ask(at, "/api/backends", { token: null, headers })).status).toBe(200);
    expect((await ask(at, "/api/backends/a/drain", { method: "POST", token: null, headers })).status).toBe(403);
  });

  test("fetches the keys of Access once, and not for every assertion with an unknown key", async () => {
    const at = environment({ ACCESS: access });
    for (let round = 0; round < 5; round += 1) {
      await ask(at, "/api/backends", { token: null, headers: { "cf-access-jwt-assertion": await assertion() } });
      const headers = { "cf-access-jwt-assertion": await assertion({ kid: `unknown-${round}` }) };
      await ask(at, "/api/backends", { token: null, headers, address: `198.19.0.${round}` });
    }
    expect(keyRequests).toBe(1);
  });

  test("a right token while the keys of Access can't be had; an assertion then is refused and counted against nobody", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    serveKeys = false;
    const at = environment({ ACCESS: access });
    const headers = { "cf-access-jwt-assertion": await assertion() };
    for (let round = 0; round < 15; round += 1) {
      expect((await ask(at, "/api/backends", { token: null, headers })).status).toBe(401);
    }
    expect((await ask(at, "/api/backends")).status).toBe(200);
  });

  test("nobody by a secret that can't be read: the API is closed, clients are served, and the log names the field", async () => {
    const told: string[] = [];
    vi.spyOn(console, "error").mockImplementation((line: string) => void told.push(line));
    const at = environment({ ADMIN_TOKENS: '{"eve":{"token":"a secret with blanks","role":"root"}}' });
    const answer = await ask(at, "/api/backends", { token: "a secret with blanks" });
    expect(answer.status).toBe(403);
    expect((await ask(at, "/ping", { token: null })).status).toBe(200);
    expect(told.join("\n")).toContain("ADMIN_TOKENS.eve.role");
    expect(told.join("\n")).not.toContain("a secret with blanks");
  });
});

describe("wrong tokens", () => {
  test("close the API to their address, right ones included, and to no other; the block is listed and can be lifted", async () => {
    const at = environment();
    const guess = (address: string, token = "wrong"): Promise<Response> => ask(at, "/api/backends", { address, token });
    for (let tried = 0; tried < 10; tried += 1) expect((await guess("198.51.100.66")).status).toBe(401);
    const closed = await guess("198.51.100.66");
    expect([closed.status, closed.headers.get("x-should-retry")]).toEqual([429, "false"]);
    expect(Number(closed.headers.get("retry-after"))).toBeGreaterThan(290);
    expect((await guess("198.51.100.66", tokens.operator)).status).toBe(429);
    expect((await guess("198.51.100.67", tokens.operator)).status).toBe(200);
    // Another isolate knows it as well.
    expect((await ask(environment(), "/api/backends", { address: "198.51.100.66" })).status).toBe(429);
    await vi.waitFor(async () => {
      const { blocks } = (await json(await ask(at, "/api/blocks"))) as { blocks: { clientKey: string }[] };
      expect(blocks.map(({ clientKey }) => clientKey)).toEqual(["operator:198.51.100.66"]);
    });
    expect((await ask(at, "/api/blocks/operator:198.51.100.66", { method: "DELETE" })).status).toBe(200);
    expect((await guess("198.51.100.66", tokens.operator)).status).toBe(200);
  });

  test("and right ones enter no log, not even hashed, whatever clients are counted by", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line: string) => void lines.push(line));
    const at = environment({ CONFIG: '{"RATE_LIMIT":{"clientKey":"token"}}' });
    await ask(at, "/api/blocks", { address: "198.51.100.71" });
    await ask(at, "/health", { address: "198.51.100.71" });
    await ask(at, "/api/blocks", { address: "198.51.100.71", token: "wrong" });
    const keys = lines.map((line) => (JSON.parse(line) as { client_key?: string }).client_key);
    expect(keys.filter((key) => key !== undefined)).toEqual(Array<string>(3).fill("198.51.100.71"));
  });

  test("are counted on /health too, which shows servers' addresses to operators only", async () => {
    const at = environment();
    const health = async (token: string | null): Promise<string> =>
      (await ask(at, "/health", { token, address: "198.51.100.70" })).text();
    expect(await health(tokens.viewer)).toContain("http://127.0.0.1:9101");
    for (let tried = 0; tried < 11; tried += 1) expect(await health("wrong")).not.toContain("http://127.0.0.1:9101");
    expect(await health(tokens.viewer)).not.toContain("http://127.0.0.1:9101");
    expect((await ask(at, "/api/backends", { address: "198.51.100.70" })).status).toBe(429);
  });

  test("are refused, and right ones let in, while the limiter can't be asked", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    const at = environment({ RATE_LIMITER: broken() });
    expect((await ask(at, "/api/backends", { token: "wrong" })).status).toBe(401);
    expect((await ask(at, "/api/backends")).status).toBe(200);
  });
});
