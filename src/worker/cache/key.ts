/** Keys: what makes two requests the same question. The client is in none of them. */
import type { Selection } from "../../shared/cache/cached-answer.ts";

/**
 * Of a route with a lifetime of its own: path and query as the backend sees them, so that the order of a query counts and no two targets
 * share a key.
 */
export function fixedKey(generation: string, target: string): string {
  return `${generation}\n${target}`;
}

/** A store's key: short, of one alphabet, and without a secret that a selecting field may hold. */
export async function digest(...parts: readonly string[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(parts));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  let hex = "";
  for (const byte of hash) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** Of a target where the origin's own rules hold (RFC 9111 §2): its URI. */
export function slotKey(generation: string, host: string, target: string): Promise<string> {
  return digest("origin", generation, host.toLowerCase(), target);
}

/** Of one of a target's answers that its slot has no room for. */
export function variantKey(
  slot: string,
  epoch: string,
  names: readonly string[],
  selection: Selection,
): Promise<string> {
  return digest("variant", slot, epoch, JSON.stringify(names), JSON.stringify(selection));
}
