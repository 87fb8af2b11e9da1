/** Successes and backend faults of one backend over a sliding window, as JSON-safe values. */

/** Number of the slot since the epoch, successes, failures. */
export type OutcomeSlot = readonly [number, number, number];

/** Oldest first, at most `slotsPerWindow`. */
export type OutcomeCounts = readonly OutcomeSlot[];

/** The window moves by a tenth of itself: what has just left it was a tenth of the evidence. */
const slotsPerWindow = 10;

function slotIndex(windowMs: number, nowMs: number): number {
  return Math.floor((nowMs * slotsPerWindow) / windowMs);
}

export function addOutcomes(
  counts: OutcomeCounts,
  successes: number,
  failures: number,
  windowMs: number,
  nowMs: number,
): OutcomeCounts {
  const index = slotIndex(windowMs, nowMs);
  const newest = counts.at(-1);
  if (newest !== undefined && newest[0] === index) {
    return counts.with(counts.length - 1, [index, newest[1] + successes, newest[2] + failures]);
  }
  const standing = counts.filter((slot) => slot[0] > index - slotsPerWindow && slot[0] < index);
  return [...standing, [index, successes, failures]];
}

export interface OutcomeTotals {
  readonly outcomes: number;
  readonly failures: number;
}

/** What the slots after the one of `sinceMs` hold: all of a window since its length ago. */
export function totalSince(counts: OutcomeCounts, windowMs: number, sinceMs: number): OutcomeTotals {
  const before = slotIndex(windowMs, sinceMs);
  let outcomes = 0;
  let failures = 0;
  for (const slot of counts) {
    if (slot[0] <= before) continue;
    outcomes += slot[1] + slot[2];
    failures += slot[2];
  }
  return { outcomes, failures };
}

/** Milliseconds by which two times in one slot may differ. */
export function slotWidthMs(windowMs: number): number {
  return windowMs / slotsPerWindow;
}
