/**
 * Behaviour on demand: markers in a prompt (or in the query of any request), such as `[[delay=3000]] a cat`.
 * `demo/README.md` lists them.
 */
export const markerNames = [
  "delay",
  "code",
  "message",
  "status",
  "retry-after",
  "reset",
  "cut",
  "garbage",
  "silent",
  "b64",
  "count",
  "only",
  "once",
] as const;
export type MarkerName = (typeof markerNames)[number];

/** A marker without `=value` maps to the empty string. */
export type Markers = Partial<Record<MarkerName, string>>;

const none: Markers = {};
const pattern = /\[\[([a-z0-9-]+)(?:=([^\]]*))?\]\]/g;
const names: ReadonlySet<string> = new Set(markerNames);

export function readMarkers(text: string): Markers {
  if (!text.includes("[[")) return none;
  const found: Markers = {};
  for (const [, name, value] of text.matchAll(pattern)) {
    if (name !== undefined && names.has(name)) found[name as MarkerName] = value ?? "";
  }
  return found;
}

const units: Readonly<Record<string, number>> = { "": 1, B: 1, KiB: 1024, MiB: 1024 * 1024 };

/** `12MiB`, `64KiB`, `5000` → bytes; null where it is no size. */
export function readBytes(text: string): number | null {
  const match = /^(\d+)(B|KiB|MiB|)$/.exec(text);
  return match === null ? null : Number(match[1]) * (units[match[2] ?? ""] ?? 1);
}

/**
 * Drops markers that are meant for another backend (`only`), or that have had their one time (`once`).
 * `seen` remembers the texts of this process.
 */
export function markersFor(text: string, backend: string, seen: Set<string>): Markers {
  const found = readMarkers(text);
  if (found.only !== undefined && found.only !== backend) return none;
  if (found.once === undefined) return found;
  if (seen.has(text)) return none;
  seen.add(text);
  return found;
}
