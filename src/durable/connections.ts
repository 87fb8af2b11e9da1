/**
 * Connections of one invocation that may wait for response headers; a seventh queues while its timeout already runs.
 * https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections
 */
export const connectionsAtOnce = 6;

/** Lets so many run at once, whoever asks, the others in their order. */
export class Connections {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
