/** How much of a long list is asked for, and from when on. */
import { described, optional, text, timeText, wholeText } from "./field.ts";

/** Entries, where the request says nothing. */
export const pageLength = 100;
const dayMs = 86_400_000;

export const atMost = optional(described(wholeText(1, 1000), `Entries in a page; ${pageLength} unless told.`));
export const cursor = optional(described(text(/^\S{1,400}$/u, "a cursor of an earlier answer"), "Of the page before."));
export const since = optional(described(timeText(), "Epoch milliseconds or RFC 3339; a day ago unless told."));

export function aDayAgo(): number {
  return Date.now() - dayMs;
}
