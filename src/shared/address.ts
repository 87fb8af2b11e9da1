/**
 * Network addresses and ranges in one spelling each. An IPv4 address that arrives as IPv6 (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2)
 * is the IPv4 address; a zone (`%eth0`) says nothing about the other end and is dropped.
 */
import ipaddr from "ipaddr.js";
import type { IPv4, IPv6 } from "ipaddr.js";

export interface Address {
  /** Dotted decimal, or RFC 5952 for IPv6. */
  readonly text: string;
  readonly value: IPv4 | IPv6;
}

export interface AddressRange {
  readonly first: IPv4 | IPv6;
  readonly prefixLength: number;
}

const mappedPrefixLength = 96;

/** Longer than any spelling of an address with zone, brackets and port. */
const longestText = 128;

/**
 * Any spelling of one address. For IPv4 that is four decimal numbers and nothing else: in `010.1` some read octal digits
 * and some don't, so it names no address. null for all that isn't one.
 */
export function parseAddress(text: string): Address | null {
  if (text.length > longestText) return null;
  const bare = text.trim().replace(/^\[([^\]]*)\]$/, "$1");
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return addressOf(ipaddr.IPv4.parse(bare));
  if (!bare.includes(":") || !ipaddr.IPv6.isValid(bare)) return null;
  const wide = ipaddr.IPv6.parse(bare);
  return addressOf(wide.isIPv4MappedAddress() ? wide.toIPv4Address() : new ipaddr.IPv6(wide.parts));
}

/** An address that may carry a port, as sockets and proxies write them: `192.0.2.1:443`, `[2001:db8::1]:443`. */
export function parseSocketAddress(text: string): Address | null {
  if (text.length > longestText) return null;
  const withPort = /^\s*(?:\[([^\]]*)\]|([\d.]+)):\d{1,5}\s*$/.exec(text);
  return parseAddress(withPort?.[1] ?? withPort?.[2] ?? text);
}

function addressOf(value: IPv4 | IPv6): Address {
  return { text: value.kind() === "ipv4" ? value.toString() : (value as IPv6).toRFC5952String(), value };
}

/** An address, or a range as `192.0.2.0/24`; null for all that is neither. */
export function parseRange(text: string): AddressRange | null {
  const [base = "", prefix, ...more] = text.trim().split("/");
  if (more.length > 0) return null;
  const address = parseAddress(base);
  if (address === null) return null;
  const bits = address.value.kind() === "ipv4" ? 32 : 128;
  if (prefix === undefined) return { first: address.value, prefixLength: bits };
  if (!/^\d{1,3}$/.test(prefix)) return null;
  const mapped = bits === 32 && base.includes(":");
  const prefixLength = Number(prefix) - (mapped ? mappedPrefixLength : 0);
  if (prefixLength >= 0) return prefixLength <= bits ? { first: address.value, prefixLength } : null;
  // Wider than the mapped block: an IPv6 range that happens to be written with four decimals.
  return { first: (address.value as IPv4).toIPv4MappedAddress(), prefixLength: Number(prefix) };
}

/** Compiled once, asked often. What is not a range is left out: the reading of the configuration has refused it. */
export class AddressRanges {
  readonly #ranges: readonly AddressRange[];

  constructor(texts: readonly string[]) {
    this.#ranges = texts.map(parseRange).filter((range) => range !== null);
  }

  get size(): number {
    return this.#ranges.length;
  }

  has({ value }: Address): boolean {
    return this.#ranges.some(
      ({ first, prefixLength }) => first.kind() === value.kind() && value.match(first, prefixLength),
    );
  }
}

/** The network of an IPv6 address, as `2001:db8:1:2::/64`. */
export function network64(value: IPv6): string {
  return `${new ipaddr.IPv6([...value.parts.slice(0, 4), 0, 0, 0, 0]).toRFC5952String()}/64`;
}
