/** A pool driven by hand: events at times that the test chooses, and a short way into each state. */
import { mayBePicked, nextDueMs, step, weightShare } from "../../../src/shared/health/health.ts";
import type { Testimony } from "../../../src/shared/health/backend-health.ts";
import type { BackendHealth, HealthEvent, PoolHealth, Step, Transition } from "../../../src/shared/health/health.ts";
import type { Reach } from "../../../src/shared/route.ts";
import { faultIn, settings, start } from "./virtual-pool.ts";

export class Ward {
  pool: PoolHealth = {};
  nowMs = start;
  readonly transitions: Transition[] = [];
  /** Of the last event. */
  probeNow: readonly string[] = [];

  constructor(...names: readonly string[]) {
    this.hear({ kind: "members", names });
  }

  hear(event: HealthEvent): Step {
    const result = step(this.pool, event, this.nowMs, settings);
    this.pool = result.pool;
    this.transitions.push(...result.transitions);
    this.probeNow = result.probeNow;
    const wrong = faultIn(this.pool, this.nowMs, event);
    if (wrong !== null) throw new Error(wrong);
    return result;
  }

  of(name: string): BackendHealth {
    return this.pool[name] as BackendHealth;
  }

  said(name: string, reach: Reach = "server"): Testimony {
    return this.of(name).testimony[reach];
  }

  state(name: string): string {
    return this.of(name).state;
  }

  mayBePicked(name: string): boolean {
    return mayBePicked(this.of(name));
  }

  share(name: string): number {
    return weightShare(this.of(name), this.nowMs, settings);
  }

  dueInS(name: string): number | null {
    const dueMs = nextDueMs(this.of(name), settings);
    return dueMs === null ? null : (dueMs - this.nowMs) / 1000;
  }

  /** Lets seconds pass, with a tick at their end. */
  wait(seconds: number): void {
    this.nowMs += seconds * 1000;
    this.hear({ kind: "tick" });
  }

  succeed(name: string, times = 1, reach: Reach = "server"): void {
    for (let index = 0; index < times; index += 1) this.report(name, 1, 0, 0, false, reach);
  }

  fail(name: string, times = 1, seenByProbe = false, reach: Reach = "server"): void {
    for (let index = 0; index < times; index += 1) this.report(name, 0, 1, 1, seenByProbe, reach);
  }

  report(
    backend: string,
    successes: number,
    failures: number,
    trailingFailures: number,
    seenByProbe = false,
    reach: Reach = "server",
  ): void {
    const reason = failures > 0 ? "fault" : "ok";
    this.hear({ kind: "outcomes", backend, reach, successes, failures, trailingFailures, seenByProbe, reason });
  }

  /** A probe's end, and those of the probes that it brings about: `others` says how they end. */
  probe(backend: string, ok: boolean, others = true): void {
    const { probeNow } = this.hear({ kind: "probe", backend, ok, reason: ok ? "ok" : "refused" });
    for (const other of probeNow)
      this.hear({ kind: "probe", backend: other, ok: others, reason: others ? "ok" : "refused" });
  }

  // ── Ways into a state ─────────────────────────────────────────────────────────────────────────

  /** Ejected by a failed probe, while all others pass theirs. */
  ejectByProbe(name: string): void {
    this.probe(name, false);
    if (this.state(name) !== "ejected") throw new Error(`${name} is ${this.state(name)}`);
  }

  /** Ejected by failures in a row, of a kind that a probe can or can't see, while the others succeed. */
  ejectByRequests(name: string, seenByProbe = false, reach: Reach = "server"): void {
    this.fail(name, 5, seenByProbe, reach);
    for (const other of Object.keys(this.pool)) if (other !== name) this.succeed(other, 1, reach);
    this.wait(2);
    if (this.state(name) !== "ejected") throw new Error(`${name} is ${this.state(name)}`);
  }

  /** Seconds since its ejection. */
  outForS(name: string): number {
    return (this.nowMs - (this.of(name).ejection?.atMs ?? this.nowMs)) / 1000;
  }
}
