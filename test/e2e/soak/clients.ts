/**
 * Many clients of one edge at a steady rate, whatever becomes of their answers: each from an address of its own, with a
 * connection that it keeps, as clients of a self-hosted edge come. What was sent and what came back is counted by kind.
 */
import { Agent, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { seededRng } from "../../../src/shared/rng.ts";

export const kinds = [
  /** Forwarded by the routing table, uncached. */
  "ping",
  "token",
  /** From the cache: one answer for all, or one of a few. */
  "models",
  "stats",
  /** Of one day after the other: no answer or an old one is at hand, so all servers are asked. */
  "day_stats",
  /** Paid, each placed by the registry. */
  "picture",
  "stream",
  "task",
  /** Asks for a task that was submitted before. */
  "task_status",
  /** The client goes while the server still works, or in the middle of a stream. */
  "left_picture",
  "left_stream",
  /** Of a few clients that ask far more often than they may, so that most of it is refused. */
  "flood",
  /** No route: reaches neither a limiter nor a server. */
  "unknown",
] as const;
export type Kind = (typeof kinds)[number];

/** Of a hundred requests. */
const shares: Readonly<Record<Kind, number>> = {
  ping: 35,
  token: 5,
  models: 16,
  stats: 14,
  day_stats: 4,
  picture: 5,
  stream: 4,
  task: 1,
  task_status: 2,
  left_picture: 2,
  left_stream: 1,
  flood: 10,
  unknown: 1,
};

/** By kind, then by status; `left` where the client went away itself, `broken` where its connection ended before the answer. */
export type Tally = Readonly<Record<Kind, Readonly<Record<string, number>>>>;

interface Asked {
  readonly method: "GET" | "POST";
  readonly target: string;
  readonly body: string | null;
}

const tickMs = 20;
/** Below the five seconds after which the edge closes an idle connection: a request must not meet that. */
const idleMs = 3000;
/** The server works for so long, and the client waits for so long. */
const leftWorkMs = 400;
const leaveAfterMs = 150;
/** Statistics of so many days are asked for again and again, at least once a second each. */
const favouriteDays = 5;
/** The days of two years: with 300 requests a second each comes again after a minute, when what is kept of it is no longer fresh. */
const days = 730;
const lastDayMs = Date.UTC(2026, 9, 31);
const dayMs = 86_400_000;
/** The first so many tasks are asked for to the end; a stand-in counts no more paths than 500. */
const knownTasks = 100;
const seed = 7;

const get = (target: string): Asked => ({ method: "GET", target, body: null });
const post = (target: string, body: object): Asked => ({ method: "POST", target, body: JSON.stringify(body) });
const chat = (prompt: string): Asked =>
  post("/v1/chat/completions", { messages: [{ role: "user", content: prompt }], stream: true });

const statsOf = (daysAgo: number): string =>
  `/usage/stats?date=${new Date(lastDayMs - daysAgo * dayMs).toISOString().slice(0, 10)}`;

export class Clients {
  readonly #port: number;
  /** Of so many clients the last ones flood. */
  readonly #steady: number;
  readonly #flooding: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity, timeout: idleMs });
  readonly #tally = Object.fromEntries(kinds.map((kind) => [kind, {}])) as Record<Kind, Record<string, number>>;
  readonly #random = seededRng(seed);
  readonly #tasks: string[] = [];
  readonly #open = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #serial = 0;
  #day = 0;

  constructor(port: number, clients: number, flooding: number) {
    this.#port = port;
    this.#steady = clients - flooding;
    this.#flooding = flooding;
  }

  get tally(): Tally {
    return this.#tally;
  }

  start(perSecond: number): void {
    let lastMs = performance.now();
    let owed = 0;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      owed += (perSecond * (nowMs - lastMs)) / 1000;
      lastMs = nowMs;
      for (; owed >= 1; owed -= 1) this.#sendNext();
    }, tickMs);
  }

  /** No new requests; settles when all have ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer ?? undefined);
    await Promise.all(this.#open);
    this.#agent.destroy();
  }

  #sendNext(): void {
    this.#serial += 1;
    const kind = this.#kindOfNext();
    const ended = this.#send(kind, this.#asked(kind)).then((what) => {
      this.#tally[kind][what] = (this.#tally[kind][what] ?? 0) + 1;
      this.#open.delete(ended);
    });
    this.#open.add(ended);
  }

  #kindOfNext(): Kind {
    let point = this.#random() * 100;
    for (const kind of kinds) {
      point -= shares[kind];
      if (point < 0) return kind === "task_status" && this.#tasks.length === 0 ? "task" : kind;
    }
    return "ping";
  }

  #asked(kind: Kind): Asked {
    switch (kind) {
      case "ping":
      case "flood":
        return get("/ping");
      case "token":
        return post("/token/check", { token: "a-session" });
      case "models":
        return get("/v1/models");
      case "stats":
        return get(statsOf(this.#serial % favouriteDays));
      case "day_stats":
        this.#day = (this.#day + 1) % days;
        return get(statsOf(favouriteDays + this.#day));
      case "picture":
        return post("/v1/images/generations", { prompt: `picture ${this.#serial}` });
      case "left_picture":
        return post("/v1/images/generations", { prompt: `[[delay=${leftWorkMs}]] picture ${this.#serial}` });
      case "stream":
        return chat(`picture ${this.#serial}`);
      case "left_stream":
        return chat(`[[delay=${leftWorkMs}]] picture ${this.#serial}`);
      case "task":
        return post("/v1/async/images/generations", { prompt: `task ${this.#serial}` });
      case "task_status":
        return get(`/v1/async/tasks/${this.#tasks[this.#serial % this.#tasks.length]}/status`);
      case "unknown":
        return get("/proxy/status");
    }
  }

  /** Each client asks in its turn. */
  #address(kind: Kind): string {
    const index = kind === "flood" ? this.#steady + (this.#serial % this.#flooding) : this.#serial % this.#steady;
    return `127.1.${Math.floor(index / 250)}.${(index % 250) + 1}`;
  }

  /** Settles with the answer's status, or with how it ended without one. */
  #send(kind: Kind, { method, target, body }: Asked): Promise<string> {
    const headers = {
      authorization: "Bearer a-session",
      ...(body === null ? {} : { "content-type": "application/json" }),
    };
    const from = { localAddress: this.#address(kind), agent: this.#agent };
    return new Promise((resolve) => {
      const request = httpRequest({ host: "127.0.0.1", port: this.#port, path: target, method, headers, ...from });
      request.once("response", (response) => this.#receive(kind, response, resolve));
      request.once("error", () => resolve("broken"));
      if (kind === "left_picture") leaveLater(request, resolve);
      if (kind === "left_stream") request.once("response", (response) => leaveAtFirst(request, response, resolve));
      request.end(body ?? undefined);
    });
  }

  #receive(kind: Kind, response: IncomingMessage, resolve: (how: string) => void): void {
    const pieces: Buffer[] = [];
    response.on("data", (piece: Buffer) => pieces.push(piece));
    response.once("error", () => resolve("broken"));
    response.once("end", () => {
      if (kind === "task") this.#rememberTask(Buffer.concat(pieces).toString("utf8"));
      resolve(String(response.statusCode));
    });
  }

  #rememberTask(answer: string): void {
    const id = /"task_id":"([^"]+)"/.exec(answer)?.[1];
    if (id !== undefined && this.#tasks.length < knownTasks) this.#tasks.push(id);
  }
}

function leaveLater(request: ClientRequest, resolve: (how: string) => void): void {
  const timer = setTimeout(() => {
    resolve("left");
    request.destroy();
  }, leaveAfterMs);
  request.once("response", () => clearTimeout(timer));
}

function leaveAtFirst(request: ClientRequest, response: IncomingMessage, resolve: (how: string) => void): void {
  response.once("data", () => {
    resolve("left");
    request.destroy();
  });
}
