/** What is measured: the preferred servers, the metrics, what happened, and single requests. */
import { expose, contentType } from "../../shared/metrics/exposition.ts";
import { fleetFamilies } from "../../shared/metrics/fleet-metrics.ts";
import { readLogs } from "../log/reading.ts";
import { askLedger, askRegistry, patiently } from "./asking.ts";
import { described, optional, text, timeText } from "./field.ts";
import { invalidInput } from "./input.ts";
import { aDayAgo, atMost, cursor, pageLength, since } from "./paging.ts";
import { define, failed, nothing, told } from "./route.ts";
import type { OperatorRoute } from "./route.ts";

const word = (allowed: string) => text(/^[^\s\p{Cc}]{1,300}$/u, allowed);

export const overviewRoutes: readonly OperatorRoute[] = [
  define({
    method: "GET",
    path: "/api/ip-preference",
    role: "viewer",
    name: "readPreference",
    summary:
      "The servers by health, then by measured latency, compared in the class of requests that most of them have answered. The figures beside the name are the last hour's, of all classes together.",
    parameters: nothing,
    query: {
      region: optional(
        described(
          text(/^[A-Za-z0-9_-]{1,64}$/u, "a region of the edge, as HKG"),
          "Ranks by what this region measured.",
        ),
      ),
    },
    body: null,
    status: 200,
    answer: "Preference",
    failures: ["registry_unavailable"],
    async run({ exchange, query }) {
      const reply = await askRegistry(exchange, (registry) => registry.preference(query.region ?? null));
      const servers = reply.servers.map((server) => {
        const lastCheck = server.lastCheckMs === null ? null : new Date(server.lastCheckMs).toISOString();
        return { ...server, ...server.lastHour, lastCheck };
      });
      return told({ ...reply, servers });
    },
  }),
  define({
    method: "GET",
    path: "/metrics",
    role: "viewer",
    name: "readMetrics",
    summary: "Prometheus text. Counters begin anew when the registry does.",
    parameters: nothing,
    query: nothing,
    body: null,
    status: 200,
    answer: "text/plain",
    failures: ["registry_unavailable"],
    async run({ exchange }) {
      const metrics = await askRegistry(exchange, (registry) => registry.metrics());
      const families = metrics === null ? [] : fleetFamilies(metrics);
      return { kind: "text", text: expose(families), contentType };
    },
  }),
  define({
    method: "GET",
    path: "/api/events",
    role: "viewer",
    name: "listEvents",
    summary: "What happened: health, blocks, operators' changes; the latest first.",
    parameters: nothing,
    query: {
      since,
      kind: optional(described(text(/^[a-z_]{1,64}$/u, "an event's kind, as backend_state"), "As backend_state.")),
      limit: atMost,
    },
    body: null,
    status: 200,
    answer: "Events",
    failures: ["operations_unavailable"],
    async run({ exchange, query }) {
      const { kind = null, limit = pageLength } = query;
      const asked = { sinceMs: query.since ?? aDayAgo(), kind, limit };
      return told({ events: await askLedger(exchange, (ledger) => ledger.events(asked)) });
    },
  }),
  define({
    method: "GET",
    path: "/api/logs",
    role: "viewer",
    name: "listLogs",
    summary: "Single requests from D1, the latest first.",
    parameters: nothing,
    query: {
      since,
      until: optional(described(timeText(), "Before this time.")),
      status: optional(
        described(
          text(/^[1-5](?:\d\d|xx)$/u, "a status, as 502 or 5xx"),
          "One status, or a hundred of them: 502, 5xx.",
        ),
      ),
      backend: optional(word("a backend's name")),
      client: optional(described(word("an address or a client key"), "Address or client key.")),
      path: optional(described(text(/^\/[^\s]{0,300}$/u, "the beginning of a path"), "What the path begins with.")),
      limit: atMost,
      cursor,
    },
    body: null,
    status: 200,
    answer: "Logs",
    failures: ["feature_off", "operations_unavailable"],
    async run({ exchange, query }) {
      const { edge } = exchange;
      const database = edge.env.DB;
      if (database === undefined) {
        const message =
          "Request logs are kept in D1, and there is no binding DB. Add [[d1_databases]] to wrangler.toml and deploy.";
        return failed({ code: "feature_off", message });
      }
      const { until = null, limit = pageLength } = query;
      const filter = { ...query, sinceMs: query.since ?? aDayAgo(), untilMs: until, limit };
      const page = await patiently(edge, "operations_unavailable", "The database of request logs", () =>
        readLogs(database, filter).catch(withoutTable),
      );
      if (page === "no_table")
        return failed({
          code: "feature_off",
          message: "The table request_logs is missing. Make it: npx wrangler d1 migrations apply DB --remote",
        });
      if (page === null)
        return failed(
          invalidInput([{ field: "cursor", allowed: "a cursor of an earlier answer", received: "another text" }]),
        );
      return told(page);
    },
  }),
];

function withoutTable(error: unknown): "no_table" {
  if (error instanceof Error && error.message.includes("no such table")) return "no_table";
  throw error;
}
