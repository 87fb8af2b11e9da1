/**
 * All that is remembered about one client: a window for each of its limits, and a block by an operator's hand. A route
 * class with a limit of its own is counted and blocked apart; the hand's block holds for every class.
 */
import type { Limit } from "./config/config.ts";
import type { Admission, LimitPolicy } from "./contract.ts";
import { SteadyClock } from "./steady-clock.ts";
import { SlidingWindow } from "./window.ts";
import type { Block, WindowRecord } from "./window.ts";

const msPerS = 1000;

/** Grows when the shape below changes; a record of another version is not understood and reads as nothing. */
const recordVersion = 1;

export interface ClientLimitsRecord {
  readonly version: number;
  readonly skewMs: number;
  readonly latestMs: number;
  readonly hold: Block | null;
  readonly windows: readonly (readonly [LimitPolicy, WindowRecord])[];
}

/** A block in wall-clock time, as operators see it. */
export interface BlockView {
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly reason: string;
  readonly refused: number;
  readonly byHand: boolean;
}

export interface AdmitOptions {
  readonly policy: LimitPolicy;
  readonly reportOnly: boolean;
  readonly refusedFromMemory: number;
}

export class ClientLimits {
  #clock = new SteadyClock();
  readonly #windows = new Map<LimitPolicy, SlidingWindow>();
  /** The operator's block. */
  #hold: Block | null = null;

  admit(limit: Limit, options: AdmitOptions, wallMs: number): Admission {
    const nowMs = this.#clock.advance(wallMs);
    if (this.#hold !== null && nowMs < this.#hold.untilMs) {
      this.#hold.refused += 1 + options.refusedFromMemory;
      const ownMs = this.#windows.get(options.policy)?.blockAt(nowMs)?.untilMs ?? nowMs;
      const retryAfterMs = Math.max(this.#hold.untilMs, ownMs) - nowMs;
      return { kind: "blocked", retryAfterMs, untilMs: wallMs + retryAfterMs, started: false };
    }
    this.#hold = null;
    const window = this.#windowOf(options.policy);
    window.addRefused(options.refusedFromMemory, nowMs);
    const verdict = window.admit(limit, nowMs, options.reportOnly);
    return verdict.kind === "admitted" ? verdict : { ...verdict, untilMs: this.#clock.toWall(verdict.untilMs, wallMs) };
  }

  /** Requests that stand in this policy's window. */
  count(limit: Limit, policy: LimitPolicy, wallMs: number): number {
    return this.#windows.get(policy)?.count(limit.window * msPerS, this.#clock.read(wallMs)) ?? 0;
  }

  /** Of the blocks in force the one that ends last. */
  blockAt(wallMs: number): BlockView | null {
    const nowMs = this.#clock.read(wallMs);
    let longest: BlockView | null = null;
    const consider = (block: Block | null, policy: LimitPolicy | "hand") => {
      if (block === null || block.untilMs <= nowMs) return;
      const untilMs = this.#clock.toWall(block.untilMs, wallMs);
      if (longest !== null && longest.untilMs >= untilMs) return;
      const byHand = policy === "hand";
      const reason = byHand || policy === "default" ? block.reason : `${block.reason} (${policy})`;
      const sinceMs = this.#clock.toWall(block.sinceMs, wallMs);
      longest = { sinceMs, untilMs, reason, refused: block.refused, byHand };
    };
    consider(this.#hold, "hand");
    for (const [policy, window] of this.#windows) consider(window.blockAt(nowMs), policy);
    return longest;
  }

  /** The operator's block, in place of an earlier one of theirs. After it the windows are empty, as after any block. */
  block(seconds: number, reason: string, wallMs: number): void {
    const nowMs = this.#clock.advance(wallMs);
    for (const window of this.#windows.values()) window.forget();
    this.#hold = { sinceMs: nowMs, untilMs: nowMs + seconds * msPerS, reason, refused: 0 };
  }

  /** From when on there is nothing to remember, in wall-clock time; in the past when there is nothing now. */
  emptyAtMs(wallMs: number): number {
    const ends = [...this.#windows.values()].map((window) => window.emptyAtMs);
    const lastMs = Math.max(this.#hold?.untilMs ?? Number.NEGATIVE_INFINITY, ...ends);
    return this.#clock.toWall(lastMs, wallMs);
  }

  toRecord(): ClientLimitsRecord {
    const windows = [...this.#windows].map(([policy, window]) => [policy, window.toRecord()] as const);
    const hold = this.#hold === null ? null : { ...this.#hold };
    return { version: recordVersion, ...this.#clock.state, hold, windows };
  }

  static fromRecord(record: ClientLimitsRecord | undefined): ClientLimits {
    const limits = new ClientLimits();
    if (record?.version !== recordVersion) return limits;
    limits.#clock = new SteadyClock(record.skewMs, record.latestMs);
    limits.#hold = record.hold === null ? null : { ...record.hold };
    for (const [policy, window] of record.windows) limits.#windows.set(policy, SlidingWindow.fromRecord(window));
    return limits;
  }

  #windowOf(policy: LimitPolicy): SlidingWindow {
    let window = this.#windows.get(policy);
    if (window === undefined) {
      window = new SlidingWindow();
      this.#windows.set(policy, window);
    }
    return window;
  }
}
