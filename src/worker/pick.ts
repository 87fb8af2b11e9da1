/** Which backends, in which order. Expensive requests ask the registry one by one; cheap ones pick from the table. */
import type { PickedBackend, PickRefusal, PickReply } from "../shared/contract.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted } from "../shared/outcome.ts";
import { select } from "../shared/balance/select.ts";
import { picksFromTable } from "../shared/route.ts";
import type { Route, RouteClass } from "../shared/route.ts";
import type { Outgoing } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import type { Failure } from "./failure.ts";
import { objectPatienceMs, patiently } from "./patience.ts";

export type Picked =
  | {
      readonly kind: "picked";
      /** null: picked from the table, or the registry could not be reached. */
      readonly leaseId: string | null;
      readonly candidates: readonly PickedBackend[];
    }
  | { readonly kind: "refused"; readonly failure: Failure };

export async function pick(exchange: Exchange, route: Route, outgoing: Outgoing): Promise<Picked> {
  const { edge } = exchange;
  const fromTable = picksFromTable(outgoing.routeClass) && edge.config.PICKS === "auto";
  if (!fromTable) {
    const exact = await pickExactly(exchange, route, outgoing);
    if (exact !== null) return exact;
    // Only the registry knows where a task lives; another server would say that there is no such task.
    if (route.answering === "task_home") return { kind: "refused", failure: homeUnknown };
  }
  await edge.freshen(exchange.region, exchange.waitUntil, exchange.startedMs);
  return pickFromTable(exchange, route, outgoing.routeClass, outgoing.model);
}

const homeUnknown: Failure = {
  code: "registry_unavailable",
  message: "Which backend holds this task could not be found out just now.",
  retryAfterS: 2,
};

/** null: the registry could not be asked, and the table must do. */
async function pickExactly(exchange: Exchange, route: Route, outgoing: Outgoing): Promise<Picked | null> {
  const { edge } = exchange;
  edge.findings.counters.registryCalls.pick += 1;
  try {
    const asked = edge.registry.pick({
      routeId: route.id,
      routeClass: outgoing.routeClass,
      model: outgoing.model,
      affinityKey: affinityKey(exchange),
      taskId: route.answering === "task_home" ? route.parameter : null,
      edgeRegion: exchange.region,
    });
    const reply = await patiently(asked);
    if (reply === null) {
      exchange.waitUntil(giveBack(exchange, outgoing.routeClass, asked));
      throw new Error(`no pick within ${objectPatienceMs} ms`);
    }
    if (reply.kind === "misconfigured")
      return { kind: "refused", failure: { code: "configuration_invalid", message: misconfigured } };
    if (reply.kind === "none")
      return { kind: "refused", failure: refusal(reply.reason, route, outgoing.model, reply.retryAfterS) };
    return { kind: "picked", leaseId: reply.leaseId, candidates: reply.candidates };
  } catch (error) {
    edge.warnOncePerMinute("registry_unavailable", error);
    return null;
  }
}

/** The lease of a pick that came too late holds a place for nobody. */
async function giveBack({ edge, region }: Exchange, routeClass: RouteClass, asked: Promise<PickReply>): Promise<void> {
  const reply = await asked.catch(() => null);
  if (reply?.kind !== "picked") return;
  const backend = (reply.candidates[0] as PickedBackend).name;
  const outcome: Outcome = { ...aborted, executed: "no", reason: "late_pick" };
  const report = { backend, routeClass, edgeRegion: region, outcome, latencyMs: null, responseBytes: 0, learned: null };
  await edge.registry.settle({ leaseId: reply.leaseId, report, orphaned: false }).catch(() => undefined);
}

export function pickFromTable(exchange: Exchange, route: Route, routeClass: RouteClass, model: string | null): Picked {
  const { edge } = exchange;
  const request = {
    routeClass,
    routeId: route.id,
    model,
    affinityKey: affinityKey(exchange),
    edgeRegion: exchange.region,
  };
  const now = { nowMs: exchange.startedMs, rng: Math.random };
  const choice = select(edge.table.members, request, edge.config.BALANCE, edge.selection, now);
  if (choice.kind === "none") return { kind: "refused", failure: refusal(choice.reason, route, model, 1) };
  const ordered = edge.table.reachableFirst(choice.ordered, exchange.startedMs);
  const candidates = ordered.map((member) => ({
    name: member.name,
    url: member.url,
    dialect: member.dialect,
    needsProof: true,
  }));
  return { kind: "picked", leaseId: null, candidates };
}

function affinityKey(exchange: Exchange): string | null {
  const { affinityHeader } = exchange.edge.config.BALANCE;
  const given = affinityHeader === null ? null : exchange.request.headers.get(affinityHeader);
  return given ?? exchange.client?.key ?? null;
}

const misconfigured =
  "The edge is misconfigured and serves nothing until that is mended; the operator's log says what is wrong.";

export function refusal(reason: PickRefusal, route: Route, model: string | null, retryAfterS: number): Failure {
  switch (reason) {
    case "no_backend":
      return { code: reason, message: "No backend is usable: all are disabled, draining or gone.", retryAfterS: 5 };
    case "no_capacity":
      return { code: reason, message: "Every backend has as many requests in flight as it may have.", retryAfterS };
    case "route_unsupported":
      return { code: reason, message: `No backend serves ${route.id}.` };
    case "model_unsupported":
      return {
        code: reason,
        message: `No backend serves the model ${JSON.stringify(model)}; GET /v1/models lists those that are served.`,
      };
    case "task_home_gone":
      return {
        code: reason,
        message: "The backend that held this task is no longer part of the fleet, and the task is gone with it.",
      };
  }
}
