/** What a run found, and what one side of it costs in terms of another. */
import type { CallsAtRate } from "./calls.ts";
import type { Startup } from "./startup.ts";
import { spreadOf } from "./figures.ts";
import type { Spread } from "./figures.ts";
import type { Sample } from "./measure.ts";

/** By case, one for each round. */
export type Samples = Readonly<Record<string, readonly Sample[]>>;

export interface Findings {
  readonly closed: Samples;
  readonly open: Samples;
  /** Requests a second of the open loop. */
  readonly latencyRate: number;
  /** By rate. */
  readonly calls: Readonly<Record<string, CallsAtRate>>;
  readonly startup: Startup;
  readonly rounds: number;
  readonly requests: number;
  /** The machine's load averages at the beginning and the end. */
  readonly load: readonly number[];
}

/** Of each round one quotient, so that what disturbs a round disturbs both of its sides. */
export function ratioOf(samples: Samples, over: string, under: string, figure: "cpuUs" | "p50Ms"): Spread {
  const below = samples[under] ?? [];
  return spreadOf(
    (samples[over] ?? []).map((sample, round) => sample[figure] / (below[round]?.[figure] ?? Number.NaN)),
  );
}
