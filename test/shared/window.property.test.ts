import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClientLimits } from "../../src/shared/client-limits.ts";
import type { Limit } from "../../src/shared/config/config.ts";
import type { LimitPolicy } from "../../src/shared/contract.ts";
import { NaiveLimits } from "./window-oracle.ts";

const start = 1_795_000_000_000;

interface Step {
  readonly kind: "admit" | "report" | "evict" | "hold";
  readonly policy: LimitPolicy;
  readonly stepMs: number;
}

/** One number makes one step, which keeps a hundred thousand sequences cheap and lets them shrink. */
function stepOf(code: number, limit: Limit): Step {
  const [how, what, size] = [code % 16, (code >>> 4) % 32, code >>> 9];
  const windowMs = limit.window * 1000;
  // Mostly within the window; sometimes exactly its length or its edges, a block's length, or a clock set back.
  const steps = [0, 0, 1, size % 50, size % 50, size % windowMs, size % windowMs, windowMs, windowMs - 1, windowMs + 1];
  const others = [
    limit.blockDuration * 1000,
    limit.blockDuration * 1000 - 1,
    -1,
    -(size % windowMs),
    -windowMs * 3,
    size % 7,
  ];
  const stepMs = [...steps, ...others][how] as number;
  const policy = what % 4 === 3 ? "generate" : "default";
  if (what === 0) return { kind: "hold", policy, stepMs };
  if (what < 4) return { kind: "evict", policy, stepMs };
  return { kind: what < 6 ? "report" : "admit", policy, stepMs };
}

function evicted(limits: ClientLimits): ClientLimits {
  return ClientLimits.fromRecord(structuredClone(limits.toRecord()));
}

/** Runs one sequence through both and fails at the first difference. */
function compare(limit: Limit, codes: readonly number[]): void {
  let limits = new ClientLimits();
  const naive = new NaiveLimits();
  let wallMs = start;
  for (const code of codes) {
    const step = stepOf(code, limit);
    wallMs += step.stepMs;
    if (step.kind === "evict") {
      limits = evicted(limits);
    } else if (step.kind === "hold") {
      limits.block(1, "by hand", wallMs);
      naive.hold(1, wallMs);
    } else {
      const reportOnly = step.kind === "report";
      const is = limits.admit(limit, { policy: step.policy, reportOnly, refusedFromMemory: 0 }, wallMs);
      const should = naive.admit(limit, step.policy, reportOnly, wallMs);
      if (is.kind !== should.kind) throw new Error(`${is.kind}, and the list of all times says ${should.kind}`);
      if (is.kind === "admitted" && is.remaining !== should.remaining)
        throw new Error(`${is.remaining} remain, not ${should.remaining}`);
      if (is.kind === "blocked" && should.retryAfterMs !== undefined && is.retryAfterMs !== should.retryAfterMs) {
        throw new Error(`retry after ${is.retryAfterMs} ms, not ${should.retryAfterMs}`);
      }
      if (limits.count(limit, step.policy, wallMs) !== naive.standing(step.policy, limit.window))
        throw new Error("another count");
    }
  }
}

const codes = (maxLength: number) => fc.array(fc.nat(2 ** 31 - 1), { maxLength, size: "max" });

describe("against a list of all times", () => {
  test("100,000 random sequences of small limits, clock steps forwards and back, evictions and blocks differ in nothing", () => {
    const limit = fc.record({
      requests: fc.integer({ min: 1, max: 5 }),
      window: fc.integer({ min: 1, max: 3 }),
      blockDuration: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(fc.property(limit, codes(24), compare), { numRuns: 100_000 });
  });

  test("long sequences of the limits in real use differ in nothing", () => {
    const limit = fc.record({
      requests: fc.constantFrom(1, 2, 10, 100, 1000),
      window: fc.constantFrom(1, 60, 3600, 86_400),
      blockDuration: fc.constantFrom(0, 1, 300, 86_400),
    });
    fc.assert(fc.property(limit, codes(400), compare), { numRuns: 300 });
  });

  test("10,000 requests of one day stand, the next is refused, and all of them survive an eviction", () => {
    const limit: Limit = { requests: 10_000, window: 86_400, blockDuration: 60 };
    const options = { policy: "default", reportOnly: false, refusedFromMemory: 0 } as const;
    let limits = new ClientLimits();
    for (let index = 0; index < 10_000; index += 1) limits.admit(limit, options, start + index * 8000);
    limits = evicted(limits);
    expect(limits.count(limit, "default", start + 80_000_000)).toBe(10_000);
    expect(limits.admit(limit, options, start + 80_000_000).kind).toBe("blocked");
  });
});
