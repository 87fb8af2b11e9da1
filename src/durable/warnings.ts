/** A fault that would repeat with every alarm is told once a minute. */
const pauseMs = 60_000;

export class Warnings {
  readonly #toldMs = new Map<string, number>();

  /** `event`: a short stable word, of which there are few. */
  warn(event: string, error: unknown): void {
    const nowMs = Date.now();
    if (nowMs - (this.#toldMs.get(event) ?? 0) < pauseMs) return;
    this.#toldMs.set(event, nowMs);
    const message = error instanceof Error ? error.message : String(error);
    console.warn(JSON.stringify({ level: "warn", event, message }));
  }
}
