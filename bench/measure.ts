/** One round after the other: every case once, in an order that changes, with the CPU of its process before and after. */
import { cpuUs } from "./cpu.ts";
import { quantile } from "./figures.ts";
import type { Case } from "./cases.ts";
import type { LoadResult } from "./load/load.ts";
import type { Generator } from "./process.ts";
import type { System } from "./system.ts";

/** What a request leaves behind (reports, rows) is done within this, and counted. */
export const afterMs = 1300;
/** At most so many requests to bring a client into the state that a case wants. */
const mostUntil = 200;

export interface Sample {
  /** CPU of the workerd process for each request, in microseconds. */
  readonly cpuUs: number;
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly generatorCpuUs: number;
}

export interface Bench {
  readonly system: System;
  readonly generator: Generator;
  readonly requests: number;
  readonly connections: number;
}

export async function closedLoop(bench: Bench, one: Case): Promise<Sample> {
  const { system, generator } = bench;
  const port = system.portOf(one.worker);
  await ready(bench, one);
  // What the waking requests have left behind is no part of what follows.
  await pause(afterMs);
  const { pid } = system.workers[one.worker];
  const before = cpuUs(pid);
  const requests = Math.round(bench.requests * one.share);
  const result = await generator.run({
    kind: "closed",
    port,
    shape: one.shape,
    requests,
    connections: bench.connections,
  });
  await pause(afterMs);
  const used = cpuUs(pid) - before;
  return sample(one, result, used / requests);
}

/** The client is in the state that the case wants. */
export async function ready(bench: Bench, one: Case): Promise<void> {
  if (one.until !== null) await bringTo(bench, one, one.until);
  else await wake(bench, one);
}

/**
 * Objects that nobody called for ten seconds have left memory, and making them anew is no part of the steady state: each
 * client has sent a request just before the measurement begins.
 */
export async function wake(bench: Bench, one: Case): Promise<void> {
  await send(bench, one, one.shape.addresses.length);
}

/** Requests that nothing is measured of. */
export async function send({ system, generator, connections }: Bench, one: Case, requests: number): Promise<void> {
  await generator.run({ kind: "closed", port: system.portOf(one.worker), shape: one.shape, requests, connections });
}

export async function openLoop(bench: Bench, one: Case, rate: number, requests: number): Promise<Sample> {
  const { system, generator } = bench;
  const { pid } = system.workers[one.worker];
  const before = cpuUs(pid);
  const port = system.portOf(one.worker);
  const result = await generator.run({ kind: "open", port, shape: one.shape, requests, rate });
  await pause(afterMs);
  return sample(one, result, (cpuUs(pid) - before) / requests);
}

function sample(one: Case, result: LoadResult, used: number): Sample {
  const wrong = Object.entries(result.statuses).filter(([status]) => Number(status) !== one.expected);
  if (wrong.length > 0) {
    const got = wrong.map(([status, count]) => `${count} × ${status}`).join(", ");
    throw new Error(`${one.name}: ${one.expected} was expected of every answer, ${got} came`);
  }
  return {
    cpuUs: used,
    rps: (result.latenciesMs.length / result.elapsedMs) * 1000,
    p50Ms: quantile(result.latenciesMs, 0.5),
    p99Ms: quantile(result.latenciesMs, 0.99),
    generatorCpuUs: result.ownCpuUs,
  };
}

async function bringTo({ system, generator }: Bench, one: Case, status: number): Promise<void> {
  const port = system.portOf(one.worker);
  let last: object = {};
  for (let sent = 0; sent < mostUntil; sent += 1) {
    const load = { kind: "closed", port, shape: one.shape, requests: 1, connections: 1 } as const;
    const { statuses } = await generator.run(load);
    last = statuses;
    if (statuses[status] === 1) return;
  }
  throw new Error(`${one.name}: no ${status} came within ${mostUntil} requests, the last was ${JSON.stringify(last)}`);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
