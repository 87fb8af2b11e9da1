/**
 * `Cache-Control` (RFC 9111 §5.2) and `CDN-Cache-Control` (RFC 9213) as one thing: directive names, lower case, to their
 * arguments. Whatever can't be read ends on the safe side: a lifetime of nothing, a restriction that applies in full.
 */

/** `true`: no argument. `null`: an argument that can't be read, or two that contradict each other. */
export type Argument = string | true | null;

export type Directives = ReadonlyMap<string, Argument>;

export const noDirectives: Directives = new Map();

/** Beyond this a lifetime is "for ever" (RFC 9111 §1.2.2). */
const longestS = 2 ** 31;

const element = /^([!#$%&'*+\-.^_`|~\w]+)(?:=(?:([!#$%&'*+\-.^_`|~\w]+)|"((?:[^"\\]|\\.)*)"))?$/;

/** Never throws. A quoted string without an end makes everything after it doubtful, so the field reads as `no-store`. */
export function parseCacheControl(field: string | null): Directives {
  if (field === null || field.trim() === "") return noDirectives;
  const elements = splitList(field);
  if (elements === null) return new Map([["no-store", true]]);
  const directives = new Map<string, Argument>();
  for (const text of elements) {
    const match = element.exec(text);
    if (match?.[1] === undefined) {
      for (const name of namesIn(text)) directives.set(name, null);
      continue;
    }
    const name = match[1].toLowerCase();
    const argument = match[2] ?? match[3]?.replace(/\\(.)/g, "$1") ?? true;
    directives.set(name, directives.has(name) && directives.get(name) !== argument ? null : argument);
  }
  return directives;
}

/** Of an element that can't be read, every word may be a directive: `public; no-store` must not lose what it restricts. */
function namesIn(text: string): string[] {
  return text.toLowerCase().match(/[!#$%&'*+\-.^_`|~\w]+/g) ?? [];
}

/** Something is permitted only by what can be read: `public`, and not `public=no`. */
export function permits(directives: Directives, name: string): boolean {
  return directives.get(name) === true;
}

/** The elements of a comma-separated list, trimmed, empty ones left out; null where a quoted string never ends. */
export function splitList(field: string): string[] | null {
  const elements: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i <= field.length; i++) {
    const char = field[i];
    if (quoted) {
      if (char === undefined) return null;
      if (char === "\\") i++;
      else if (char === '"') quoted = false;
    } else if (char === '"') {
      quoted = true;
    } else if (char === "," || char === undefined) {
      const text = field.slice(start, i).trim();
      if (text !== "") elements.push(text);
      start = i + 1;
    }
  }
  return elements;
}

const integer = String.raw`-?\d{1,15}(?![\d.])`;
const bareItem = String.raw`(?:-?\d{1,12}\.\d{1,3}|@?${integer}|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][!#$%&'*+\-.^_\x60|~\w:/]*|:[A-Za-z0-9+/=]*:|\?[01])`;
const parameters = String.raw`(?:; *[a-z*][a-z0-9_\-.*]*(?:=${bareItem})?)*`;
const innerList = String.raw`\( *(?:${bareItem}${parameters}(?: +|(?=\))))*\)`;
const member = new RegExp(
  String.raw`([a-z*][a-z0-9_\-.*]*)(?:=(?:(${bareItem})|${innerList}))?${parameters}[ \t]*(,[ \t]*|$)`,
  "y",
);

/**
 * A targeted field is a Structured Fields dictionary (RFC 9213 §2.1, RFC 8941 §4.2.2). Null where it is absent, empty or
 * doesn't parse: then it counts as not sent, and `Cache-Control` speaks.
 */
export function parseTargeted(field: string | null): Directives | null {
  const text = field?.trim() ?? "";
  if (text === "") return null;
  const directives = new Map<string, Argument>();
  member.lastIndex = 0;
  for (;;) {
    const match = member.exec(text);
    if (match === null || match[1] === undefined) return null;
    directives.set(match[1], targetedArgument(match));
    if (match[3] === "") return directives;
    if (member.lastIndex >= text.length) return null;
  }
}

/** Seconds are Integers there; a String that looks like one is of the wrong type, so it keeps its quotes. */
function targetedArgument(match: RegExpExecArray): Argument {
  const value = match[2];
  if (value === undefined) return match[0].includes("=(") ? null : true;
  if (/^\d+$/.test(value)) return value;
  if (value === "?1") return true;
  return value.startsWith('"') ? value : null;
}

/** Whole seconds of a directive; undefined where it is absent, `unreadable` where its argument is not a number of seconds. */
export function seconds(directives: Directives, name: string, unreadable: number): number | undefined {
  const argument = directives.get(name);
  if (argument === undefined) return undefined;
  if (typeof argument !== "string" || !/^\d+$/.test(argument)) return unreadable;
  return Math.min(Number(argument), longestS);
}

/** Field names, lower case, of a qualified directive (`private="set-cookie"`); null: it applies to the whole answer. */
export function qualified(directives: Directives, name: string): string[] | null {
  const argument = directives.get(name);
  if (typeof argument !== "string") return null;
  const names = argument
    .replace(/^"|"$/g, "")
    .split(",")
    .map((text) => text.trim().toLowerCase());
  return names.every((text) => /^[!#$%&'*+\-.^_`|~\w]+$/.test(text)) ? names : null;
}

/** What a request asks of caches (RFC 9111 §5.2.1, RFC 5861 §4). Seconds; null: not asked. */
export interface RequestTerms {
  readonly noStore: boolean;
  readonly noCache: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAgeS: number | null;
  readonly minFreshS: number | null;
  /** Infinity: however stale. */
  readonly maxStaleS: number | null;
  readonly staleIfErrorS: number | null;
}

export const noTerms: RequestTerms = {
  noStore: false,
  noCache: false,
  onlyIfCached: false,
  maxAgeS: null,
  minFreshS: null,
  maxStaleS: null,
  staleIfErrorS: null,
};

/** `pragma` counts only where there is no `Cache-Control` (RFC 9111 §5.4). */
export function readRequestTerms(cacheControl: string | null, pragma: string | null): RequestTerms {
  if (cacheControl === null) {
    if (pragma === null || !/(?:^|[\s,])no-cache(?:$|[\s,])/i.test(pragma)) return noTerms;
    return { ...noTerms, noCache: true };
  }
  const directives = parseCacheControl(cacheControl);
  const maxStale = directives.get("max-stale") === true ? Infinity : seconds(directives, "max-stale", 0);
  return {
    noStore: directives.has("no-store"),
    noCache: directives.has("no-cache"),
    onlyIfCached: directives.has("only-if-cached"),
    maxAgeS: seconds(directives, "max-age", 0) ?? null,
    minFreshS: seconds(directives, "min-fresh", Infinity) ?? null,
    maxStaleS: maxStale ?? null,
    staleIfErrorS: seconds(directives, "stale-if-error", 0) ?? null,
  };
}
