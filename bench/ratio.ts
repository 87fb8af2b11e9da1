/** What a run found, and what one side of it costs in terms of another. */
import type { CallsAtRate } from "./calls.ts";
import { ratios } from "./cases.ts";
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

export interface Summary {
  readonly noise: Spread;
  readonly ratios: Readonly<Record<keyof typeof ratios | "p50_table_get_vs_two_calls", Spread>>;
  /** By rate. */
  readonly registry_calls_per_1000: Readonly<Record<string, number>>;
}

/** What `--json` prints. */
export function summaryOf({ closed, open, calls }: Findings): Summary {
  const cpu = ([over, under]: readonly [string, string]): Spread => ratioOf(closed, over, under, "cpuUs");
  return {
    noise: cpu(["two_calls_again", "two_calls"]),
    ratios: {
      table_get_vs_two_calls: cpu(ratios.table_get_vs_two_calls),
      exact_vs_two_calls_report: cpu(ratios.exact_vs_two_calls_report),
      blocked_vs_nothing: cpu(ratios.blocked_vs_nothing),
      hit_vs_pass: cpu(ratios.hit_vs_pass),
      p50_table_get_vs_two_calls: ratioOf(open, "table_get", "two_calls", "p50Ms"),
    },
    registry_calls_per_1000: Object.fromEntries(Object.entries(calls).map(([rate, one]) => [rate, one.calls.registry])),
  };
}
