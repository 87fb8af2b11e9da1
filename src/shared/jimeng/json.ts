/** Looking into JSON of unknown shape. */

export type JsonObject = { readonly [field: string]: unknown };

/** The value as an object, or null: arrays and everything else are none. */
export function asObject(value: unknown): JsonObject | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

/** A finite number, or null. */
export function asNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A string that says something, within `maxLength` UTF-16 units, or null. */
export function asText(value: unknown, maxLength: number): string | null {
  return typeof value === "string" && value !== "" && value.length <= maxLength ? value : null;
}

/** JSON that opens and doesn't close: a body without a length whose connection was closed halfway ends like a whole one. */
export function isTorn(bytes: Uint8Array): boolean {
  let first = 0;
  let last = bytes.length - 1;
  while (first < last && isBlank(bytes[first] as number)) first += 1;
  while (last > first && isBlank(bytes[last] as number)) last -= 1;
  const opening = bytes[first];
  if (opening !== 0x7b && opening !== 0x5b) return false;
  // `{` and `}`, `[` and `]` are two apart.
  return first === last || bytes[last] !== opening + 2;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
