/** What can be seen of a system from outside: its leases, its processes, its memory. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeSystem } from "../edge.ts";

interface ServerFacts {
  readonly name: string;
  readonly state: string;
  readonly inFlight: number;
}

export async function serversOf(system: EdgeSystem): Promise<readonly ServerFacts[]> {
  const answer = await system.operate("/api/ip-preference");
  return ((await answer.json()) as { servers: readonly ServerFacts[] }).servers;
}

/** Leases of the whole edge, as the registry counts them. */
export async function inFlight(system: EdgeSystem): Promise<number> {
  return (await serversOf(system)).reduce((sum, server) => sum + server.inFlight, 0);
}

export async function everyLeaseEnds(system: EdgeSystem, withinMs = 5000): Promise<void> {
  await becomes(
    () => inFlight(system),
    (open) => open === 0,
    "leases in flight",
    withinMs,
  );
}

/** As `expect.poll`, but in tests that run at the same time as well. */
export async function becomes<Value>(
  look: () => Value | Promise<Value>,
  isReached: (value: Value) => boolean,
  what: string,
  withinMs = 5000,
): Promise<void> {
  const untilMs = performance.now() + withinMs;
  for (;;) {
    const value = await look();
    if (isReached(value)) return;
    if (performance.now() > untilMs) throw new Error(`${what}: still ${JSON.stringify(value)} after ${withinMs} ms`);
    await sleep(20);
  }
}

/** The process that runs the Worker. */
export function workerdPid(system: EdgeSystem): number {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat?.parent === system.pid && stat.command.startsWith("workerd")) return Number(name);
  }
  throw new Error("the edge runs no workerd");
}

function statOf(pid: number): { command: string; parent: number } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const end = text.lastIndexOf(")");
    return { command: text.slice(text.indexOf("(") + 1, end), parent: Number(text.slice(end + 2).split(" ")[1]) };
  } catch {
    return null;
  }
}

/** Resident memory of a process in MiB. */
export function residentMiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? Number.NaN) / 1024;
}

export function isRunning(pid: number): boolean {
  return statOf(pid) !== null && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

/** Samples until it is told to stop; the highest value. */
export function peakMiB(pid: number, everyMs = 20): () => number {
  let peak = residentMiB(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMiB(pid));
  }, everyMs);
  return () => {
    clearInterval(timer);
    return Math.max(peak, residentMiB(pid));
  };
}
