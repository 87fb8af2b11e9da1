/** Requests to the operators' API, generated from its document and beside it. */
import * as fc from "fast-check";
import type { Schema } from "./json-schema.ts";

export interface Operation {
  readonly method: string;
  /** `/api/backends/{name}` */
  readonly path: string;
  readonly role: "viewer" | "operator";
  readonly parameters: readonly {
    readonly name: string;
    readonly in: "path" | "query";
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  /** null: it takes none. */
  readonly body: Schema | null;
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: Schema }>>;
}

export function operationsOf(document: Schema): readonly Operation[] {
  const paths = document["paths"] as Record<string, Record<string, Record<string, unknown>>>;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const content = (operation["requestBody"] as { content: Record<string, { schema: Schema }> } | undefined)
        ?.content;
      return {
        method: method.toUpperCase(),
        path,
        role: operation["x-role"] as Operation["role"],
        parameters: operation["parameters"] as Operation["parameters"],
        body: content?.["application/json"]?.schema ?? null,
        responses: operation["responses"] as Operation["responses"],
      };
    }),
  );
}

export interface GeneratedRequest {
  readonly path: Readonly<Record<string, string>>;
  readonly query: readonly (readonly [string, string])[];
  /** Text as it is sent; null: none is. */
  readonly body: string | null;
}

/** Words that mean something somewhere in these routes, and words that are trouble anywhere. */
const words = [
  "a", "b", "nobody", "127.0.0.1:9109", "203.0.113.9", "2001:db8::1", "2001:db8::/64", "token:none", "key:bob", "worker:example.com",
  "operator:203.0.113.9", "http://127.0.0.1:9110", "https://jimeng.example.com/base", "https://u:p@example.com", "http://[::1]:1/x?y",
  "/v1/models", "/api/v1/models", "/test/%2e%2e/x", "POST /v1/images/*", "RATE_LIMIT.requests", "CACHE", "RUNTIME", "ALERTS.webhooks",
  "CORS.credentials", "backend_state", "mapped", "generate", "query", "asia", "华东", "jimeng-4.5", "502", "5xx", "0", "1", "17", "1795481569075",
  "2026-11-23T08:14:05Z", "2026-13-45", "now", "99999999999999999", "-1", "1.5", "true", "null", "", " ", "..", "%", "%zz", "\u0000", "\ud800", "💥",
  "__proto__", "constructor", "' OR 1=1 --", "\"}", "a".repeat(400), "/".repeat(50), "x\ny",
]; // prettier-ignore

/** Keys of clients, which a pattern alone hardly tells from other words. */
export const clientKeys = ["203.0.113.9", "2001:db8::1", "token:none", "key:bob", "operator:203.0.113.9"];

const word = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...words) },
  { weight: 1, arbitrary: fc.string({ maxLength: 40 }) },
);

const urls = fc.integer({ min: 9110, max: 9400 }).map((port) => `http://127.0.0.1:${port}`);

/** Mostly one that the pattern takes. */
function wordsLike(schema: Schema): fc.Arbitrary<string> {
  const pattern = schema["pattern"];
  if (typeof pattern !== "string") return word;
  const description = String(schema["description"]);
  if (pattern.startsWith("^https?")) return mostly(urls, word);
  if (description.startsWith("As in GET /api/backends"))
    return mostly(fc.constantFrom("a", "b", "c", "nobody", "__proto__", "constructor"), word);
  const right = description.startsWith("A client:")
    ? clientKeys
    : words.filter((candidate) => new RegExp(pattern, "u").test(candidate));
  return right.length === 0 ? word : mostly(fc.constantFrom(...right), word);
}

function mostly<Right, Wrong>(right: fc.Arbitrary<Right>, wrong: fc.Arbitrary<Wrong>): fc.Arbitrary<Right | Wrong> {
  return fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: wrong });
}

function from(schema: Schema): fc.Arbitrary<unknown> {
  if (Array.isArray(schema["anyOf"])) return fc.oneof(...(schema["anyOf"] as Schema[]).map(from));
  if (Array.isArray(schema["enum"])) return fc.constantFrom(...(schema["enum"] as unknown[]));
  if (Object.hasOwn(schema, "const")) return fc.constant(schema["const"]);
  switch (schema["type"]) {
    case "integer":
      return numbers(schema);
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(from(schema["items"] as Schema), { minLength: schema["minItems"] as number, maxLength: 4 });
    case "object":
      return objects(schema);
    default:
      return wordsLike(schema);
  }
}

/** Mostly within the bounds, often at them. */
function numbers(schema: Schema): fc.Arbitrary<number> {
  const min = (schema["minimum"] as number | undefined) ?? 0;
  const max = (schema["maximum"] as number | undefined) ?? 1000;
  return fc.oneof(fc.integer({ min, max: Math.min(max, min + 100) }), fc.constantFrom(min, max));
}

const settings = fc.dictionary(
  fc.constantFrom(
    "RATE_LIMIT.requests",
    "RATE_LIMIT",
    "CACHE.ttl.models",
    "CORS.origins",
    "RATE_LIMIT.mode",
    "RUNTIME",
    "ALERTS",
    "no.such",
    "__proto__",
    "constructor.name",
  ),
  fc.oneof(
    fc.integer({ min: -5, max: 500 }),
    fc.constantFrom("report", ["*"], null, { requests: 9 }, { webhooks: [] }),
    fc.jsonValue(),
  ),
  { maxKeys: 3 },
);

function objects(schema: Schema): fc.Arbitrary<unknown> {
  const properties = schema["properties"] as Record<string, Schema> | undefined;
  if (properties === undefined) return settings;
  const required = (schema["required"] as string[] | undefined) ?? [];
  const values = Object.fromEntries(
    Object.entries(properties).map(([name, inner]) => [name, mostly(from(inner), fc.jsonValue({ maxDepth: 2 }))]),
  );
  const right = fc.record(values, { requiredKeys: required });
  const wrong = fc.record({ ...values, surplus: fc.jsonValue() }, { requiredKeys: [] });
  return fc.oneof({ weight: 4, arbitrary: right }, { weight: 1, arbitrary: wrong });
}

function texts(schema: Schema): fc.Arbitrary<string> {
  return mostly(from(schema).map(String), word);
}

export function requestsTo(operation: Operation): fc.Arbitrary<GeneratedRequest> {
  const inPath = operation.parameters.filter((parameter) => parameter.in === "path");
  const inQuery = operation.parameters.filter((parameter) => parameter.in === "query");
  const path = fc.record(Object.fromEntries(inPath.map(({ name, schema }) => [name, texts(schema)])));
  const named = inQuery.map(({ name, schema }) => fc.option(texts(schema).map((value) => [name, value] as const)));
  const surplus = mostly(fc.constant(null), fc.tuple(word, word));
  const query = fc.tuple(...named, surplus).map((pairs) => pairs.filter((pair) => pair !== null));
  const { body } = operation;
  const json = body === null ? fc.constant(null) : from(body).map((value) => JSON.stringify(value));
  const text = fc.oneof(
    { weight: 9, arbitrary: json },
    {
      weight: 1,
      arbitrary: fc.oneof(
        word,
        fc.jsonValue().map((value) => JSON.stringify(value)),
      ),
    },
  );
  return fc.record({ path, query, body: body === null ? fc.constant(null) : text });
}

/** A segment that is empty or a dot names another path, so it stands for a word. */
export function targetOf(operation: Operation, request: GeneratedRequest): string {
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const segment = encodeURIComponent((request.path[name] ?? "").toWellFormed());
    return /^(?:|\.|\.\.)$/.test(segment) ? "x" : segment;
  });
  const query = request.query.map(
    ([name, value]) => `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(value.toWellFormed())}`,
  );
  return query.length === 0 ? path : `${path}?${query.join("&")}`;
}
