/**
 * Reading a request's path without ever changing it. Servers decode, fold case and drop a trailing slash before they
 * choose a handler (koa-router does all three), so what a path may reach is judged on its folded form.
 */

/** Rounds of percent-decoding that are looked through; a path encoded more often than that is refused. */
const maxDecodings = 4;

/** Without any of these a path has nothing to fold: the quick way out for nearly every request. */
const worthALook = /\/\/|\\|%|\/[.;]|[?#\s\p{Cc}]/u;
const control = /[\p{Cc}\\]/u;

/** Percent-decodes ASCII only: enough for every character that steers a path, and it can't fail on any input. */
function decodeAscii(text: string): string {
  return text.replace(/%([0-7][0-9a-fA-F])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/**
 * A dot or empty segment, with or without path parameters (RFC 3986 §3.3: `..;x`), which some servers drop before they
 * resolve it.
 */
function moves(segment: string): boolean {
  const name = segment.split(";", 1)[0];
  return name === "" || name === "." || name === "..";
}

function segmentsStay(text: string): boolean {
  if (control.test(text)) return false;
  const segments = text.split("/");
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index] as string;
    const trailingSlash = segment === "" && index === segments.length - 1;
    if (!trailingSlash && moves(segment)) return false;
  }
  return true;
}

/**
 * Whether a server that normalises `path` still finds it where it says it is: no dot segment (RFC 3986 §5.2.4), no
 * empty segment, no backslash or control character, neither plain nor percent-encoded, however often.
 */
export function staysPut(path: string): boolean {
  if (path.charCodeAt(0) !== 47) return false;
  if (!worthALook.test(path)) return true;
  if (/[?#\s]/.test(path)) return false;
  let text = path;
  for (let round = 0; round < maxDecodings; round++) {
    if (!segmentsStay(text)) return false;
    const decoded = decodeAscii(text);
    if (decoded === text) return true;
    text = decoded;
  }
  return false;
}

/** The form in which two spellings of one handler's path are equal: decoded, lower case, without parameters and trailing slashes. */
export function foldPath(path: string): string {
  let text = path;
  for (let round = 0; round < maxDecodings && text.includes("%"); round++) text = decodeAscii(text);
  text = text.toLowerCase().replace(/;[^/]*/g, "");
  let end = text.length;
  while (end > 1 && text.charCodeAt(end - 1) === 47) end--;
  return text.slice(0, end);
}

/** Takes `base` ("" or "/api") off a path that lies beneath it; null where it doesn't. */
export function withoutBase(path: string, base: string): string | null {
  if (base === "") return null;
  return path.startsWith(base) && path.charCodeAt(base.length) === 47 ? path.slice(base.length) : null;
}

/** Decodes one segment; null when it isn't valid percent-encoded UTF-8 or holds a slash in disguise. */
export function decodeSegment(segment: string): string | null {
  if (segment === "" || segment.includes("/")) return null;
  if (!segment.includes("%")) return segment;
  try {
    const decoded = decodeURIComponent(segment);
    return decoded.includes("/") ? null : decoded;
  } catch {
    return null;
  }
}
