/** One run and what is kept of it: small enough to cross between threads. */
import { figures } from "./claims.ts";
import { simulate, type Run, type RunOptions } from "./run.ts";
import { faultStartMs } from "./scenarios.ts";
import { shares, summarize, type Summary } from "./summary.ts";

export interface Outcome {
  readonly options: RunOptions;
  readonly summary: Summary;
  readonly figures: Readonly<Record<keyof typeof figures, number>>;
  /** The share of the server that the fault befalls, in steps of `shareStepS` seconds from 20 s before the fault on. */
  readonly victimShare: readonly number[];
}

export const shareStepS = 4;

export function perform(options: RunOptions): Outcome {
  const run = simulate(options);
  const measured = Object.entries(figures).map(([name, figure]) => [name, figure(run)]);
  return {
    options,
    summary: summarize(run),
    figures: Object.fromEntries(measured) as Outcome["figures"],
    victimShare: victimShare(run),
  };
}

function victimShare(run: Run): number[] {
  const steps: number[] = [];
  const stepMs = shareStepS * 1000;
  for (
    let fromMs = faultStartMs - 20_000;
    fromMs + stepMs <= Math.min(run.untilMs, faultStartMs + 120_000);
    fromMs += stepMs
  ) {
    const within = run.finished.filter((one) => one.startMs >= fromMs && one.startMs < fromMs + stepMs);
    steps.push(shares(within, run.servers)[run.servers[0]!] ?? 0);
  }
  return steps;
}
