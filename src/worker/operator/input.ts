/** What an operator gave, checked against the route's fields; all faults at once. */
import * as v from "valibot";
import type { ConfigFault } from "../../shared/config/config.ts";
import { describe } from "../../shared/config/fault.ts";
import { issueFaults } from "../../shared/config/issue.ts";
import type { Exchange } from "../exchange.ts";
import type { Failure } from "../failure.ts";
import { object } from "./field.ts";
import type { Fields } from "./field.ts";
import type { OperatorRoute } from "./route.ts";

/** The longest that any of these bodies has a reason to be. */
export const maxBodyBytes = 65_536;

export type Input =
  | { readonly ok: true; readonly path: unknown; readonly query: unknown; readonly body: unknown }
  | { readonly ok: false; readonly failure: Failure };

export async function readInput(
  route: OperatorRoute,
  exchange: Exchange,
  parameters: Readonly<Record<string, string>>,
): Promise<Input> {
  const path = check(route.parameters, decoded(parameters));
  const query = check(route.query, queryOf(exchange.query));
  const body = route.body === null ? empty : await readBody(route, exchange.request);
  if ("failure" in body) return { ok: false, failure: body.failure };
  const faults = [...path.faults, ...query.faults, ...body.faults];
  if (faults.length > 0) return { ok: false, failure: invalidInput(faults) };
  return { ok: true, path: path.value, query: query.value, body: body.value };
}

interface Checked {
  readonly value: unknown;
  readonly faults: readonly ConfigFault[];
}

const empty: Checked = { value: null, faults: [] };

function check(fields: Fields, given: unknown): Checked {
  const parsed = v.safeParse(object(fields).schema, given);
  return parsed.success
    ? { value: parsed.output, faults: [] }
    : { value: null, faults: issueFaults(parsed.issues, []) };
}

/** A segment that is no valid percent-encoding stands for itself and fails its field's check, since it holds a `%`. */
function decoded(parameters: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).map(([name, segment]) => [name, decodedSegment(segment)]));
}

function decodedSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** An empty value is none; a name that comes twice has no value that can be right. */
function queryOf(query: string): Record<string, unknown> {
  const given: [string, unknown][] = [];
  const parameters = new URLSearchParams(query);
  for (const name of new Set(parameters.keys())) {
    const values = parameters.getAll(name).filter((value) => value !== "");
    if (values.length > 0) given.push([name, values.length === 1 ? values[0] : values]);
  }
  return Object.fromEntries(given);
}

// ── The body ─────────────────────────────────────────────────────────────────────────────────────

async function readBody(route: OperatorRoute, request: Request): Promise<Checked | { readonly failure: Failure }> {
  const read = await readText(request);
  if (typeof read !== "string") return { failure: read };
  const json = parsedJson(read);
  if (json === undefined) return { value: null, faults: [notJson(read)] };
  const parsed = v.safeParse((route.body as NonNullable<OperatorRoute["body"]>).schema, json);
  if (parsed.success) return { value: parsed.output, faults: [] };
  const faults = issueFaults(parsed.issues, []).map(({ field, allowed, received }) => ({
    field: field === "" ? "body" : field,
    allowed: hintOf(route, field) ?? allowed,
    received,
  }));
  return { value: null, faults };
}

function hintOf({ hints = {} }: OperatorRoute, field: string): string | null {
  return Object.hasOwn(hints, field) ? (hints[field] ?? null) : null;
}

async function readText(request: Request): Promise<string | Failure> {
  if (request.body === null) return "";
  const reader = request.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.byteLength;
      if (bytes > maxBodyBytes) {
        await reader.cancel();
        return { code: "body_too_large", message: `The body may have at most ${maxBodyBytes} bytes; more came.` };
      }
      text += decoder.decode(part.value, { stream: true });
    }
    return text + decoder.decode();
  } catch {
    return { code: "body_unreadable", message: "The body broke off." };
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notJson(text: string): ConfigFault {
  const received = text === "" ? "nothing" : `${describe(text.length)} characters that are not JSON`;
  return { field: "body", allowed: "a JSON object", received };
}

export function invalidInput(faults: readonly ConfigFault[]): Failure {
  const told = faults
    .slice(0, 3)
    .map(({ field, allowed, received }) => `${field}: allowed is ${allowed}; received ${received}`);
  const more = faults.length - told.length;
  const message = `The request can't be carried out. ${told.join(". ")}${more > 0 ? `. And ${more} more.` : "."}`;
  return { code: "invalid_input", message, details: faults };
}
