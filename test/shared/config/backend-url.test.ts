import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readBackendUrl } from "../../../src/shared/config/backend-url.ts";

function accepted(text: string) {
  const reading = readBackendUrl(text);
  if (!reading.ok) throw new Error(`${text} was refused: ${reading.problem}`);
  return reading.url;
}

function refused(text: string): string {
  const reading = readBackendUrl(text);
  if (reading.ok) throw new Error(`${text} was accepted as ${reading.url.href}`);
  return reading.problem;
}

describe("one spelling for one address", () => {
  test.each([
    ["https://a.example.com", "https://a.example.com"],
    ["HTTPS://A.Example.COM/", "https://a.example.com"],
    ["https://a.example.com:443", "https://a.example.com"],
    ["http://a.example.com:80/", "http://a.example.com"],
    ["https://a.example.com:0443", "https://a.example.com"],
    ["http://a.example.com:443", "http://a.example.com:443"],
    ["https://a.example.com.", "https://a.example.com"],
    ["https://a.example.com:8443/jimeng/", "https://a.example.com:8443/jimeng"],
    ["https://a.example.com/a/b%20c", "https://a.example.com/a/b%20c"],
    ["https://xn--fiq228c.example.com", "https://xn--fiq228c.example.com"],
    ["http://jimeng_api:5100", "http://jimeng_api:5100"],
    ["http://[::1]:9101", "http://[::1]:9101"],
    ["http://[2001:DB8:0:0:0:0:0:1]", "http://[2001:db8::1]"],
    ["http://0x7f.1", "http://127.0.0.1"],
  ])("%s is %s", (text, href) => {
    expect(accepted(text).href).toBe(href);
  });
});

describe("a raw IPv4 address is seen in every spelling that a fetch understands", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1", true],
    ["127.1", "127.0.0.1", true],
    ["2130706433", "127.0.0.1", true],
    ["0x7f000001", "127.0.0.1", true],
    ["0X7F.0.0.1", "127.0.0.1", true],
    ["0177.0.0.01", "127.0.0.1", true],
    ["127.0.0.1.", "127.0.0.1", true],
    ["0x7f.0.0x1", "127.0.0.1", true],
    ["0", "0.0.0.0", true],
    ["0x", "0.0.0.0", true],
    ["0.0.0.0", "0.0.0.0", true],
    ["127.255.255.254", "127.255.255.254", true],
    ["192.0.2.7", "192.0.2.7", false],
    ["0300.0.2.7", "192.0.2.7", false],
    ["3221225991", "192.0.2.7", false],
    ["192.519", "192.0.2.7", false],
  ])("%s is %s", (host, address, loopback) => {
    expect(accepted(`http://${host}:9101`)).toMatchObject({ host: address, hostKind: "ipv4", loopback });
  });

  test("whatever the address and the spelling, it agrees with the platform's URL", () => {
    const part = fc.oneof(
      fc.nat(300).map(String),
      fc.nat(300).map((n) => `0x${n.toString(16)}`),
      fc.nat(300).map((n) => `0${n.toString(8)}`),
      fc.nat(0xffff_ffff).map(String),
      fc.constantFrom("08", "09", "00", "0x", "0xg", "4294967296", "a"),
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), fc.boolean(), (parts, dot) => {
        const text = `http://${parts.join(".")}${dot ? "." : ""}`;
        const reading = readBackendUrl(text);
        const platform = URL.canParse(text) ? new URL(text).hostname.replace(/\.$/u, "") : null;
        expect(reading.ok ? reading.url.host : null).toBe(platform);
      }),
      { numRuns: 3000 },
    );
  });
});

describe("IPv6 literals", () => {
  test.each([
    ["[::1]", true],
    ["[0:0:0:0:0:0:0:1]", true],
    ["[::]", true],
    ["[::ffff:127.0.0.1]", true],
    ["[::ffff:7f00:1]", true],
    ["[2001:db8::1]", false],
    ["[::ffff:192.0.2.7]", false],
  ])("%s: loopback %s", (host, loopback) => {
    expect(accepted(`http://${host}`)).toMatchObject({ hostKind: "ipv6", loopback });
  });

  test.each(["[fe80::1%25eth0]", "[::1", "::1", "[]", "[::g]", "[1::2::3]", "[127.0.0.1]", "[::1]x", "[v1.a]"])(
    "%s is refused",
    (host) => {
      refused(`http://${host}`);
    },
  );
});

describe("names that lead to this machine or nowhere public are known", () => {
  test.each([
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "ip6-loopback",
  ])("%s is loopback", (host) => {
    expect(accepted(`http://${host}`)).toMatchObject({ hostKind: "name", loopback: true, privateName: false });
  });

  test.each(["nas.local", "jimeng", "db.internal", "router.lan", "box.home.arpa"])("%s is private", (host) => {
    expect(accepted(`http://${host}`)).toMatchObject({ loopback: false, privateName: true });
  });

  test.each([
    "localhost.example.com",
    "notlocalhost.com",
    "local.example.com",
    "127.0.0.1.example.com",
    "127.0.0.1.nip.io",
  ])("%s is public", (host) => {
    expect(accepted(`http://${host}`)).toMatchObject({ hostKind: "name", loopback: false, privateName: false });
  });
});

describe("what a fetch would quietly repair is refused, and the reason is told", () => {
  test.each([
    ["", "http://"],
    ["a.example.com", "http://"],
    ["//a.example.com", "http://"],
    ["ftp://a.example.com", "http://"],
    ["javascript:alert(1)", "http://"],
    ["http:/a.example.com", "http://"],
    ["http:\\\\a.example.com", "http://"],
    ["https://", "host"],
    ["https:///path", "host"],
    ["https://user:secret@a.example.com", "user name"],
    ["https://user@a.example.com", "user name"],
    ["https://@a.example.com", "user name"],
    ["https://a.example.com?x=1", "query"],
    ["https://a.example.com/?", "query"],
    ["https://a.example.com#top", "fragment"],
    [" https://a.example.com", "white space"],
    ["https://a.example.com ", "white space"],
    ["https://a.exa\tmple.com", "white space"],
    ["https://a.example.com\n", "white space"],
    ["https://a.example.com\u0000", "control"],
    ["https://例子.example.com", "xn--"],
    ["https://ａ.example.com", "xn--"],
    ["https://%61.example.com", "host"],
    ["https://a..example.com", "host"],
    ["https://.example.com", "host"],
    ["https://-a.example.com", "host"],
    ["https://a-.example.com", "host"],
    [`https://${"a".repeat(64)}.example.com`, "host"],
    [`https://${"a.".repeat(130)}com`, "host"],
    ["https://a,b.example.com", "host"],
    ["http://256.1.1.1", "host"],
    ["http://1.2.3.4.5", "host"],
    ["http://1.2.3.08", "host"],
    ["http://4294967296", "host"],
    ["https://a.example.com:", "port"],
    ["https://a.example.com:0", "port"],
    ["https://a.example.com:65536", "port"],
    ["https://a.example.com:http", "port"],
    ["https://a.example.com:80:90", "port"],
    ["https://a.example.com:+80", "port"],
    ["https://a.example.com//", "path"],
    ["https://a.example.com//b", "path"],
    ["https://a.example.com/b//c", "path"],
    ["https://a.example.com/b/../c", "path"],
    ["https://a.example.com/.", "path"],
    ["https://a.example.com/%2e%2E/c", "path"],
    ["https://a.example.com/%2f", "path"],
    ["https://a.example.com/b\\c", "path"],
    ["https://a.example.com\\b", "path"],
    ["https://a.example.com/%zz", "path"],
    ["https://a.example.com/ü", "path"],
    [`https://a.example.com/${"a".repeat(2100)}`, "characters"],
  ])("%j", (text, reason) => {
    expect(refused(text)).toContain(reason);
  });
});

test("what is accepted is the platform's URL, is accepted again, and stays as it is", () => {
  const host = fc.oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6().map((address) => `[${address}]`),
    fc.webAuthority({ withPort: true, withIPv4: true, withIPv6: true }),
  );
  const url = fc.tuple(
    fc.constantFrom("http", "https", "HTTP", "ftp"),
    fc.oneof(host, fc.string()),
    fc.oneof(fc.constant(""), fc.webPath(), fc.string()),
  );
  fc.assert(
    fc.property(url, ([scheme, place, path]) => {
      const reading = readBackendUrl(`${scheme}://${place}${path}`);
      if (!reading.ok) return;
      const { href, host: shown, port } = reading.url;
      const platform = new URL(href);
      expect(platform.href.replace(/\/$/u, "")).toBe(href);
      expect(platform.hostname).toBe(shown);
      expect(platform.port === "" ? { "http:": 80, "https:": 443 }[platform.protocol] : Number(platform.port)).toBe(
        port,
      );
      expect(accepted(href)).toEqual(reading.url);
    }),
    { numRuns: 2000 },
  );
});
