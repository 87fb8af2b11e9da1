/** What has been written to lately, so that what was asked for before is not stored after. Without clock, chance or I/O. */

/** A read that was begun so many writes ago may have missed its own: it is taken to have. */
const rememberedTargets = 256;

export class Changes {
  readonly #last = new Map<string, number>();
  #count = 0;
  #forgotten = 0;

  /** To be taken before anything is read. */
  get mark(): number {
    return this.#count;
  }

  note(target: string): void {
    this.#count += 1;
    this.#last.delete(target);
    this.#last.set(target, this.#count);
    if (this.#last.size <= rememberedTargets) return;
    for (const [oldest, at] of this.#last) {
      this.#last.delete(oldest);
      this.#forgotten = at;
      return;
    }
  }

  /** Errs on the side of a change. */
  since(mark: number, target: string): boolean {
    return Math.max(this.#last.get(target) ?? 0, this.#forgotten) > mark;
  }
}
