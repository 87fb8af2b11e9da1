import { describe, expect, test } from "vitest";
import { AddressRanges, parseAddress } from "../../src/shared/address.ts";
import type { Address } from "../../src/shared/address.ts";
import { addressKey, bearerTokens, findAddress, parseClientKey, tokenKey } from "../../src/shared/client-key.ts";
import type { PeerFacts } from "../../src/shared/client-key.ts";

const nothing: PeerFacts = { cfConnectingIp: null, socket: null, forwardedFor: null };
const nobody = new AddressRanges([]);
const proxies = new AddressRanges(["10.0.0.0/8", "2001:db8:ffff::/48"]);
const keyOf = (text: string, cfWorker: string | null = null) => addressKey(parseAddress(text) as Address, cfWorker);

describe("the client's address on cloudflare", () => {
  test("is CF-Connecting-IP and nothing a client can send", () => {
    const facts = { cfConnectingIp: "203.0.113.7", socket: "198.51.100.1:1", forwardedFor: "192.0.2.1" };
    expect(findAddress("cloudflare", facts, proxies)?.text).toBe("203.0.113.7");
    expect(findAddress("cloudflare", { ...facts, cfConnectingIp: null }, proxies)).toBeNull();
    expect(findAddress("cloudflare", { ...facts, cfConnectingIp: "unknown" }, proxies)).toBeNull();
  });
});

describe("the client's address when self-hosted", () => {
  const find = (socket: string | null, forwardedFor: string | null) =>
    findAddress("self-hosted", { ...nothing, socket, forwardedFor }, proxies)?.text ?? null;

  test("is the socket's, without its port; a CF-Connecting-IP that a client sends is not believed", () => {
    expect(
      findAddress("self-hosted", { ...nothing, cfConnectingIp: "203.0.113.7", socket: "198.51.100.1:4711" }, nobody)
        ?.text,
    ).toBe("198.51.100.1");
    expect(findAddress("self-hosted", { ...nothing, cfConnectingIp: "203.0.113.7" }, nobody)).toBeNull();
  });

  test("X-Forwarded-For counts only from a trusted proxy", () => {
    expect(find("198.51.100.1:4711", "203.0.113.7")).toBe("198.51.100.1");
    expect(find("10.1.2.3:4711", "203.0.113.7")).toBe("203.0.113.7");
    expect(find("[2001:db8:ffff::1]:4711", "203.0.113.7")).toBe("203.0.113.7");
  });

  test("of X-Forwarded-For the rightmost address that is no trusted proxy counts, not what the client put before it", () => {
    expect(find("10.1.2.3:1", "192.0.2.66, 203.0.113.7")).toBe("203.0.113.7");
    expect(find("10.1.2.3:1", "192.0.2.66, 203.0.113.7, 10.9.9.9, 10.8.8.8")).toBe("203.0.113.7");
    expect(find("10.1.2.3:1", "192.0.2.66, 203.0.113.7:5555")).toBe("203.0.113.7");
    expect(find("10.1.2.3:1", "garbage, 203.0.113.7")).toBe("203.0.113.7");
  });

  test("what a trusted proxy reports but nobody can read is no address", () => {
    expect(find("10.1.2.3:1", "203.0.113.7, unknown")).toBeNull();
    expect(find("10.1.2.3:1", "203.0.113.7,")).toBeNull();
  });

  test("a trusted proxy that asks for itself is the client", () => {
    expect(find("10.1.2.3:1", null)).toBe("10.1.2.3");
    expect(find("10.1.2.3:1", "10.4.4.4, 10.5.5.5")).toBe("10.4.4.4");
  });
});

describe("the client's address on one's own machine", () => {
  test("is what CF-Connecting-IP says, and else 127.0.0.1", () => {
    expect(findAddress("local", { ...nothing, cfConnectingIp: "203.0.113.7" }, nobody)?.text).toBe("203.0.113.7");
    expect(findAddress("local", nothing, nobody)?.text).toBe("127.0.0.1");
    expect(findAddress("local", { ...nothing, cfConnectingIp: "nonsense" }, nobody)?.text).toBe("127.0.0.1");
  });
});

describe("the client key", () => {
  test("any spelling of one address is one key", () => {
    const spellings = ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:CB00:7107", "0:0:0:0:0:FFFF:203.0.113.7"];
    expect(new Set(spellings.map((spelling) => keyOf(spelling)))).toEqual(new Set(["203.0.113.7"]));
  });

  test("an IPv6 client is its /64: changing the last half gives no new limit", () => {
    expect(keyOf("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::/64");
    expect(keyOf("2001:DB8:1:2:ffff::")).toBe("2001:db8:1:2::/64");
    expect(keyOf("2001:db8:1:3::1")).toBe("2001:db8:1:3::/64");
  });

  test("somebody else's Worker is its zone, and only at the address that Cloudflare gives to Workers", () => {
    expect(keyOf("2a06:98c0:3600::103", "Example.com")).toBe("worker:example.com");
    expect(keyOf("2a06:98c0:3600:0::103", "other.example")).toBe("worker:other.example");
    expect(keyOf("2a06:98c0:3600::103")).toBe("2a06:98c0:3600::/64");
    expect(keyOf("2a06:98c0:3600::103", "not a zone")).toBe("2a06:98c0:3600::/64");
    expect(keyOf("203.0.113.7", "example.com")).toBe("203.0.113.7");
    expect(keyOf("2001:db8::1", "example.com")).toBe("2001:db8::/64");
  });

  test("the tokens of a request are one text whatever their order, spaces and repetitions", () => {
    expect(bearerTokens("Bearer b, a,b")).toBe("a,b");
    expect(bearerTokens("bearer   a,b ")).toBe("a,b");
    for (const none of [null, "", "Bearer", "Bearer ,", "Basic YTpi"]) expect(bearerTokens(none)).toBeNull();
  });

  test("a token's key shows its hash alone", () => {
    expect(tokenKey(Uint8Array.from([0, 15, 255]))).toBe("token:000fff");
    expect(tokenKey(null)).toBe("token:none");
  });
});

describe("a client as an operator names it", () => {
  const hash = "ab".repeat(32);
  test.each([
    [" 203.0.113.7", "203.0.113.7"],
    ["203.0.113.7/32", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["2001:DB8:1:2:3::4", "2001:db8:1:2::/64"],
    ["2001:db8:1:2:3::4/128", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::/64", "2001:db8:1:2::/64"],
    ["[2001:db8:1:2::9]", "2001:db8:1:2::/64"],
    [`token:${hash.toUpperCase()}`, `token:${hash}`],
    ["token:none", "token:none"],
    ["key:Alice_1", "key:Alice_1"],
    ["worker:Example.COM", "worker:example.com"],
  ])("%s is %s", (given, expected) => {
    expect(parseClientKey(given)).toBe(expected);
    expect(parseClientKey(expected)).toBe(expected);
  });

  test.each([
    "",
    "alice",
    "203.0.113.0/24",
    "2001:db8::/48",
    "token:abc",
    "key:",
    "key:a b",
    "worker:",
    "worker:a/b",
    "203.0.113.7/32/1",
  ])("%j names no client", (given) => {
    expect(parseClientKey(given)).toBeNull();
  });
});
