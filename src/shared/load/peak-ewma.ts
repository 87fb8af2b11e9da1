/**
 * Peak EWMA: a latency that rises at once to a peak and forgets it slowly, as in Finagle and linkerd.
 * Everything here is a value; the caller stores it.
 */
import type { LoadSample } from "../contract.ts";

/** Finagle's decay time, in milliseconds: right for requests that are much shorter than it. */
const decayFloorMs = 10_000;

/**
 * A latency is remembered for so many times itself. Ten seconds would forget a two-minute generation before the
 * next one has ended; below one second the floor rules and the arithmetic is Finagle's.
 */
const decayPerCost = 3;

/** The sample after one request took `latencyMs`. A peak counts at once and in full, an improvement by its age. */
export function observe(sample: LoadSample | null, latencyMs: number, nowMs: number): LoadSample {
  const measuredMs = Math.max(0, latencyMs);
  if (sample === null || measuredMs > sample.costMs) {
    return { costMs: measuredMs, atMs: sample === null ? nowMs : Math.max(nowMs, sample.atMs) };
  }
  const kept = keptShare(sample, nowMs);
  return { costMs: sample.costMs * kept + measuredMs * (1 - kept), atMs: Math.max(nowMs, sample.atMs) };
}

/** The sample after something showed that `costMs` must be reckoned with at least; it says nothing about how much less it could be. */
export function observeAtLeast(sample: LoadSample | null, costMs: number, nowMs: number): LoadSample | null {
  return costMs > (costAt(sample, nowMs) ?? 0) ? observe(null, costMs, Math.max(nowMs, sample?.atMs ?? nowMs)) : sample;
}

/** The latency to reckon with now, in milliseconds; it fades while nothing is observed. null: no history. */
export function costAt(sample: LoadSample | null, nowMs: number): number | null {
  return sample === null ? null : sample.costMs * keptShare(sample, nowMs);
}

function keptShare(sample: LoadSample, nowMs: number): number {
  const elapsedMs = Math.max(0, nowMs - sample.atMs);
  return Math.exp(-elapsedMs / Math.max(decayFloorMs, decayPerCost * sample.costMs));
}
