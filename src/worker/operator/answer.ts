/** What the operators' routes answer, described once: `/openapi.json` shows it, and a test holds real answers to it. */
import { failures } from "../failure.ts";
import { healthStates, operatorStates } from "../../shared/contract.ts";
import type { JsonSchema } from "./field.ts";

const string: JsonSchema = { type: "string" };
const boolean: JsonSchema = { type: "boolean" };
const number: JsonSchema = { type: "number" };
const count: JsonSchema = { type: "integer", minimum: 0 };
const anything: JsonSchema = {};
const strings = arrayOf(string);
const time: JsonSchema = { type: "integer", minimum: 0, description: "Epoch milliseconds." };

function orNull(schema: JsonSchema): JsonSchema {
  return { anyOf: [schema, { type: "null" }] };
}

function arrayOf(items: JsonSchema): JsonSchema {
  return { type: "array", items };
}

function mapOf(values: JsonSchema): JsonSchema {
  return { type: "object", additionalProperties: values };
}

/** Every member is there, and no other. */
function exactly(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}

function ref(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

const summary = {
  requests: count,
  successRate: orNull({ type: "number", minimum: 0, maximum: 1 }),
  avgMs: orNull(number),
  p50Ms: orNull(number),
  p95Ms: orNull(number),
  p99Ms: orNull(number),
};

const backend = {
  name: string,
  url: string,
  priority: count,
  region: string,
  weight: count,
  weightShare: { type: "number", minimum: 0, maximum: 1, description: "Share of the weight that slow start grants." },
  maxInFlight: orNull(count),
  dialect: orNull(string),
  healthPath: orNull(string),
  routes: orNull(strings),
  models: orNull(strings),
  headerNames: strings,
  origin: { type: "string", enum: ["configured", "added"] },
  overridden: mapOf(exactly({ value: anything, configured: anything })),
  operatorState: { type: "string", enum: operatorStates },
  state: { type: "string", enum: healthStates },
  healthy: boolean,
  consecutiveFailures: count,
  lastCheckMs: orNull(time),
  lastSignOfLifeMs: orNull(time),
  inFlight: { ...count, description: "Requests that are on it, of the whole edge. A drain is over at 0." },
  leases: exactly({ active: count, orphaned: count }),
};

const block = exactly({
  clientKey: string,
  sinceMs: time,
  untilMs: time,
  reason: string,
  refused: count,
  byHand: boolean,
});

const limit = exactly({ requests: count, window: number, blockDuration: number });

const overrides = exactly({
  version: count,
  values: mapOf(anything),
  configured: { ...mapOf(anything), description: "The configured value beneath each; null where the place is empty." },
});

export const logColumns = {
  id: string,
  timestamp: { type: "string", format: "date-time" },
  method: string,
  url: string,
  route: orNull(string),
  status: count,
  latency: number,
  client_ip: orNull(string),
  client_key: orNull(string),
  api_key: orNull(string),
  limit_reported: boolean,
  backend: orNull(string),
  attempts: count,
  user_agent: orNull(string),
  cache: orNull(string),
  outcome: string,
  reason: orNull(string),
  region: string,
} as const satisfies Record<string, JsonSchema>;

export const answerSchemas = {
  Failure: exactly({
    error: {
      type: "object",
      properties: {
        message: string,
        type: string,
        code: { type: "string", enum: Object.keys(failures) },
        param: { type: "null" },
        details: arrayOf(exactly({ field: string, allowed: string, received: string })),
      },
      required: ["message", "type", "code", "param"],
      additionalProperties: false,
    },
    code: { type: "integer" },
    message: string,
    data: { type: "null" },
  }),
  Preference: exactly({
    region: orNull(string),
    regions: strings,
    servers: arrayOf(
      exactly({
        name: string,
        url: string,
        region: string,
        priority: count,
        weight: count,
        healthy: boolean,
        state: { type: "string", enum: healthStates },
        operatorState: { type: "string", enum: operatorStates },
        inFlight: count,
        maxInFlight: orNull(count),
        consecutiveFailures: count,
        lastCheckMs: orNull(time),
        lastCheck: orNull({ type: "string", format: "date-time" }),
        dialect: orNull(string),
        ...summary,
        lastMinute: exactly(summary),
        lastHour: exactly(summary),
        lastDay: exactly(summary),
      }),
    ),
  }),
  Backend: exactly(backend),
  Backends: exactly({ backends: arrayOf(ref("Backend")) }),
  Changed: exactly({ backend: ref("Backend"), left: { ...count, description: "Requests still on it." } }),
  Removed: exactly({ name: string, left: { ...count, description: "Requests still on it; they run to their ends." } }),
  Probed: exactly({
    probe: exactly({ ok: boolean, reason: string, latencyMs: orNull(number) }),
    backend: ref("Backend"),
  }),
  Blocks: exactly({ blocks: arrayOf(block), cursor: orNull(string) }),
  Client: exactly({
    client: string,
    mode: {
      type: "string",
      enum: ["enforce", "report", "off"],
      description: "RATE_LIMIT.mode: only where it is enforce does a block, also one by hand, keep anybody out.",
    },
    count,
    remaining: count,
    limit,
    block: orNull(block),
  }),
  Lifted: exactly({ client: string, lifted: { const: true } }),
  Events: exactly({
    events: arrayOf(exactly({ kind: string, atMs: time, subject: string, actor: string, detail: mapOf(anything) })),
  }),
  Config: exactly({
    values: {
      ...mapOf(anything),
      description:
        "As in force, secrets as ***. BACKENDS with operators' changes, each with its operatorState and, in overridden, the configured values beneath.",
    },
    origins: mapOf({ type: "string", enum: ["default", "CONFIG", "variable", "override"] }),
    overrides,
    warnings: strings,
  }),
  Overrides: overrides,
  Purged: exactly({ purged: strings, generations: mapOf(count) }),
  Logs: exactly({ logs: arrayOf(exactly(logColumns)), cursor: orNull(string) }),
  Document: { type: "object", properties: { openapi: string }, required: ["openapi"] },
} as const satisfies Record<string, JsonSchema>;

export type AnswerName = Exclude<keyof typeof answerSchemas, "Failure" | "Backend">;
