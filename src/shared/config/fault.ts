/** How a fault speaks of what came: shortened, never a secret, never a thrown error, whatever the value is. */
import type { ConfigFault } from "./config.ts";

const shownCharacters = 80;
const shownKeys = 5;

export type PathKeys = readonly (string | number)[];

/** `["BACKEND_SERVERS", 0, "weight"]` → `BACKEND_SERVERS[0].weight`. */
export function formatPath(keys: PathKeys): string {
  let text = "";
  for (const [index, key] of keys.entries()) {
    // Somebody who writes "X-Secret: value" as a key has put the secret there.
    if (keys[index - 1] === "headers" && !/^[\w-]{1,64}$/u.test(String(key))) text += ".***";
    else if (typeof key === "number") text += `[${key}]`;
    else text += text === "" ? shorten(key, shownCharacters) : `.${shorten(key, shownCharacters)}`;
  }
  return text;
}

export function fault(keys: PathKeys, allowed: string, received: unknown): ConfigFault {
  const shown = holdsSecret(keys) && received !== undefined ? "***" : describe(received);
  return { field: formatPath(keys), allowed, received: shown };
}

/** Headers of backends and everything of a webhook but its kind are credentials, also when they are of the wrong type. */
export function holdsSecret(keys: PathKeys): boolean {
  return keys.includes("headers") || (keys.includes("webhooks") && keys.at(-1) !== "kind");
}

/** A value in a few words. Containers are counted, not printed: what is inside may be secret or endless. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string")
    return value === "" ? "an empty text" : JSON.stringify(shorten(maskUrl(value), shownCharacters));
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value !== "object") return `a ${typeof value}`;
  const keys = Object.keys(value);
  if (keys.length === 0) return "an empty object";
  const named = keys.slice(0, shownKeys).map((key) => shorten(key, 30));
  return `an object with ${named.join(", ")}${keys.length > shownKeys ? `, … (${keys.length} keys)` : ""}`;
}

/** Takes credentials out of whatever looks like a URL: user name, password and query. */
export function maskUrl(text: string): string {
  return text
    .replace(/^([^:/?#\s]*:?[/\\]{2})[^/?#\\]*@/u, "$1***@")
    .replace(/^([^/?#\s@]+:[^/?#\s@]*)@/u, "***@")
    .replace(/\?[^#]*/u, "?***");
}

function shorten(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length).toWellFormed()}… (${text.length} characters)`;
}

/** The known name that `name` was probably meant to be; null when none is near. */
export function nearestName(name: string, known: readonly string[]): string | null {
  // A name much longer than any known one is no slip of the finger, and comparing it would cost its length squared.
  if (name.length > 60) return null;
  const wanted = plain(name);
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = editDistance(wanted, plain(candidate));
    const slips = Math.floor(Math.max(wanted.length, plain(candidate).length) / 3);
    if (distance <= slips && distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

export const unknownSettingMark = "no such setting";

/** What is said where a name is not known: the one that was probably meant, or those there are. */
export function unknownSetting(nearest: string | null, known: readonly string[] = []): string {
  if (nearest !== null) return `${unknownSettingMark}; did you mean ${nearest}?`;
  return known.length === 0 ? unknownSettingMark : `${unknownSettingMark}; known are ${known.join(", ")}`;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_\-\s]/gu, "");
}

/** Levenshtein's, row by row. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
}
