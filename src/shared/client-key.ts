/**
 * Who a client is. The key names the client's `RateLimiter`, so every spelling of one client must be one key, and nothing
 * that a client can choose may enter it, except a credential.
 *
 * | key | client |
 * |---|---|
 * | `203.0.113.7` | an IPv4 address |
 * | `2001:db8:1:2::/64` | an IPv6 network: one customer has at least that many addresses |
 * | `worker:example.com` | somebody else's Worker, by its zone |
 * | `token:<64 hex digits>` | a Jimeng token, by its SHA-256; `token:none` for requests without one |
 * | `key:<name>` | an API key of ours, by its name |
 * | `operator:<one of the first two>` | whoever shows operators' tokens from there; counts wrong ones |
 */
import type { IPv6 } from "ipaddr.js";
import { network64, parseAddress, parseSocketAddress } from "./address.ts";
import type { Address, AddressRanges } from "./address.ts";
import type { Runtime } from "./config/config.ts";

/** What the platform and the request say about the other end; each null where it is missing. */
export interface PeerFacts {
  /** `CF-Connecting-IP`. */
  readonly cfConnectingIp: string | null;
  /** `request.cf.clientIp`: the socket's other end, with its port. */
  readonly socket: string | null;
  /** `X-Forwarded-For`, all of its lines joined by commas. */
  readonly forwardedFor: string | null;
}

/**
 * Every request of somebody else's Worker shows this address
 * (https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-connecting-ip-in-worker-subrequests).
 */
const othersWorkerAddress = "2a06:98c0:3600::103";

/** A domain name's length, RFC 1035 §2.3.4. */
const longestZone = 253;

/**
 * The client's address, believing only what this runtime vouches for:
 * on `cloudflare` the header that Cloudflare sets; on `self-hosted` the socket, or what trusted proxies report; on `local`
 * anything, since the machine is one's own.
 */
export function findAddress(runtime: Runtime, facts: PeerFacts, trustedProxies: AddressRanges): Address | null {
  const connecting = facts.cfConnectingIp === null ? null : parseAddress(facts.cfConnectingIp);
  if (runtime === "cloudflare") return connecting;
  if (runtime === "local") return connecting ?? parseAddress("127.0.0.1");
  const socket = facts.socket === null ? null : parseSocketAddress(facts.socket);
  if (socket === null || facts.forwardedFor === null || !trustedProxies.has(socket)) return socket;
  return beyondProxies(facts.forwardedFor, trustedProxies, socket);
}

/**
 * Each proxy appends whom it heard from, so the list is read from the right: the first address that is no trusted proxy is
 * the client, and whatever stands left of it is that client's own invention.
 */
function beyondProxies(forwardedFor: string, trustedProxies: AddressRanges, socket: Address): Address | null {
  let nearest: Address | null = socket;
  for (const hop of forwardedFor.split(",").toReversed()) {
    nearest = parseSocketAddress(hop.trim());
    if (nearest === null || !trustedProxies.has(nearest)) return nearest;
  }
  return nearest;
}

/** Whether the request comes from somebody else's Worker, so that only `CF-Worker` tells who it is. */
export function isOthersWorker(address: Address): boolean {
  return address.text === othersWorkerAddress;
}

/** `cfWorker`: the header `CF-Worker`, the zone of the Worker that sends the request; null without it. */
export function addressKey(address: Address, cfWorker: string | null): string {
  if (address.value.kind() === "ipv4") return address.text;
  const zone = isOthersWorker(address) ? normalZone(cfWorker ?? "") : null;
  return zone === null ? network64(address.value as IPv6) : `worker:${zone}`;
}

function normalZone(text: string): string | null {
  const zone = text.trim().toLowerCase();
  return zone.length <= longestZone && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(zone) ? zone : null;
}

/**
 * The account tokens of an `Authorization` header in one order, so that `Bearer a,b` and `Bearer b, a` are one client;
 * null without any.
 */
export function bearerTokens(authorization: string | null): string | null {
  const credentials = /^\s*bearer\s+(.*\S)\s*$/i.exec(authorization ?? "")?.[1];
  if (credentials === undefined) return null;
  const tokens = credentials.split(",").map((token) => token.trim());
  return (
    [...new Set(tokens)]
      .filter((token) => token !== "")
      .sort()
      .join(",") || null
  );
}

/** `sha256`: of `bearerTokens`; null for a request without any. */
export function tokenKey(sha256: Uint8Array | null): string {
  if (sha256 === null) return "token:none";
  return `token:${Array.from(sha256, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function apiKeyKey(name: string): string {
  return `key:${name}`;
}

/** A client as an operator names it: any spelling of an address, a /64, or a key of another kind. null for all else. */
export function parseClientKey(text: string): string | null {
  const bare = text.trim();
  const separator = bare.indexOf(":");
  const [kind, rest] = [bare.slice(0, separator).toLowerCase(), bare.slice(separator + 1)];
  if (kind === "token") return /^(none|[0-9a-f]{64})$/i.test(rest) ? `token:${rest.toLowerCase()}` : null;
  if (kind === "key") return isApiKeyName(rest) ? apiKeyKey(rest) : null;
  if (kind === "operator") return rest === "unknown" ? "operator:unknown" : operatorKey(parseAddressKey(rest));
  if (kind === "worker") {
    const zone = normalZone(rest);
    return zone === null ? null : `worker:${zone}`;
  }
  return parseAddressKey(bare);
}

function operatorKey(addressed: string | null): string | null {
  return addressed === null ? null : `operator:${addressed}`;
}

/** Any spelling of an address, or a /64. */
function parseAddressKey(text: string): string | null {
  const [base = "", prefix, ...more] = text.split("/");
  const address = parseAddress(base);
  if (address === null || more.length > 0) return null;
  const whole = address.value.kind() === "ipv4" ? ["32"] : ["64", "128"];
  return prefix === undefined || whole.includes(prefix) ? addressKey(address, null) : null;
}

/** The name of an API key: it appears in logs, in addresses of the operators' API and in client keys. */
export function isApiKeyName(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text);
}
