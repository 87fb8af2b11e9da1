/** The least that a limiter and a registry can be: one call each, a decision in memory, nothing stored. */
import { DurableObject } from "cloudflare:workers";

const windowMs = 60_000;

export class Limiter extends DurableObject {
  #startMs = 0;
  #count = 0;

  admit(limit) {
    const nowMs = Date.now();
    if (nowMs - this.#startMs >= windowMs) [this.#startMs, this.#count] = [nowMs, 0];
    this.#count += 1;
    return { ok: this.#count <= limit, remaining: limit - this.#count };
  }
}

export class Registry extends DurableObject {
  #turn = 0;
  #ended = new Map();

  pick() {
    const urls = this.env.ORIGINS.split(" ");
    this.#turn = (this.#turn + 1) % urls.length;
    return { url: urls[this.#turn] };
  }

  report(outcome) {
    this.#ended.set(outcome.origin, (this.#ended.get(outcome.origin) ?? 0) + 1);
  }
}
