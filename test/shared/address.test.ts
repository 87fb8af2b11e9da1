import { describe, expect, test } from "vitest";
import { AddressRanges, network64, parseAddress, parseRange, parseSocketAddress } from "../../src/shared/address.ts";
import type { Address } from "../../src/shared/address.ts";

const textOf = (address: Address | null) => address?.text ?? null;

describe("addresses", () => {
  test.each([
    ["203.0.113.7", "203.0.113.7"],
    [" 203.0.113.7 ", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["::FFFF:CB00:7107", "203.0.113.7"],
    ["0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"],
    ["[::ffff:203.0.113.7]", "203.0.113.7"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["2001:0db8::0001", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["::1", "::1"],
  ])("%s is the address %s", (given, expected) => {
    expect(textOf(parseAddress(given))).toBe(expected);
  });

  test.each([
    "",
    "unknown",
    "203.0.113",
    "203.0.113.256",
    "010.0.0.1",
    "0x7f.1",
    "2130706433",
    "2001:db8::1::2",
    ":::",
    "1.2.3.4:80",
    "1.2.3.4.5",
    `${"0".repeat(200)}::1`,
  ])("%j names no address", (given) => {
    expect(parseAddress(given)).toBeNull();
  });

  test.each([
    ["203.0.113.7:51234", "203.0.113.7"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["[::ffff:192.0.2.1]:1", "192.0.2.1"],
    ["203.0.113.7", "203.0.113.7"],
    ["2001:db8::1", "2001:db8::1"],
    ["unix:/run/edge.sock", null],
  ])("of the socket %s the address is %s", (given, expected) => {
    expect(textOf(parseSocketAddress(given))).toBe(expected);
  });

  test("the network of an IPv6 address is its first four groups", () => {
    const network = (text: string) =>
      network64((parseAddress(text) as Address).value as Parameters<typeof network64>[0]);
    expect(network("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::/64");
    expect(network("2001:db8::1")).toBe("2001:db8::/64");
    expect(network("::1")).toBe("::/64");
  });
});

describe("ranges", () => {
  const has = (ranges: readonly string[], text: string) => new AddressRanges(ranges).has(parseAddress(text) as Address);

  test("a range holds what its prefix says and nothing of the other family", () => {
    expect(has(["192.0.2.0/24"], "192.0.2.255")).toBe(true);
    expect(has(["192.0.2.0/24"], "192.0.3.0")).toBe(false);
    expect(has(["2001:db8::/32"], "2001:db8:ffff::1")).toBe(true);
    expect(has(["2001:db8::/32"], "2001:db9::1")).toBe(false);
    expect(has(["0.0.0.0/0"], "2001:db8::1")).toBe(false);
    expect(has(["::/0"], "192.0.2.1")).toBe(false);
    expect(has([], "192.0.2.1")).toBe(false);
  });

  test("an address is a range of one, in any spelling", () => {
    expect(has(["2001:DB8:0::1"], "2001:db8::1")).toBe(true);
    expect(has(["2001:db8::1"], "2001:db8::2")).toBe(false);
    expect(has(["::ffff:192.0.2.1"], "192.0.2.1")).toBe(true);
    expect(has(["192.0.2.1"], "::ffff:192.0.2.1")).toBe(true);
  });

  test("a range of mapped addresses is the IPv4 range that it maps", () => {
    expect(has(["::ffff:192.0.2.0/120"], "192.0.2.200")).toBe(true);
    expect(has(["::ffff:192.0.2.0/120"], "192.0.3.1")).toBe(false);
    expect(has(["::ffff:0.0.0.0/80"], "192.0.3.1")).toBe(false);
  });

  test.each(["192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "192.0.2.0/8/8", "192.0.2.0/-1", "example.com", "/8"])(
    "%j is no range",
    (given) => {
      expect(parseRange(given)).toBeNull();
    },
  );
});
