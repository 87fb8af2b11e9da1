/** The clients: who is blocked and why, and what their limits say. */
import { parseClientKey } from "../../shared/client-key.ts";
import { routeClasses } from "../../shared/route.ts";
import type { ClientState } from "../../shared/contract.ts";
import type { Exchange } from "../exchange.ts";
import { blockClient, clientKeyForms, inspectClient, resetClient } from "../limiter.ts";
import type { ClientReply } from "../limiter.ts";
import { askLedger, patiently, record } from "./asking.ts";
import { described, object, oneOf, optional, text, whole } from "./field.ts";
import { invalidInput } from "./input.ts";
import { atMost, cursor, pageLength } from "./paging.ts";
import { define, failed, nothing, told } from "./route.ts";
import type { OperatorRoute, Told } from "./route.ts";

/** A month; whoever must stay out longer belongs into RATE_LIMIT.deny. */
const longestBlockS = 30 * 86_400;

const clientKey = described(text(/^\S{1,300}$/u, clientKeyForms), `A client: ${clientKeyForms}.`);
const parameters = { key: clientKey };
const reason = text(/^[^\p{Cc}]{1,200}$/u, "1 to 200 characters on one line");

function invalidKey(field: string): Told {
  return failed(invalidInput([{ field, allowed: clientKeyForms, received: "something else" }]));
}

function nothingKnown(client: string): string {
  return `Nothing is remembered of ${client}: neither a block nor requests in its window.`;
}

function limiterAsked<Value>({ edge }: Exchange, call: () => Promise<Value>): Promise<Value> {
  return patiently(edge, "operations_unavailable", "The client's limiter", call);
}

function clientTold(exchange: Exchange, reply: ClientReply, routeClass: (typeof routeClasses)[number] | null): Told {
  if (reply.kind === "invalid_key") return invalidKey("key");
  const { rules } = exchange.edge.clients;
  const { limit } = rules.limitFor(reply.clientKey, routeClass);
  const { count, remaining, block }: ClientState = reply.state;
  const { requests, window, blockDuration } = limit;
  const shown = { client: reply.clientKey, mode: rules.mode, count, remaining, block };
  return told({ ...shown, limit: { requests, window, blockDuration } });
}

/** What an act is about to change, for the ledger. */
async function standing(exchange: Exchange, key: string): Promise<unknown> {
  const { env, clients } = exchange.edge;
  const reply = await limiterAsked(exchange, () => inspectClient(env.RATE_LIMITER, clients.rules, key, null));
  return reply.kind === "client" ? { block: shownBlock(reply.state) } : null;
}

function shownBlock({ block }: ClientState): unknown {
  return block === null ? null : { untilMs: block.untilMs, reason: block.reason, byHand: block.byHand };
}

export const clientRoutes: readonly OperatorRoute[] = [
  define({
    method: "GET",
    path: "/api/blocks",
    role: "viewer",
    name: "listBlocks",
    summary: "Blocks in force, the newest first.",
    parameters: nothing,
    query: { cursor, limit: atMost },
    body: null,
    status: 200,
    answer: "Blocks",
    failures: ["operations_unavailable"],
    run: async ({ exchange, query: { cursor, limit } }) =>
      told(await askLedger(exchange, (ledger) => ledger.blocks(cursor ?? null, limit ?? pageLength))),
  }),
  define({
    method: "POST",
    path: "/api/blocks",
    role: "operator",
    name: "blockClient",
    summary: "Blocks a client for so many seconds, in place of an earlier block by hand.",
    parameters: nothing,
    query: nothing,
    body: object({
      client: clientKey,
      seconds: whole(1, longestBlockS),
      reason: optional(described(reason, "For whoever reads the list of blocks.")),
    }),
    status: 201,
    answer: "Client",
    failures: ["operations_unavailable"],
    async run({ exchange, by, body }) {
      const { client, seconds, reason: why = "blocked by an operator" } = body;
      const { RATE_LIMITER } = exchange.edge.env;
      if (parseClientKey(client) === null) return invalidKey("client");
      const before = await standing(exchange, client);
      const reply = await limiterAsked(exchange, () => blockClient(RATE_LIMITER, client, seconds, why));
      if (reply.kind === "client") {
        const detail = { before, after: { block: shownBlock(reply.state) } };
        await record({ exchange, by }, { kind: "client_blocked", subject: reply.clientKey, detail });
      }
      return clientTold(exchange, reply, null);
    },
  }),
  define({
    method: "DELETE",
    path: "/api/blocks/:key+",
    role: "operator",
    name: "liftBlock",
    summary: "Forgets a client's block and counts, here at once and everywhere within a second.",
    parameters,
    query: nothing,
    body: null,
    status: 200,
    answer: "Lifted",
    failures: ["not_found", "operations_unavailable"],
    async run({ exchange, by, path: { key } }) {
      const { env, admitContext } = exchange.edge;
      const before = await standing(exchange, key);
      const reply = await limiterAsked(exchange, () => resetClient(env.RATE_LIMITER, admitContext.memory, key));
      if (reply.kind === "invalid_key") return invalidKey("key");
      const { clientKey: client } = reply;
      if (reply.kind === "nothing_to_reset") return failed({ code: "not_found", message: nothingKnown(client) });
      const detail = { before, after: { block: null } };
      await record({ exchange, by }, { kind: "client_unblocked", subject: client, detail });
      return told({ client, lifted: true });
    },
  }),
  define({
    method: "GET",
    path: "/api/clients/:key+",
    role: "viewer",
    name: "inspectClient",
    summary: "A client's count, limit and block.",
    parameters,
    query: { class: optional(described(oneOf(routeClasses), "Of a class that has a limit of its own.")) },
    body: null,
    status: 200,
    answer: "Client",
    failures: ["operations_unavailable"],
    async run({ exchange, path: { key }, query }) {
      const routeClass = query.class ?? null;
      const { env, clients } = exchange.edge;
      const reply = await limiterAsked(exchange, () => inspectClient(env.RATE_LIMITER, clients.rules, key, routeClass));
      return clientTold(exchange, reply, routeClass);
    },
  }),
];
