/**
 * What an answer, or the lack of one, means: the only classifier. Whose fault it was, whether the backend carried the
 * request out, and whether a probe could have seen it. `docs/jimeng.md` has the table in words.
 */
import type { Learned } from "../contract.ts";
import type { Executed, Outcome, OutcomeKind } from "../outcome.ts";
import { aborted, success } from "../outcome.ts";
import type { RouteClass } from "../route.ts";
import { detectDialect, routeRefusal } from "./dialect.ts";

export interface AnswerFacts {
  readonly status: number;
  /** The negative code of a Jimeng error body; null where there is none or the body was not read. */
  readonly code: number | null;
  readonly message: string | null;
  readonly hasRetryAfter: boolean;
  /** A body of the shape `{code, message, data}` was seen, so the answer is the server's own and not a proxy's. */
  readonly isJimengBody: boolean;
  /** `unread`: too large to look at, or a stream. */
  readonly bodyState: "complete" | "cut" | "unread";
  /** From sending the request to its answer or its end. */
  readonly elapsedMs: number;
}

export type ThrownCause = "refused" | "reset" | "timeout" | "dns" | "tls" | "deadline" | "client_left" | "unclear";

/** `connecting`: nothing of the request can have arrived. `sent`: it may have. `headers`, `body`: so far the answer came. */
export type ThrownPhase = "connecting" | "sent" | "headers" | "body";

/** The outcome's reason where a server says that it has no such route: another one may have it. */
export const routeUnknown = "route_unknown";
/** The outcome's reason where a proxy between us and the server gave up while the server may still be working. */
export const edgeReadTimeout = "edge_read_timeout";

/** Cloudflare's proxy waits 100–120 s for the first byte (error 524); it may end without a word: ten seconds of slack. */
const readTimeoutMs = { from: 100_000, to: 130_000 } as const;

/** Jimeng's own verdict on the account, which flat-2 and inner errors pass on under a general code. */
const deadToken = /登录失效|登录已?过期|未登录|check login error|login error|token\s*已?(?:失效|过期)/i;
const noCredits = /积分(?:可能)?不足|insufficient (?:points|credits?)/i;

/** A -1000 that says why: the request never left the server's front door. */
const refusals: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [routeRefusal, routeUnknown],
  [/无效的JSON格式/i, "invalid_json"],
  [/不支持的参数/, "unsupported_parameter"],
];

type Verdict = readonly [kind: OutcomeKind, executed: Executed];

/**
 * Code by code. -2001 is what a server says when Jimeng answered and said no: the account, the prompt or Jimeng itself,
 * so nobody is blamed. -1000 without one of the reasons above is what it says when it could not reach Jimeng at all,
 * and -2007/-2008 that the job failed after its submission: both lie behind the server and no client can cause them.
 */
const verdicts: Readonly<Record<number, Verdict>> = {
  [-1000]: ["backend_fault", "unknown"],
  [-1001]: ["client_fault", "no"],
  [-2000]: ["client_fault", "no"],
  [-2001]: ["unknown", "unknown"],
  [-2002]: ["token_fault", "no"],
  [-2003]: ["client_fault", "no"],
  [-2004]: ["client_fault", "no"],
  [-2006]: ["client_fault", "yes"],
  [-2007]: ["backend_fault", "unknown"],
  [-2008]: ["backend_fault", "unknown"],
  [-2009]: ["token_fault", "yes"],
  [-2010]: ["client_fault", "no"],
  [-2011]: ["client_fault", "no"],
  [-2012]: ["client_fault", "no"],
  [-2013]: ["client_fault", "no"],
};

/**
 * Cloudflare's own answers for an origin (developers.cloudflare.com/support/troubleshooting/http-status-codes): the first
 * six say that the request was never delivered, which a probe would meet as well.
 */
const cloudflareStatuses: Readonly<Record<number, Outcome>> = {
  521: outcome("backend_fault", "no", true, "http_521"),
  522: outcome("backend_fault", "no", true, "http_522"),
  523: outcome("backend_fault", "no", true, "http_523"),
  525: outcome("backend_fault", "no", true, "http_525"),
  526: outcome("backend_fault", "no", true, "http_526"),
  530: outcome("backend_fault", "no", true, "http_530"),
  520: outcome("backend_fault", "unknown", false, "http_520"),
  524: outcome("unknown", "unknown", false, edgeReadTimeout),
  529: outcome("capacity", "unknown", false, "http_529"),
};

/**
 * Whether a ping's answer may be that of a proxy in front of a server that is gone: Cloudflare's own, or what every
 * gateway says (RFC 9110 §15.6.3–15.6.5). No server of ours says one of these by itself.
 */
export function isGatewaysWord(status: number): boolean {
  return (status >= 502 && status <= 504) || (status >= 520 && status <= 530);
}

/** Decides what an answer means. Never throws, whatever the facts. */
export function classifyAnswer(facts: AnswerFacts, routeClass: RouteClass): Outcome {
  if (facts.code !== null) return classifyCode(facts, facts.code, routeClass);
  const { status } = facts;
  if (!(status >= 200 && status <= 599)) return outcome("backend_fault", "unknown", false, `http_${status}`);
  if (status < 400) return classifyGood(facts, routeClass);
  if (status === 429) return outcome("capacity", "no", false, "http_429");
  if (status === 408) return outcome("unknown", "unknown", false, "http_408");
  if (status < 500) return outcome("client_fault", "no", false, `http_${status}`);
  return classifyServerError(facts, routeClass);
}

function classifyCode(facts: AnswerFacts, code: number, routeClass: RouteClass): Outcome {
  const found = judgeCode(code, facts.message ?? "", routeClass);
  if (facts.status !== 429 || found.kind === "client_fault" || found.kind === "token_fault") return found;
  return outcome("capacity", found.executed, false, "http_429");
}

function judgeCode(code: number, message: string, routeClass: RouteClass): Outcome {
  const reason = `code_${code}`;
  if (code === -1000) {
    const refusal = refusals.find(([pattern]) => pattern.test(message));
    if (refusal !== undefined) return outcome("client_fault", "no", false, refusal[1]);
  }
  const [kind, executed] = verdicts[code] ?? (["unknown", "unknown"] as const);
  if (kind === "client_fault" || kind === "token_fault") {
    const stray = code <= -2010 && routeClass !== "task";
    // Elsewhere some servers use -2010 for a refusal by Jimeng's risk control, which may follow a submission.
    return stray ? outcome("unknown", "unknown", false, reason) : outcome(kind, executed, false, reason);
  }
  const account = accountFault(code, message);
  if (account !== null) {
    const refused: Executed = account === "no_credits" ? "yes" : code === -1000 || code === -2001 ? "no" : "unknown";
    return outcome("token_fault", refused, false, reason);
  }
  // One current release answers 500 to every look-up of a session: its counters are broken, its generations are not.
  if (kind === "backend_fault" && routeClass === "usage") return outcome("unknown", executed, false, reason);
  return outcome(kind, executed, false, reason);
}

function classifyGood(facts: AnswerFacts, routeClass: RouteClass): Outcome {
  const { status } = facts;
  if (facts.bodyState === "cut") return outcome("backend_fault", "unknown", false, "cut");
  const redirected = status >= 300 && status !== 304;
  // A redirected generation is a backend whose address is wrong (http for https, a moved prefix): it has generated nothing we know of.
  if (redirected && isPaidClass(routeClass)) return outcome("unknown", "unknown", false, `http_${status}`);
  return success;
}

function classifyServerError(facts: AnswerFacts, routeClass: RouteClass): Outcome {
  const { status } = facts;
  const reason = `http_${status}`;
  if (!facts.isJimengBody) {
    const cloudflare = cloudflareStatuses[status];
    if (cloudflare !== undefined) return cloudflare;
    if (status === 503 && facts.hasRetryAfter) return outcome("capacity", "unknown", false, reason);
  }
  if (status === 500 && routeClass === "usage") return outcome("unknown", "unknown", false, reason);
  // Not for a probe to see: a proxy may answer 502 for the generations alone, while `/ping` passes.
  return outcome("backend_fault", "unknown", false, reason);
}

/**
 * Decides what a thrown error or an early end means. The runtime uses the same words for a refused connection and one
 * that was reset halfway, so only a caller that knows nothing was sent may say `connecting`; otherwise nothing is proven.
 */
export function classifyThrown(cause: ThrownCause, phase: ThrownPhase, elapsedMs: number): Outcome {
  if (cause === "client_left") return aborted;
  const unsent = phase === "connecting" && cause !== "unclear";
  const executed: Executed = unsent ? "no" : "unknown";
  if (cause === "deadline") return outcome("unknown", executed, false, "deadline");
  const answered = phase === "headers" || phase === "body";
  if (!answered && !unsent && elapsedMs >= readTimeoutMs.from && elapsedMs <= readTimeoutMs.to) {
    return outcome("unknown", "unknown", false, edgeReadTimeout);
  }
  // A stream may be silent for as long as a picture takes; that it was given up on is no proof against the server.
  if (answered && cause === "timeout") return outcome("unknown", "unknown", false, "idle_timeout");
  return outcome("backend_fault", executed, true, answered ? "cut" : cause);
}

/** An answer that fell silent in its middle. A ping passes where only what is large does not, so it is no proof of health. */
export const stalled: Outcome = outcome("backend_fault", "unknown", false, "stalled");

/**
 * Reads a Jimeng error out of a parsed body: `{"code": negative, "message", "data"}`, under any status. Null for
 * everything else, a success's `code: 0` among it.
 */
export function readErrorBody(json: unknown): { code: number; message: string } | null {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return null;
  const { code, message } = json as { code?: unknown; message?: unknown };
  const number = typeof code === "string" && /^-\d{1,9}$/.test(code) ? Number(code) : code;
  if (typeof number !== "number" || !Number.isInteger(number) || number >= 0) return null;
  return { code: number, message: typeof message === "string" ? message : "" };
}

/** What an error says about the client's account: by its code, or by the words under a general one. */
export function accountFault(code: number, message: string): "dead_token" | "no_credits" | null {
  if (code === -2002) return "dead_token";
  if (code === -2009) return "no_credits";
  if (verdicts[code]?.[0] === "client_fault") return null;
  if (deadToken.test(message)) return "dead_token";
  return noCredits.test(message) ? "no_credits" : null;
}

/** Whether a parsed body has the shape that every Jimeng error has. */
export function isJimengBody(json: unknown): boolean {
  return typeof json === "object" && json !== null && "code" in json && "message" in json;
}

/** What one answer taught about its backend; null: nothing. */
export function learnFrom(facts: AnswerFacts, routeId: string, result: Outcome): Learned | null {
  const dialect = detectDialect({ status: facts.status, code: facts.code, message: facts.message, routeId });
  const refusedRouteId = result.reason === routeUnknown ? routeId : null;
  return dialect === null && refusedRouteId === null ? null : { dialect, refusedRouteId };
}

function isPaidClass(routeClass: RouteClass): boolean {
  return routeClass === "generate" || routeClass === "stream" || routeClass === "task";
}

function outcome(kind: OutcomeKind, executed: Executed, seenByProbe: boolean, reason: string): Outcome {
  return { kind, executed, seenByProbe, reason };
}
