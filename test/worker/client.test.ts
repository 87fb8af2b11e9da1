import { describe, expect, test } from "vitest";
import { defaults } from "../../src/shared/config/defaults.ts";
import type { Config, RateLimitConfig } from "../../src/shared/config/config.ts";
import { ClientReader } from "../../src/worker/client.ts";

interface Given {
  readonly config?: Partial<Config>;
  readonly limits?: Partial<RateLimitConfig>;
}

function readerOf({ config, limits }: Given = {}): ClientReader {
  return new ClientReader({ ...defaults, ...config, RATE_LIMIT: { ...defaults.RATE_LIMIT, ...limits } } as Config);
}

function requestOf(headers: Record<string, string> = {}, clientIp: string | null = null): Request {
  const request = new Request("https://edge.example/v1/models", { headers });
  if (clientIp !== null) Object.defineProperty(request, "cf", { value: { clientIp } });
  return request;
}

describe("the client behind a request", () => {
  test("on cloudflare is CF-Connecting-IP; what a client can send changes nothing", async () => {
    const reader = readerOf({ config: { RUNTIME: "cloudflare" } });
    const forged = {
      "x-forwarded-for": "192.0.2.1",
      "x-real-ip": "192.0.2.2",
      "true-client-ip": "192.0.2.3",
      forwarded: "for=192.0.2.4",
      "cf-worker": "evil.example",
    };
    expect(await reader.read(requestOf({ ...forged, "cf-connecting-ip": "203.0.113.7" }), null)).toEqual({
      address: "203.0.113.7",
      key: "203.0.113.7",
      standing: "limited",
    });
    expect(await reader.read(requestOf(forged), null)).toEqual({ address: null, key: null, standing: "unknown" });
  });

  test("when self-hosted is the socket, or what a trusted proxy reports", async () => {
    const reader = readerOf({ config: { RUNTIME: "self-hosted", TRUSTED_PROXIES: ["10.0.0.0/8"] } });
    const forged = { "cf-connecting-ip": "192.0.2.9", "x-forwarded-for": "192.0.2.1, 198.51.100.5" };
    expect(await reader.read(requestOf(forged, "203.0.113.7:51234"), null)).toMatchObject({ address: "203.0.113.7" });
    expect(await reader.read(requestOf(forged, "10.1.1.1:51234"), null)).toMatchObject({ address: "198.51.100.5" });
    expect(await reader.read(requestOf(forged), null)).toMatchObject({ address: null, standing: "unknown" });
  });

  test("on one's own machine is 127.0.0.1 unless the request says otherwise", async () => {
    const reader = readerOf({ config: { RUNTIME: "local" } });
    expect(await reader.read(requestOf(), null)).toMatchObject({ key: "127.0.0.1" });
    expect(await reader.read(requestOf({ "cf-connecting-ip": "2001:db8::7" }), null)).toMatchObject({
      address: "2001:db8::7",
      key: "2001:db8::/64",
    });
  });

  test("that is somebody else's Worker is told apart by its zone, request by request", async () => {
    const reader = readerOf({ config: { RUNTIME: "cloudflare" } });
    const from = (zone: string) =>
      reader.read(requestOf({ "cf-connecting-ip": "2a06:98c0:3600::103", "cf-worker": zone }), null);
    expect(await from("one.example")).toMatchObject({ key: "worker:one.example" });
    expect(await from("two.example")).toMatchObject({ key: "worker:two.example" });
  });
});

describe("the client key", () => {
  const local = { config: { RUNTIME: "local" } } as const;

  test("by token is the same for the same tokens from any address, and holds no token", async () => {
    const reader = readerOf({ ...local, limits: { clientKey: "token-or-ip" } });
    const key = async (authorization: string, address: string) =>
      (await reader.read(requestOf({ authorization, "cf-connecting-ip": address }), null)).key;
    const first = await key("Bearer sid1,sid2", "203.0.113.1");
    expect(first).toMatch(/^token:[0-9a-f]{64}$/);
    expect(await key("Bearer sid2, sid1", "203.0.113.2")).toBe(first);
    expect(await key("Bearer sid3", "203.0.113.1")).not.toBe(first);
  });

  test("without a token is the address for token-or-ip, and one for all with token", async () => {
    expect(await readerOf({ ...local, limits: { clientKey: "token-or-ip" } }).read(requestOf(), null)).toMatchObject({
      key: "127.0.0.1",
    });
    expect(await readerOf({ ...local, limits: { clientKey: "token" } }).read(requestOf(), null)).toMatchObject({
      key: "token:none",
      address: "127.0.0.1",
    });
  });

  test("of an API key is its name where clients are counted by credential or the key has a limit of its own", async () => {
    const clients = { alice: { requests: 1, window: 1, blockDuration: 1 } };
    expect(await readerOf({ ...local, limits: { clientKey: "token" } }).read(requestOf(), "bob")).toMatchObject({
      key: "key:bob",
    });
    expect(await readerOf({ ...local, limits: { clients } }).read(requestOf(), "alice")).toMatchObject({
      key: "key:alice",
      address: "127.0.0.1",
    });
    expect(await readerOf({ ...local, limits: { clients } }).read(requestOf(), "bob")).toMatchObject({
      key: "127.0.0.1",
    });
  });
});

describe("the lists", () => {
  const standing = async (limits: Partial<RateLimitConfig>, address: string) =>
    (await readerOf({ config: { RUNTIME: "local" }, limits }).read(requestOf({ "cf-connecting-ip": address }), null))
      .standing;

  test("deny goes before onlyFrom, and both before exempt", async () => {
    const limits = {
      deny: ["192.0.2.66"],
      onlyFrom: ["192.0.2.0/24"],
      exempt: ["192.0.2.66", "192.0.2.1", "198.51.100.1"],
    };
    expect(await standing(limits, "192.0.2.66")).toBe("denied");
    expect(await standing(limits, "198.51.100.1")).toBe("denied");
    expect(await standing(limits, "192.0.2.1")).toBe("exempt");
    expect(await standing(limits, "192.0.2.2")).toBe("limited");
  });

  test("hold for every spelling of an address", async () => {
    expect(await standing({ deny: ["2001:DB8::/32"] }, "2001:db8:1::1")).toBe("denied");
    expect(await standing({ exempt: ["203.0.113.0/24"] }, "::ffff:203.0.113.9")).toBe("exempt");
  });

  test("without any everybody is limited", async () => {
    expect(await standing({}, "203.0.113.9")).toBe("limited");
  });
});
