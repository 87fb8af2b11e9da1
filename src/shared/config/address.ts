/** Addresses and ranges in their strict spelling: `010.0.0.1` means two things to two programs, so it is neither here. */
import ipaddr from "ipaddr.js";

export function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (!text.includes("%") && ipaddr.IPv6.isValid(text));
}

export function isAddressOrRange(text: string): boolean {
  const parts = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/u.exec(text);
  const [, address, length] = parts ?? [];
  if (address === undefined || !isAddress(address)) return false;
  return length === undefined || Number(length) <= (address.includes(":") ? 128 : 32);
}
