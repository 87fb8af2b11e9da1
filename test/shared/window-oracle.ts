/** The limiter as one would explain it: a list of every admission that ever was, and no attempt to forget. */
import type { Limit } from "../../src/shared/config/config.ts";
import type { Admission, LimitPolicy } from "../../src/shared/contract.ts";

export class NaiveLimits {
  #elapsedMs = 0;
  #lastWallMs: number | null = null;
  #admissions: { policy: LimitPolicy; atMs: number }[] = [];
  #blockedUntilMs = new Map<LimitPolicy, number>();
  #heldUntilMs = Number.NEGATIVE_INFINITY;

  #observe(wallMs: number): void {
    this.#elapsedMs += Math.max(0, wallMs - (this.#lastWallMs ?? wallMs));
    this.#lastWallMs = wallMs;
  }

  standing(policy: LimitPolicy, windowS: number): number {
    return this.#admissions.filter((one) => one.policy === policy && this.#elapsedMs - one.atMs < windowS * 1000)
      .length;
  }

  admit(
    limit: Limit,
    policy: LimitPolicy,
    reportOnly: boolean,
    wallMs: number,
  ): Pick<Admission, "kind"> & { remaining?: number; retryAfterMs?: number } {
    this.#observe(wallMs);
    const now = this.#elapsedMs;
    const until = Math.max(this.#heldUntilMs, this.#blockedUntilMs.get(policy) ?? Number.NEGATIVE_INFINITY);
    if (now < until) return { kind: "blocked", retryAfterMs: until - now };
    const standing = this.standing(policy, limit.window);
    if (standing < limit.requests) {
      this.#admissions.push({ policy, atMs: now });
      return { kind: "admitted", remaining: limit.requests - standing - 1 };
    }
    if (reportOnly || limit.blockDuration === 0) return { kind: "blocked" };
    this.#blockedUntilMs.set(policy, now + limit.blockDuration * 1000);
    this.#admissions = this.#admissions.filter((one) => one.policy !== policy);
    return { kind: "blocked", retryAfterMs: limit.blockDuration * 1000 };
  }

  hold(seconds: number, wallMs: number): void {
    this.#observe(wallMs);
    this.#admissions = [];
    this.#heldUntilMs = this.#elapsedMs + seconds * 1000;
  }
}
