/** How often the objects are called for so many requests at a steady rate. */
import type { Case } from "./cases.ts";
import { afterMs, openLoop, pause, wake } from "./measure.ts";
import type { Bench, Sample } from "./measure.ts";

export interface Calls {
  readonly registry: number;
  readonly limiter: number;
}

interface Counted {
  readonly registry: Readonly<Record<string, number>>;
  readonly limiter: number;
}

async function counted(bench: Bench, one: Case): Promise<Calls> {
  const port = bench.system.workers[one.worker].ports["calls"] as number;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  const { registry, limiter } = (await answer.json()) as Counted;
  return { registry: Object.values(registry).reduce((sum, calls) => sum + calls, 0), limiter };
}

export interface CallsAtRate {
  /** Per 1,000 requests. */
  readonly calls: Calls;
  readonly sample: Sample;
}

/** A stretch of `seconds` at `rate`: the calls that arrived at the objects, in thousands of requests. */
export async function callsAt(bench: Bench, one: Case, rate: number, seconds: number): Promise<CallsAtRate> {
  await wake(bench, one);
  await pause(afterMs);
  const before = await counted(bench, one);
  const requests = rate * seconds;
  const sample = await openLoop(bench, one, rate, requests);
  const after = await counted(bench, one);
  const per = (calls: number): number => (calls / requests) * 1000;
  return {
    calls: { registry: per(after.registry - before.registry), limiter: per(after.limiter - before.limiter) },
    sample,
  };
}
