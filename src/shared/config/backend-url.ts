/**
 * A backend's address, read strictly: scheme, host, optional port and path prefix, in one spelling. It follows the
 * WHATWG URL standard where a fetch would (https://url.spec.whatwg.org/#concept-ipv4-parser), so that no spelling of an
 * address hides what it is, and refuses what a fetch would quietly repair.
 */
import ipaddr from "ipaddr.js";

export interface BackendUrl {
  /** Canonical: lower case, no default port, no trailing slash. */
  readonly href: string;
  readonly scheme: "http" | "https";
  /** An IPv6 address stands in brackets. */
  readonly host: string;
  /** The one in use, the scheme's own where none was given. */
  readonly port: number;
  readonly hostKind: "name" | "ipv4" | "ipv6";
  /** This machine, by address or by name. */
  readonly loopback: boolean;
  /** A name that no public resolver knows (`nas.local`, `jimeng`). */
  readonly privateName: boolean;
}

export type BackendUrlReading =
  { readonly ok: true; readonly url: BackendUrl } | { readonly ok: false; readonly problem: string };

const maxLength = 2048;
const defaultPorts = { http: 80, https: 443 } as const;

export function readBackendUrl(text: string): BackendUrlReading {
  if (text.length > maxLength) return problem(`at most ${maxLength} characters`);
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\s\u0000-\u001f\u007f]/u.test(text)) return problem("without white space or control characters");
  const parts = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#\\]*)([^?#]*)(\?[^#]*)?(#.*)?$/u.exec(text);
  if (parts === null) return problem("beginning with http:// or https://");
  const [, rawScheme = "", authority = "", path = "", query, fragment] = parts;
  const scheme = rawScheme.toLowerCase();
  if (scheme !== "http" && scheme !== "https") return problem("beginning with http:// or https://");
  if (authority.includes("@")) return problem("without user name or password (use `headers` for a secret)");
  if (query !== undefined) return problem("without a query");
  if (fragment !== undefined) return problem("without a fragment");
  const place = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/u.exec(authority);
  const host = readHost(place?.[1] ?? "");
  if (place === null || host === null) return problem(hostRule(authority));
  const port = readPort(place[2], defaultPorts[scheme]);
  if (port === null) return problem("with a port from 1 to 65535, or none");
  const prefix = readPrefix(path);
  if (prefix === null)
    return problem("with a plain path prefix (no //, dot segments, backslashes or stray characters)");
  const shownPort = port === defaultPorts[scheme] ? "" : `:${port}`;
  return { ok: true, url: { href: `${scheme}://${host.host}${shownPort}${prefix}`, scheme, port, ...host } };
}

type Host = Pick<BackendUrl, "host" | "hostKind" | "loopback" | "privateName">;

function readHost(text: string): Host | null {
  if (text.startsWith("[")) return readIpv6(text.slice(1, -1));
  const name = text.toLowerCase().replace(/\.$/u, "");
  const labels = name.split(".");
  // A host whose last label is a number is an IPv4 address or nothing: "ends in a number" of the URL standard.
  if (/^(?:\d+|0x[0-9a-f]*)$/u.test(labels.at(-1) ?? "")) return readIpv4(labels);
  const wellFormed = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/u.test(label));
  if (!wellFormed || name.length > 253) return null;
  const loopback = isLoopbackName(name);
  return { host: name, hostKind: "name", loopback, privateName: !loopback && isPrivateName(labels) };
}

function readIpv6(text: string): Host | null {
  // A zone identifier means something on one machine only.
  if (text.includes("%") || !ipaddr.IPv6.isValid(text)) return null;
  const address = ipaddr.IPv6.parse(text);
  const inner = address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
  const loopback = inner.range() === "loopback" || inner.range() === "unspecified";
  return { host: `[${address.toRFC5952String()}]`, hostKind: "ipv6", loopback, privateName: false };
}

/** One to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`); the last fills what is left. */
function readIpv4(labels: readonly string[]): Host | null {
  const numbers = labels.map(readIpv4Number);
  const last = numbers.at(-1);
  if (numbers.length > 4 || last === undefined || last === null) return null;
  if (last >= 256 ** (5 - numbers.length)) return null;
  let value = last;
  for (const [index, part] of numbers.slice(0, -1).entries()) {
    if (part === null || part > 255) return null;
    value += part * 256 ** (3 - index);
  }
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256);
  // 0.0.0.0 reaches this machine on the systems that answer it at all.
  const loopback = octets[0] === 127 || value === 0;
  return { host: octets.join("."), hostKind: "ipv4", loopback, privateName: false };
}

function readIpv4Number(text: string): number | null {
  if (/^0x[0-9a-f]*$/u.test(text)) return text === "0x" ? 0 : Number(text);
  if (/^0[0-7]+$/u.test(text)) return Number.parseInt(text, 8);
  return /^(?:0|[1-9]\d*)$/u.test(text) ? Number(text) : null;
}

function isLoopbackName(name: string): boolean {
  // RFC 6761 §6.3: `localhost.` and everything below it; the others are Linux distributions' names in /etc/hosts.
  const known = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
  return known.includes(name) || name.endsWith(".localhost");
}

function isPrivateName(labels: readonly string[]): boolean {
  // RFC 6762 (local), RFC 8375 (home.arpa), ICANN's reservation of `internal`; `lan` is what home routers hand out.
  const suffixes = ["local", "internal", "lan"];
  return labels.length === 1 || suffixes.includes(labels.at(-1) ?? "") || labels.slice(-2).join(".") === "home.arpa";
}

function hostRule(authority: string): string {
  if (/[^\u0021-\u007e]/u.test(authority)) return "with the host in its ASCII form (xn--…)";
  return "with a host name or an IP address (IPv6 in brackets)";
}

function readPort(text: string | undefined, otherwise: number): number | null {
  if (text === undefined) return otherwise;
  if (!/^\d{1,6}$/u.test(text)) return null;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : null;
}

/** "" or "/prefix". https://www.rfc-editor.org/rfc/rfc3986#section-3.3 */
function readPrefix(path: string): string | null {
  const prefix = path.replace(/\/+$/u, "");
  if (prefix === "") return path.length > 1 ? null : "";
  if (!/^(?:\/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+$/u.test(prefix)) return null;
  if (path.endsWith("//")) return null;
  const dots = prefix.split("/").some((segment) => /^(?:\.|%2e){1,2}$/iu.test(segment));
  return dots || /%(?:2f|5c|00)/iu.test(prefix) ? null : prefix;
}

function problem(text: string): BackendUrlReading {
  return { ok: false, problem: text };
}
