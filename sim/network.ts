/** The way from an edge to a backend and back: one attempt, with everything that can become of it. */
import { aborted, success, type Outcome } from "../src/shared/outcome.ts";
import type { Rng } from "../src/shared/rng.ts";
import type { Server } from "./server.ts";
import type { Timeline } from "./timeline.ts";

export interface SimRequest {
  readonly edge: number;
  readonly client: string;
  /** Milliseconds at nominal speed. */
  readonly work: number;
  /** The client's own mistake: any backend says 400. */
  readonly invalid: boolean;
  readonly startMs: number;
  /** When the client stops waiting. */
  readonly deadlineMs: number;
}

export interface AttemptEnd {
  readonly server: string;
  readonly outcome: Outcome;
  readonly latencyMs: number;
  readonly timedOut: boolean;
}

const refused: Outcome = { kind: "backend_fault", executed: "no", seenByProbe: true, reason: "refused" };
const reset: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "reset" };
const answeredBadly: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: false, reason: "code_-2007" };
const invalid: Outcome = { kind: "client_fault", executed: "no", seenByProbe: false, reason: "code_-2000" };

export class Network {
  readonly #servers: ReadonlyMap<string, Server>;
  readonly #timeline: Timeline;
  readonly #hopMs: number;
  readonly #rng: Rng;
  readonly #sentTo = new WeakMap<SimRequest, string>();

  /** @param hopMs from an edge to a backend and back. */
  constructor(servers: readonly Server[], timeline: Timeline, hopMs: number, rng: Rng) {
    this.#servers = new Map(servers.map((server) => [server.name, server]));
    this.#timeline = timeline;
    this.#hopMs = hopMs;
    this.#rng = rng;
  }

  server(name: string): Server {
    const server = this.#servers.get(name);
    if (server === undefined) throw new Error(`there is no server ${JSON.stringify(name)}`);
    return server;
  }

  /** The last server that the request was sent to. */
  sentTo(request: SimRequest): string | null {
    return this.#sentTo.get(request) ?? null;
  }

  /** Sends the request to a server. `ended` is called exactly once. */
  attempt(name: string, request: SimRequest, ended: (end: AttemptEnd) => void): void {
    const sentMs = this.#timeline.nowMs;
    this.#sentTo.set(request, name);
    const half = this.#hopMs / 2;
    let over = false;
    let takeAway: () => void = () => undefined;
    const finish = (outcome: Outcome, timedOut: boolean): void => {
      if (over) return;
      over = true;
      ended({ server: name, outcome, latencyMs: this.#timeline.nowMs - sentMs, timedOut });
    };
    const answer = (outcome: Outcome): void => this.#timeline.after(half, () => finish(outcome, false));
    if (request.deadlineMs < Infinity) {
      this.#timeline.at(request.deadlineMs, () => {
        if (over) return;
        takeAway();
        finish(aborted, true);
      });
    }
    this.#timeline.after(half, () => {
      if (over) return;
      const server = this.server(name);
      if (server.dead) answer(refused);
      else if (request.invalid) answer(invalid);
      else takeAway = server.submit(request.work, (how) => answer(how === "lost" ? reset : this.#answerOf(server)));
    });
  }

  #answerOf(server: Server): Outcome {
    return server.failing > 0 && this.#rng() < server.failing ? answeredBadly : success;
  }

  /** An active probe: whether `/ping` answers. It does while only the answers are bad. */
  probe(name: string, ended: (ok: boolean) => void): void {
    this.#timeline.after(this.#hopMs, () => ended(!this.server(name).dead));
  }
}
