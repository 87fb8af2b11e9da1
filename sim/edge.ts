/** What an edge does with a request, by what it knows. */
import type { AttemptReport } from "../src/shared/contract.ts";
import type { RouteClass } from "../src/shared/route.ts";
import type { AttemptEnd, Network, SimRequest } from "./network.ts";
import type { Registry } from "./registry.ts";
import type { Timeline } from "./timeline.ts";

/** `refused`: there was nobody to send it to. */
export type RequestEnd = { readonly kind: "answered"; readonly last: AttemptEnd } | { readonly kind: "refused" };

export interface Edge {
  send(request: SimRequest, ended: (end: RequestEnd) => void): void;
}

/** Attempts in all, and what may be sent again: what provably wasn't executed, and cheap requests in any case. */
export interface RetryRule {
  readonly maxAttempts: number;
  readonly cheap: boolean;
}

export function mayGoOn(end: AttemptEnd, attempts: number, rule: RetryRule): boolean {
  if (end.timedOut || end.outcome.kind !== "backend_fault" || attempts >= rule.maxAttempts) return false;
  return rule.cheap || end.outcome.executed === "no";
}

export interface ExactSettings {
  readonly routeClass: RouteClass;
  /** From the edge to the registry and back. */
  readonly rttMs: number;
  readonly retry: RetryRule;
  readonly useAffinity: boolean;
}

/** Asks the registry for every request. With a registry of its own and no way to it, it is a balancer that sees only itself. */
export class ExactEdge implements Edge {
  readonly #registry: Registry;
  readonly #network: Network;
  readonly #timeline: Timeline;
  readonly #settings: ExactSettings;

  constructor(registry: Registry, network: Network, timeline: Timeline, settings: ExactSettings) {
    this.#registry = registry;
    this.#network = network;
    this.#timeline = timeline;
    this.#settings = settings;
  }

  send(request: SimRequest, ended: (end: RequestEnd) => void): void {
    const { rttMs, routeClass, useAffinity } = this.#settings;
    this.#timeline.after(rttMs / 2, () => {
      const reply = this.#registry.pick({
        routeClass,
        routeId: "POST /v1/images/generations",
        model: null,
        affinityKey: useAffinity ? request.client : null,
        taskId: null,
        edgeRegion: "local",
      });
      this.#timeline.after(rttMs / 2, () => {
        if (reply.kind !== "picked") ended({ kind: "refused" });
        else
          this.#walk(
            request,
            reply.leaseId,
            reply.candidates.map((candidate) => candidate.name),
            ended,
          );
      });
    });
  }

  /** Tries the candidates in turn until one has answered or nothing may be sent again. */
  #walk(request: SimRequest, leaseId: string, candidates: readonly string[], ended: (end: RequestEnd) => void): void {
    const { rttMs, routeClass, retry } = this.#settings;
    let left = candidates;
    let attempts = 0;
    const tryAt = (name: string): void => {
      left = left.filter((other) => other !== name);
      attempts += 1;
      this.#network.attempt(name, request, (end) => {
        const report = this.#reportOf(end);
        if (left.length === 0 || !mayGoOn(end, attempts, retry)) {
          this.#timeline.after(rttMs / 2, () => this.#registry.settle({ leaseId, report, orphaned: false }));
          return ended({ kind: "answered", last: end });
        }
        this.#timeline.after(rttMs / 2, () => {
          const moved = this.#registry.move({ leaseId, routeClass, report, candidates: left, gone: false });
          this.#timeline.after(rttMs / 2, () =>
            moved.kind === "moved" ? tryAt(moved.backend) : ended({ kind: "refused" }),
          );
        });
      });
    };
    tryAt(candidates[0]!);
  }

  #reportOf({ server, outcome, latencyMs }: AttemptEnd): AttemptReport {
    const { routeClass } = this.#settings;
    return { backend: server, routeClass, edgeRegion: "local", outcome, latencyMs, responseBytes: 0, learned: null };
  }
}
