/** One fault at one of four backends under load, and what it cost. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Submit } from "../../../demo/jobs.ts";
import { startSystem, type EdgeSystem, type TestBackend } from "../edge.ts";
import { Load, type Rates, type Sent } from "./load.ts";
import { inFlight, serversOf } from "./observed.ts";

export interface FaultKind {
  readonly name: string;
  begin(victim: TestBackend): Promise<void> | void;
  end(victim: TestBackend): Promise<void> | void;
}

export const faults: readonly FaultKind[] = [
  { name: "killed (SIGKILL)", begin: (victim) => victim.kill(), end: (victim) => victim.restart() },
  {
    name: "frozen (SIGSTOP)",
    begin: (victim) => void process.kill(victim.pid, "SIGSTOP"),
    end: (victim) => void process.kill(victim.pid, "SIGCONT"),
  },
  { name: "resetting connections", begin: (victim) => victim.fault({ kind: "reset" }), end: (victim) => victim.heal() },
  { name: "answering garbage", begin: (victim) => victim.fault({ kind: "garbage" }), end: (victim) => victim.heal() },
];

export interface RoundTimes {
  readonly beforeMs: number;
  readonly faultMs: number;
  readonly afterMs: number;
  /** How long an answer may still be waited for at the end. */
  readonly patienceMs: number;
}

export interface RoundResult {
  readonly cheap: number;
  readonly cheapFailed: readonly Sent[];
  readonly slowestCheapMs: number;
  readonly generations: number;
  readonly failed: readonly Sent[];
  /** Of those that failed: sent more than a second after the first failure was known. */
  readonly failedLate: readonly Sent[];
  /** Failed at another backend than the faulty one. */
  readonly failedElsewhere: readonly Sent[];
  /** Neither 502 nor 504, without a code, or without `x-should-retry: false`. */
  readonly unclear: readonly Sent[];
  /** Prompts that the backends together saw more than once. */
  readonly twice: readonly string[];
  readonly leases: number;
  /** Of the faulty one, at the end. */
  readonly state: string | undefined;
}

export const fourBackends = ["one", "two", "three", "four"] as const;
export const victimName = "two";

export function startFour(imageMs: number, config: Readonly<Record<string, unknown>> = {}): Promise<EdgeSystem> {
  const backends = fourBackends.map((name) => ({ name, demo: { imageMs } }));
  return startSystem({ backends, config });
}

export async function faultRound(
  system: EdgeSystem,
  fault: FaultKind,
  rates: Rates,
  times: RoundTimes,
): Promise<RoundResult> {
  const victim = system.backend(victimName);
  const load = new Load(system, rates);
  load.start();
  await sleep(times.beforeMs);
  // A killed process takes its book with it.
  const known = await victim.submits();
  await fault.begin(victim);
  await sleep(times.faultMs);
  await fault.end(victim);
  await sleep(times.afterMs);
  await load.stop(times.patienceMs);
  const seen = await Promise.all(system.backends.map((backend) => backend.submits()));
  return judged(load, [...known, ...seen.flat()], await facts(system));
}

async function facts(system: EdgeSystem): Promise<{ leases: number; state: string | undefined }> {
  const state = (await serversOf(system)).find(({ name }) => name === victimName)?.state;
  // A settlement may still be on its way, on a busy machine for seconds; a lost one would stand for ninety.
  for (let waited = 0; waited < 15_000 && (await inFlight(system)) > 0; waited += 100) await sleep(100);
  return { leases: await inFlight(system), state };
}

function judged(
  load: Load,
  submits: readonly Submit[],
  { leases, state }: { leases: number; state: string | undefined },
): RoundResult {
  const failed = load.generations.filter(({ status }) => status !== 200);
  const firstMs = Math.min(...failed.map(({ endedMs }) => endedMs));
  const distinct = new Set(submits.map(({ id, atMs, prompt }) => `${prompt} ${id} ${atMs}`));
  const counts = new Map<string, number>();
  for (const one of distinct) {
    const prompt = one.split(" job-")[0] as string;
    counts.set(prompt, (counts.get(prompt) ?? 0) + 1);
  }
  return {
    cheap: load.cheap.length,
    cheapFailed: load.cheap.filter(({ status }) => status !== 200),
    slowestCheapMs: Math.max(...load.cheap.map(({ sentMs, endedMs }) => endedMs - sentMs)),
    generations: load.generations.length,
    failed,
    failedLate: failed.filter(({ sentMs }) => sentMs > firstMs + 1000),
    failedElsewhere: failed.filter(({ backend }) => backend !== victimName),
    unclear: failed.filter(
      ({ status, code, shouldRetry }) => ![502, 504].includes(status) || code === null || shouldRetry !== "false",
    ),
    twice: [...counts].filter(([, count]) => count > 1).map(([prompt]) => prompt),
    leases,
    state,
  };
}
