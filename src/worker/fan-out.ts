/** Answers that no single backend has: counters that each keeps for itself, and the union of their models. */
import { mergeModels, modelsAnswer, parseModels, servedModels } from "../shared/jimeng/models.ts";
import { mergeUsage } from "../shared/jimeng/usage.ts";
import type { UsageAnswering } from "../shared/jimeng/usage.ts";
import type { ModelEntry } from "../shared/contract.ts";
import { servesRoute } from "../shared/balance/membership.ts";
import { anotherAttempt } from "../shared/retry/matrix.ts";
import type { Route } from "../shared/route.ts";
import { accountFor } from "./account.ts";
import { nobodysFault } from "./body.ts";
import { attempt, discard } from "./attempt.ts";
import type { Answer, AttemptResult } from "./attempt.ts";
import { Cutoff } from "./cutoff.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import { mayRetry } from "./forward.ts";
import { responseHeaders, wholeRequestHeaders } from "./headers.ts";
import { jsonBytes, jsonBytesResponse, jsonResponse } from "./json-response.ts";
import type { EdgeMember } from "./table.ts";
import { verdictOf } from "./upstream.ts";
import type { Produced, Upstream } from "./upstream.ts";

/** Connections of one invocation that may wait for response headers: https://developers.cloudflare.com/workers/platform/limits/ */
const asksAtOnce = 6;

export async function modelsResponse(exchange: Exchange, route: Route, upstream: Upstream): Promise<Produced> {
  await exchange.edge.freshen(exchange.region, exchange.waitUntil, exchange.startedMs);
  const answers = await askAll(exchange, route, upstream);
  const lists = answers.map(listOf).filter((list) => list !== null);
  if (lists.length === 0) return noAnswer(answers);
  return { response: jsonResponse(modelsAnswer(mergeModels(lists))), verdict: "ok" };
}

function listOf({ member, json }: Asked): readonly ModelEntry[] | null {
  const read = parseModels(json);
  return read === null ? null : servedModels(read, member.modelsBinding ? member.models : null);
}

/** The list is the same until the prober reads another one. */
const composed = new WeakMap<readonly ModelEntry[], Uint8Array>();

export function readingAgeS({ readAtMs }: { readonly readAtMs: number }, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - readAtMs) / 1000));
}

/** The list as the prober read it, `ageS` seconds ago. */
export function composedModels(entries: readonly ModelEntry[], ageS: number): Response {
  let bytes = composed.get(entries);
  if (bytes === undefined) composed.set(entries, (bytes = jsonBytes(modelsAnswer(entries))));
  return jsonBytesResponse(bytes, 200, { age: String(ageS) });
}

export async function usageResponse(
  exchange: Exchange,
  route: Route,
  answering: UsageAnswering,
  upstream: Upstream,
): Promise<Produced> {
  await exchange.edge.freshen(exchange.region, exchange.waitUntil, exchange.startedMs);
  const answers = await askAll(exchange, route, upstream);
  const merged = mergeUsage(
    answering,
    answers.map(({ json }) => json),
    answers.length,
  );
  return merged === null ? noAnswer(answers) : { response: jsonResponse(merged), verdict: "ok" };
}

interface Asked {
  readonly member: EdgeMember;
  readonly result: AttemptResult;
  readonly json: unknown;
}

async function askAll(exchange: Exchange, route: Route, upstream: Upstream): Promise<Asked[]> {
  const { members } = exchange.edge.table;
  const able = members.filter((member) => member.operatorState === "active" && servesRoute(member, route.id));
  const usable = able.filter((member) => member.healthy);
  const asked = usable.length > 0 ? usable : able;
  // In the order of the backends, not of their answers: the same fleet gives the same merged answer.
  const answers: Asked[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < asked.length; index = next++) {
      answers[index] = await askTwice(exchange, route, asked[index] as EdgeMember, upstream);
    }
  };
  await Promise.all(Array.from({ length: Math.min(asksAtOnce, asked.length) }, lane));
  return answers;
}

/** Once more where an idle connection may have been closed under the question; a server that was waited for in vain is not waited for again. */
async function askTwice(exchange: Exchange, route: Route, member: EdgeMember, upstream: Upstream): Promise<Asked> {
  const first = await ask(exchange, route, member, upstream);
  const { outcome } = first.result;
  const question = { routeClass: route.class, paid: false, generations: exchange.edge.config.RETRY.generations };
  if (outcome.reason === "timeout" || anotherAttempt(outcome, question) === "never") return first;
  if (!(await mayRetry(exchange))) return first;
  exchange.edge.findings.counters.retries += 1;
  return ask(exchange, route, member, upstream);
}

async function ask(exchange: Exchange, route: Route, member: EdgeMember, upstream: Upstream): Promise<Asked> {
  const { edge, waitUntil, region } = exchange;
  const account = accountFor({ edge, waitUntil, region, routeClass: route.class }, null);
  const cutoff = new Cutoff();
  cutoff.endAfter(edge.config.RETRY.attemptTimeout * 1000, "attempt_timeout");
  account.opened(member.name);
  exchange.attempts += 1;
  const result = await attempt({
    url: member.url + exchange.path + exchange.query,
    method: "GET",
    headers: wholeRequestHeaders(upstream.headers, edge.secretHeaders[member.name] ?? {}),
    body: null,
    signal: cutoff.signal,
    endedBy: () => cutoff.reason,
    onAnswer: () => undefined,
    uploadFault: nobodysFault,
    routeId: route.id,
    routeClass: route.class,
  });
  cutoff.clear();
  account.closed(member.name, result, 0);
  const bytes = result.answer?.body.kind === "bytes" ? result.answer.body.bytes : null;
  await discard(result.answer);
  return { member, result, json: result.outcome.kind === "success" && bytes !== null ? parsed(bytes) : null };
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return null;
  }
}

/** Nobody had a usable answer: what one of them said is the best there is to tell. */
function noAnswer(answers: readonly Asked[]): Produced {
  const said = answers.find(({ result }) => result.answer?.body.kind === "bytes" && result.answer.status >= 400);
  if (said !== undefined && said.result.answer !== null) {
    return { response: asItCame(said.result.answer), verdict: verdictOf(said.result.outcome) };
  }
  const message = `None of the ${answers.length} backends that were asked gave a usable answer.`;
  const code = answers.length === 0 ? "no_backend" : "backend_unreachable";
  return { response: failureResponse({ code, message }), verdict: "failed" };
}

function asItCame(answer: Answer): Response {
  const headers = responseHeaders(answer.headers);
  headers.delete("content-length");
  return new Response(answer.body.kind === "bytes" ? answer.body.bytes : null, { status: answer.status, headers });
}
