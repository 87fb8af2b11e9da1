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
