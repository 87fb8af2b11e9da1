/** Traffic of many clients at a steady rate, whatever becomes of the answers, and what became of each. */
import { randomUUID } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeSystem } from "../edge.ts";

export interface Sent {
  readonly what: string;
  readonly sentMs: number;
  readonly endedMs: number;
  /** 0: the connection broke. */
  readonly status: number;
  readonly backend: string | null;
  readonly shouldRetry: string | null;
  /** `error.code` of a failure. */
  readonly code: string | null;
}

export interface Rates {
  readonly generations: number;
  readonly cheap: number;
}

const tickMs = 50;
const addresses = 500;

/** Every cheap way in: forwarded, composed, merged, posted. */
const cheapPaths = ["/ping", "/ping", "/ping", "/ping", "/ping", "/ping", "/v1/models", "/usage/stats", "/token/check"];

export class Load {
  readonly cheap: Sent[] = [];
  readonly generations: Sent[] = [];
  readonly #system: EdgeSystem;
  readonly #rates: Rates;
  readonly #open = new Map<Promise<void>, string>();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  #timer: ReturnType<typeof setInterval> | null = null;
  /** Tells this load's prompts from those of any other. */
  readonly #run = randomUUID();
  #serial = 0;
  #owed: { cheap: number; generations: number } = { cheap: 0, generations: 0 };

  constructor(system: EdgeSystem, rates: Rates) {
    this.#system = system;
    this.#rates = rates;
  }

  start(): void {
    let lastMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      const seconds = (nowMs - lastMs) / 1000;
      lastMs = nowMs;
      this.#owed.cheap += this.#rates.cheap * seconds;
      this.#owed.generations += this.#rates.generations * seconds;
      for (; this.#owed.cheap >= 1; this.#owed.cheap -= 1) this.#track(this.#sendCheap());
      for (; this.#owed.generations >= 1; this.#owed.generations -= 1) this.#track(this.#sendGeneration());
    }, tickMs);
  }

  /** No new requests; settles when all have been answered, or throws when one has not within `patienceMs`. */
  async stop(patienceMs: number): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    const late = sleep(patienceMs, "late", { ref: false });
    const ended = await Promise.race([Promise.all(this.#open.keys()), late]);
    this.#agent.destroy();
    if (ended === "late")
      throw new Error(`not answered within ${patienceMs} ms: ${[...this.#open.values()].join(", ")}`);
  }

  #track(work: Promise<void>): void {
    const atS = Math.round(performance.now() / 1000);
    this.#open.set(work, `${cheapPaths[this.#serial % cheapPaths.length] ?? ""} at ${atS} s`);
    void work.finally(() => this.#open.delete(work));
  }

  async #sendCheap(): Promise<void> {
    this.#serial += 1;
    const path = cheapPaths[this.#serial % cheapPaths.length] as string;
    const isCheck = path === "/token/check";
    // A date of its own, or the cache would answer.
    const target = path === "/usage/stats" ? `${path}?date=2026-01-${this.#serial}` : path;
    this.cheap.push(await this.#send(target, isCheck ? { token: "a-session" } : null, path));
  }

  async #sendGeneration(): Promise<void> {
    this.#serial += 1;
    const prompt = `generation ${this.#run} ${this.#serial}`;
    this.generations.push(await this.#send("/v1/images/generations", { prompt }, prompt));
  }

  #send(target: string, body: unknown, what: string): Promise<Sent> {
    const sentMs = performance.now();
    const address = `10.9.${Math.floor(this.#serial / 250) % (addresses / 250)}.${(this.#serial % 250) + 1}`;
    const headers = {
      "cf-connecting-ip": address,
      authorization: "Bearer a-session",
      ...(body === null ? {} : { "content-type": "application/json" }),
    };
    const unknown = { what, sentMs, backend: null, shouldRetry: null, code: null };
    return new Promise((resolve) => {
      const ended = (status: number, more: Partial<Sent> = {}): void =>
        resolve({ ...unknown, status, endedMs: performance.now(), ...more });
      const options = {
        host: "127.0.0.1",
        port: this.#system.port,
        path: target,
        method: body === null ? "GET" : "POST",
        headers,
        agent: this.#agent,
      };
      const request = httpRequest(options, (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.once("error", () => ended(0));
        response.once("end", () =>
          ended(response.statusCode ?? 0, {
            backend: String(response.headers["x-jimeng-edge-backend"] ?? ""),
            shouldRetry: response.headers["x-should-retry"]?.toString() ?? null,
            code: (response.statusCode ?? 0) < 400 ? null : codeIn(Buffer.concat(pieces)),
          }),
        );
      });
      request.once("error", () => ended(0));
      request.end(body === null ? undefined : JSON.stringify(body));
    });
  }
}

function codeIn(body: Buffer): string | null {
  try {
    return (JSON.parse(body.toString("utf8")) as { error?: { code?: string } }).error?.code ?? null;
  } catch {
    return null;
  }
}
