/** What a run comes to, as `--json` prints it. */
import type { Finished, Run } from "./run.ts";

export interface Summary {
  readonly policy: string;
  readonly scenario: string;
  readonly seed: number;
  readonly load: number;
  readonly requests: number;
  /** Ended by a fault of a backend, or taken by none. */
  readonly errors: number;
  readonly timeouts: number;
  readonly p50_ms: number | null;
  readonly p90_ms: number | null;
  readonly p99_ms: number | null;
  readonly p999_ms: number | null;
  readonly share: Readonly<Record<string, number>>;
}

/** Latencies are of the requests that were answered, with those that timed out as long as the client waited. */
export function summarize(run: Run): Summary {
  const valid = run.finished.filter((one) => one.end !== "invalid");
  const waited = valid.filter((one) => one.end === "ok" || one.end === "timeout").map((one) => one.latencyMs);
  const sorted = Float64Array.from(waited).sort();
  const count = (ends: readonly Finished["end"][]): number => valid.filter((one) => ends.includes(one.end)).length;
  return {
    policy: run.options.policy,
    scenario: run.options.scenario,
    seed: run.options.seed,
    load: run.scenario.load,
    requests: valid.length,
    errors: count(["error", "refused"]),
    timeouts: count(["timeout"]),
    p50_ms: percentile(sorted, 0.5),
    p90_ms: percentile(sorted, 0.9),
    p99_ms: percentile(sorted, 0.99),
    p999_ms: percentile(sorted, 0.999),
    share: shares(valid, run.servers),
  };
}

/** Nearest rank. */
export function percentile(sorted: Float64Array, share: number): number | null {
  if (sorted.length === 0) return null;
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  return Math.round(value * 10) / 10;
}

/** By the last server a request was sent to. */
export function shares(finished: readonly Finished[], servers: readonly string[]): Record<string, number> {
  const counts = new Map(servers.map((name) => [name, 0]));
  let total = 0;
  for (const { server } of finished) {
    if (server === null) continue;
    counts.set(server, (counts.get(server) ?? 0) + 1);
    total += 1;
  }
  return Object.fromEntries([...counts].map(([name, count]) => [name, total === 0 ? 0 : round(count / total)]));
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
