/** One request to the origin on behalf of the cache: what came back, and whether it may be kept. */
import type { CachedAnswer, HeaderList } from "../../shared/cache/cached-answer.ts";
import { confirms, freshenedHeaders, validators } from "../../shared/cache/conditional.ts";
import { selectingNames } from "../../shared/cache/request-fields.ts";
import type { AnswerFacts, Verdict } from "../../shared/cache/storing.ts";
import { varyNames } from "../../shared/cache/storing.ts";
import { classifyAnswer, readErrorBody } from "../../shared/jimeng/answer.ts";
import { facts, possibleError } from "../attempt.ts";
import { failureResponse } from "../failure.ts";
import { verdictOf } from "../upstream.ts";
import { bodyLimit, cachedAnswer, keptHeaders, readBody, withPassingFields } from "./message.ts";

/**
 * What the rest of the pipeline made of an upstream request.
 * - `ok`: what was asked for.
 * - `refused`: the client's fault, whatever the status; passed on, never stored.
 * - `failed`: the backends' fault, also where there was none to ask; never stored, and a stale answer may stand in for it.
 */
export interface OriginAnswer {
  readonly response: Response;
  readonly verdict: "ok" | "refused" | "failed";
}

export interface OriginTerms {
  /**
   * Others may get this answer: it must not end because this client leaves, and nothing that tells clients apart (their address, the
   * host they used) may go upstream beside `headers`.
   */
  readonly shared: boolean;
  /** A stale answer is at hand: fail at once rather than wait between attempts. */
  readonly standIn: boolean;
}

/** `headers` are the client's as they should go on, validators included; method and target are the client's. */
export type Origin = (headers: Headers, terms: OriginTerms) => Promise<OriginAnswer>;

export type Fetched =
  | {
      readonly kind: "kept";
      readonly answer: CachedAnswer;
      /** Of `Vary` and of the fields that always select; of no meaning to a fixed route. */
      readonly names: readonly string[];
      readonly forwardStatus: number;
      /** False: good for this request, but no longer to be stored. */
      readonly storable: boolean;
    }
  | { readonly kind: "apart"; readonly response: Response; readonly refused: boolean }
  | { readonly kind: "failed"; readonly response: Response | null; readonly error: unknown };

export interface Fetching {
  readonly headers: Headers;
  readonly held: CachedAnswer | null;
  readonly standIn: boolean;
  readonly verdict: (facts: Pick<AnswerFacts, "status" | "fields" | "requestMs" | "responseMs">) => Verdict;
  readonly nowMs: () => number;
  /** How long a body may take to be kept. */
  readonly bodyPatienceMs: number;
}

export async function fetchAnswer(fetching: Fetching, origin: Origin): Promise<Fetched> {
  const { held, nowMs } = fetching;
  const headers = new Headers(fetching.headers);
  if (held !== null) for (const [name, value] of validators(held)) headers.set(name, value);
  const requestMs = nowMs();
  let given: OriginAnswer;
  try {
    given = await origin(headers, { shared: true, standIn: fetching.standIn });
  } catch (error) {
    return { kind: "failed", response: null, error };
  }
  const times = { requestMs, responseMs: nowMs() };
  const { response } = given;
  // A dialect may say a client's mistake with a 500: the verdict counts, not the status.
  if (given.verdict === "failed") return { kind: "failed", response, error: null };
  if (given.verdict === "refused") return { kind: "apart", response, refused: true };
  if (response.status === 304 && held !== null) {
    await response.body?.cancel();
    if (confirms(held, response.headers)) return confirmed(fetching, held, response, times);
    // It speaks of another version than ours: ask again, for the whole (RFC 9111 §4.3.4).
    return fetchAnswer({ ...fetching, held: null }, origin);
  }
  const verdict = fetching.verdict({ status: response.status, fields: response.headers, ...times });
  if (!verdict.store) return { kind: "apart", response, refused: false };
  return whole(response, verdict, times.responseMs, fetching.bodyPatienceMs);
}

async function whole(
  response: Response,
  verdict: Extract<Verdict, { store: true }>,
  receivedMs: number,
  withinMs: number,
): Promise<Fetched> {
  try {
    const body = await readBody(response, { bytes: bodyLimit, withinMs });
    if (body.kind === "passing")
      return { kind: "apart", response: new Response(body.stream, response), refused: false };
    const told = toldVerdict(response, body.bytes);
    if (told !== "ok") {
      const said = new Response(body.bytes, response);
      return told === "failed"
        ? { kind: "failed", response: said, error: null }
        : { kind: "apart", response: said, refused: true };
    }
    const answer = cachedAnswer(response, body.bytes, verdict.retention, verdict.omit, receivedMs);
    return { kind: "kept", answer, names: namesOf(response.headers), forwardStatus: response.status, storable: true };
  } catch {
    const message = "The backend's answer ended before it was complete.";
    return { kind: "failed", response: failureResponse({ code: "backend_answer_cut", message }), error: null };
  }
}

/** A dialect tells an error under a 200, too. What doesn't say that it is JSON has come here unread. */
function toldVerdict(response: Response, bytes: Uint8Array): OriginAnswer["verdict"] {
  const json = possibleError(bytes);
  if (readErrorBody(json) === null) return "ok";
  return verdictOf(classifyAnswer(facts(response, json, "complete", 0), "query"));
}

/** RFC 9111 §4.3.4: the stored answer with the 304's fields, judged anew. */
function confirmed(
  fetching: Fetching,
  held: CachedAnswer,
  response: Response,
  times: { readonly requestMs: number; readonly responseMs: number },
): Fetched {
  const update = keptHeaders(response.headers, [], times.responseMs);
  const headers = freshenedHeaders(held, update);
  const fields = withPassingFields(headers, response.headers);
  const verdict = fetching.verdict({ status: held.status, fields, ...times });
  const answer: CachedAnswer = {
    ...held,
    ...(verdict.store ? verdict.retention : {}),
    headers: verdict.store ? without(headers, verdict.omit) : headers,
    etag: response.headers.get("etag") ?? held.etag,
    lastModified: response.headers.get("last-modified") ?? held.lastModified,
    receivedMs: times.responseMs,
  };
  return { kind: "kept", answer, names: namesOf(fields), forwardStatus: 304, storable: verdict.store };
}

function without(headers: HeaderList, omit: readonly string[]): HeaderList {
  return omit.length === 0 ? headers : headers.filter(([name]) => !omit.includes(name));
}

function namesOf(headers: Headers): string[] {
  return selectingNames(varyNames(headers.get("vary")) ?? []);
}
