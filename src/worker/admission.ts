/** The step "admit": who is it, do they hold a key where keys are asked for, and may they pass? */
import type { Route } from "../shared/route.ts";
import { admit } from "./admit.ts";
import type { AdmitVerdict } from "./admit.ts";
import type { ApiKeyGate } from "./api-keys.ts";
import type { Client } from "./client.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";

/** null: none. */
type RefusalResponse = Response | null;

/** null: admitted; otherwise the answer that the client gets. At once where neither a key nor the limiter is asked. */
export function admitted(exchange: Exchange, route: Route): RefusalResponse | Promise<RefusalResponse> {
  const { apiKeys } = exchange.edge;
  if (apiKeys === null) return judged(exchange, route, noKeyAsked);
  return keyShown(exchange, apiKeys).then((key) => judged(exchange, route, key));
}

/** Counted first, so that guessing keys is limited like everything else. */
function judged(exchange: Exchange, route: Route, key: ShownKey): RefusalResponse | Promise<RefusalResponse> {
  exchange.apiKey = key.name;
  const refusal = limited(exchange, route, key);
  return refusal instanceof Promise
    ? refusal.then((late) => checked(exchange, key, late))
    : checked(exchange, key, refusal);
}

function checked(exchange: Exchange, key: ShownKey, refusal: RefusalResponse): RefusalResponse {
  if (refusal !== null) return refused(exchange, refusal);
  if (key.valid) return null;
  exchange.reason = "api_key_invalid";
  return refused(exchange, keyMissing());
}

/** For what is answered here and not counted: only whether this address may be here at all. null: it may. */
export function turnedAway(exchange: Exchange): RefusalResponse {
  const { clients } = exchange.edge;
  if (!clients.rules.isClosedToSome) return null;
  const { standing } = clients.seen(exchange.request);
  if (standing === "denied")
    return refused(exchange, refusalOf(exchange, { kind: "forbidden", code: "client_denied" }));
  if (standing !== "unknown") return null;
  return refused(exchange, refusalOf(exchange, { kind: "unidentified", code: "client_address_unknown" }));
}

interface ShownKey {
  readonly valid: boolean;
  readonly name: string | null;
}

const noKeyAsked: ShownKey = { valid: true, name: null };

async function keyShown(exchange: Exchange, gate: ApiKeyGate): Promise<ShownKey> {
  const { headers } = exchange.request;
  const verdict = await gate.judge(headers);
  if (verdict.kind === "invalid") return { valid: false, name: null };
  exchange.headers = withoutKey(headers, verdict.replaceAuthorization, verdict.dropHeader);
  return { valid: true, name: verdict.name };
}

/** Who shows a wrong key is an address, whatever clients are counted by: each guess would be a client of its own. */
function limited(exchange: Exchange, route: Route, key: ShownKey): RefusalResponse | Promise<RefusalResponse> {
  const { clients } = exchange.edge;
  const client = key.valid ? clients.read(exchange.request, key.name) : clients.seen(exchange.request);
  return client instanceof Promise
    ? client.then((late) => counted(exchange, route, late))
    : counted(exchange, route, client);
}

function counted(exchange: Exchange, route: Route, client: Client): RefusalResponse | Promise<RefusalResponse> {
  const { edge, waitUntil } = exchange;
  exchange.client = client;
  const verdict = admit(edge.admitContext, edge.clients.rules, client, route.class, waitUntil);
  return verdict instanceof Promise ? verdict.then((late) => settled(exchange, late)) : settled(exchange, verdict);
}

function settled(exchange: Exchange, verdict: AdmitVerdict): RefusalResponse {
  if (verdict.kind !== "admitted") return refusalOf(exchange, verdict);
  exchange.limitHeaders = verdict.headers;
  exchange.limitReported = verdict.reported;
  return null;
}

/** What goes on to a backend: the key stays here, and the Jimeng tokens that it stands for take its place. */
function withoutKey(client: Headers, authorization: string | null, drop: string | null): Headers {
  const headers = new Headers(client);
  if (drop !== null) headers.delete(drop);
  if (authorization !== null) headers.set("authorization", authorization);
  return headers;
}

function refused(exchange: Exchange, response: Response): Response {
  exchange.outcome = "rejected";
  return response;
}

function keyMissing(): Response {
  const message =
    "This edge asks for a key that its operator has given out, as X-API-Key or as Authorization: Bearer; none came, or one that is not valid.";
  return failureResponse({ code: "api_key_invalid", message, headers: { "www-authenticate": "Bearer" } });
}

type Refusal = Exclude<AdmitVerdict, { kind: "admitted" }>;

function refusalOf(exchange: Exchange, verdict: Refusal): Response {
  switch (verdict.kind) {
    case "refused": {
      exchange.limitHeaders = verdict.headers;
      exchange.reason = "rate_limited";
      const { requests, window } = verdict.limit;
      const message = `Too many requests: ${requests} in ${window} s are allowed. Try again in ${verdict.retryAfterS} s.`;
      return failureResponse({ code: "rate_limited", message, retryAfterS: verdict.retryAfterS });
    }
    case "forbidden":
      exchange.reason = verdict.code;
      return failureResponse({ code: verdict.code, message: "This address may not use this edge." });
    case "unidentified":
      exchange.reason = verdict.code;
      return failureResponse({
        code: verdict.code,
        message: "Nothing vouches for this client's address, so that it can't be told from others.",
      });
    case "unavailable":
      exchange.reason = verdict.code;
      return failureResponse({
        code: verdict.code,
        message: "Whether this client may pass could not be found out.",
        retryAfterS: verdict.retryAfterS,
      });
  }
}
