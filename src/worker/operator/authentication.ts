/** May whoever asks do this? Nobody is told more than that. */
import { parseClientKey } from "../../shared/client-key.ts";
import type { OperatorIdentity } from "../../shared/contract.ts";
import type { OperatorRole } from "../../shared/operator-access.ts";
import type { Exchange } from "../exchange.ts";
import type { Failure } from "../failure.ts";
import { askLimiter } from "../limiter.ts";
import type { LimiterReply } from "../limiter.ts";
import { gateOf } from "./gate.ts";
import type { Identity } from "./gate.ts";

/** Wrong tokens from one address within a minute; the eleventh closes it to that address for five. */
const guessLimit = { requests: 10, window: 60, blockDuration: 300 } as const;

export type Verdict =
  | { readonly kind: "operator"; readonly identity: OperatorIdentity }
  | { readonly kind: "refused"; readonly failure: Failure };

export async function authenticate(exchange: Exchange, needed: OperatorRole): Promise<Verdict> {
  const { edge, request } = exchange;
  const gate = gateOf(edge.env, edge.config.RUNTIME);
  const from = addressOf(exchange);
  if (gate.isClosed) return refused(closed(gate.faults.length > 0));
  if (!gate.shows(request.headers)) return refused(unauthorized);
  const blockedMs = await blockLeft(exchange, from);
  if (blockedMs > 0) return refused(tooMany(blockedMs));
  const identity = await gate.identify(request.headers);
  if (identity.kind === "wrong" && identity.guessed) return refused(await guessed(exchange, from));
  if (identity.kind === "unverifiable") edge.warnOncePerMinute("access_keys_unavailable", identity.message);
  if (identity.kind !== "known") return refused(unauthorized);
  const failure = forbidden(exchange, identity, needed);
  return failure === null ? { kind: "operator", identity: { name: identity.name, from } } : refused(failure);
}

/** For `/health`, which anybody may ask and which tells operators more. */
export async function isOperator(exchange: Exchange): Promise<boolean> {
  const { edge, request } = exchange;
  const gate = gateOf(edge.env, edge.config.RUNTIME);
  if (gate.isClosed || !gate.shows(request.headers)) return false;
  return (await authenticate(exchange, "viewer")).kind === "operator";
}

function refused(failure: Failure): Verdict {
  return { kind: "refused", failure };
}

/** By address, whatever clients are counted by: an operator's token must not enter the log as a client's key, not even hashed. */
function addressOf(exchange: Exchange): string | null {
  const client = exchange.edge.clients.seen(exchange.request);
  exchange.client = client;
  return client.address;
}

function forbidden(exchange: Exchange, identity: Identity & { kind: "known" }, needed: OperatorRole): Failure | null {
  if (identity.role === null) return notYours("You belong to none of the groups that ACCESS gives a role.");
  if (needed === "operator" && identity.role !== "operator")
    return notYours("This changes something and takes the role operator; yours is viewer.");
  if (identity.by === "access" && isForeignPage(exchange, needed))
    return notYours("A page of another site can't ask for anything here in your name.");
  return null;
}

/**
 * Access knows a browser by its cookie, which the browser sends along whichever page asks; a client's page that CORS lets in
 * with credentials would read what it is told. A link may be followed from anywhere. https://www.w3.org/TR/fetch-metadata/
 */
function isForeignPage({ request, protocol, host }: Exchange, needed: OperatorRole): boolean {
  const site = request.headers.get("sec-fetch-site");
  const isLink = needed === "viewer" && request.headers.get("sec-fetch-mode") === "navigate";
  if (site !== null && site !== "same-origin" && site !== "none" && !isLink) return true;
  const origin = request.headers.get("origin");
  return origin !== null && origin !== `${protocol}://${host}`;
}

// ── Guesses ──────────────────────────────────────────────────────────────────────────────────────

function guesserKey(from: string | null): string {
  return `operator:${(from === null ? null : parseClientKey(from)) ?? "unknown"}`;
}

/** Milliseconds until this address may try again; 0 also where its limiter doesn't answer: at night somebody must get in. */
async function blockLeft({ edge }: Exchange, from: string | null): Promise<number> {
  const reply = await askLimiter(edge.env.RATE_LIMITER, guesserKey(from), (limiter) =>
    limiter.inspect(guessLimit, "default"),
  );
  if (reply.kind === "failed") {
    edge.warnOncePerMinute(`operator_limiter_${reply.reason}`, reply.message);
    return 0;
  }
  const { block } = reply.value;
  return block === null ? 0 : Math.max(0, block.untilMs - Date.now());
}

async function guessed({ edge }: Exchange, from: string | null): Promise<Failure> {
  const clientKey = guesserKey(from);
  const guess = {
    clientKey,
    policy: "default",
    durability: "strict",
    reportOnly: false,
    refusedFromMemory: 0,
  } as const;
  const reply: LimiterReply<{ readonly kind: string; readonly retryAfterMs?: number }> = await askLimiter(
    edge.env.RATE_LIMITER,
    clientKey,
    (limiter) => limiter.admit(guessLimit, guess),
  );
  const blockedMs = reply.kind === "answered" ? (reply.value.retryAfterMs ?? 0) : 0;
  return blockedMs > 0 ? tooMany(blockedMs) : unauthorized;
}

// ── Words ────────────────────────────────────────────────────────────────────────────────────────

const unauthorized: Failure = {
  code: "operator_unauthorized",
  message: "This route takes an operator's token: Authorization: Bearer …",
  headers: { "www-authenticate": "Bearer" },
};

function closed(broken: boolean): Failure {
  const cure = "set the secret ADMIN_TOKEN (npx wrangler secret put ADMIN_TOKEN), ADMIN_TOKENS or ACCESS";
  const message = broken
    ? `The operators' API is closed: what is set can't be used, and the log says why. To open it, ${cure}.`
    : `The operators' API is closed. To open it, ${cure}.`;
  return { code: "operators_api_disabled", message };
}

function notYours(message: string): Failure {
  return { code: "operator_forbidden", message };
}

function tooMany(blockedMs: number): Failure {
  const message = "Too many wrong tokens came from this address.";
  return { code: "operator_rate_limited", message, retryAfterS: blockedMs / 1000 };
}
