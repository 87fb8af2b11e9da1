/**
 * What may be given: each field is its check and its description at once, so that `/openapi.json` can't say anything else
 * than what is enforced. https://spec.openapis.org/oas/v3.1.0#schema-object
 */
import * as v from "valibot";
import {
  group,
  list as listOf,
  oneOf as oneOfNames,
  text as matching,
  whole as wholeNumber,
} from "../../shared/config/schema.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Field<Value> {
  readonly schema: v.GenericSchema<unknown, Value>;
  readonly json: JsonSchema;
  readonly optional: boolean;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
export type ValuesOf<Given extends Fields> = {
  readonly [Name in keyof Given]: Given[Name] extends Field<infer Value> ? Value : never;
};

function field<Value>(schema: v.GenericSchema<unknown, Value>, json: JsonSchema): Field<Value> {
  return { schema, json, optional: false };
}

/** Undefined where it is left out. */
export function optional<Value>(given: Field<Value>): Field<Value | undefined> {
  return { schema: v.optional(given.schema), json: given.json, optional: true };
}

export function described<Value>(given: Field<Value>, description: string): Field<Value> {
  return { ...given, json: { ...given.json, description } };
}

// ── In a body ────────────────────────────────────────────────────────────────────────────────────

export function whole(minimum: number, maximum: number): Field<number> {
  return field(wholeNumber(minimum, maximum), { type: "integer", minimum, maximum });
}

/** For what is asked for by its name alone. */
export function yes(): Field<true> {
  return field(v.literal(true, "true"), { const: true });
}

/** `pattern` is anchored at both ends and means the same to valibot and to a reader of the description. */
export function text(pattern: RegExp, allowed: string): Field<string> {
  return field(matching(pattern, allowed), { type: "string", pattern: pattern.source });
}

/** A path without a query. */
export function pathText(allowed: string): Field<string> {
  return text(/^\/(?!\/)[^\s?#\\]{0,1023}$/u, allowed);
}

export function nullable<Value>(given: Field<Value>): Field<Value | null> {
  return field(v.nullable(given.schema), { anyOf: [given.json, { type: "null" }] });
}

export function list<Value>(item: Field<Value>, allowed: string, limits: { min: number; max: number }): Field<Value[]> {
  const json = { type: "array", items: item.json, minItems: limits.min, maxItems: limits.max };
  return field(listOf(item.schema, allowed, limits), json);
}

/** An object whose keys the caller chooses; its values are checked elsewhere. */
export function mapping(allowed: string, minimum: number): Field<Record<string, unknown>> {
  const isMapping = (value: unknown): boolean =>
    typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length >= minimum;
  return field(v.custom<Record<string, unknown>>(isMapping, allowed), { type: "object", minProperties: minimum });
}

/** Unknown members are faults. */
export function object<const Given extends Fields>(fields: Given): Field<ValuesOf<Given>> {
  const entries = Object.fromEntries(Object.entries(fields).map(([name, { schema }]) => [name, schema]));
  const required = Object.keys(fields).filter((name) => fields[name]?.optional === false);
  const json = {
    type: "object",
    properties: Object.fromEntries(Object.entries(fields).map(([name, { json: inner }]) => [name, inner])),
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
  };
  return field(group(entries as v.ObjectEntries) as unknown as v.GenericSchema<unknown, ValuesOf<Given>>, json);
}

/** An object with at least one of its members. */
export function someOf<const Given extends Fields>(fields: Given): Field<ValuesOf<Given>> {
  const whatever = object(fields);
  const names = Object.keys(fields);
  const given = (value: unknown): boolean => names.some((name) => Object.hasOwn(value as object, name));
  const schema = v.pipe(
    whatever.schema,
    v.check<ValuesOf<Given>, string>(given, `at least one of ${names.join(", ")}`),
  );
  return field(schema, { ...whatever.json, minProperties: 1 });
}

// ── In a path or a query, where everything is text ───────────────────────────────────────────────

export function oneOf<const Names extends readonly string[]>(names: Names): Field<Names[number]> {
  return field(oneOfNames(names) as v.GenericSchema<unknown, Names[number]>, { type: "string", enum: names });
}

export function wholeText(minimum: number, maximum: number): Field<number> {
  const allowed = `a whole number from ${minimum} to ${maximum}`;
  const digits = v.pipe(v.string(allowed), v.regex(/^\d{1,16}$/u, allowed), v.transform(Number));
  const bounded = v.pipe(digits, v.minValue(minimum, allowed), v.maxValue(maximum, allowed));
  return field(bounded, { type: "integer", minimum, maximum });
}

/** The latest time that a `Date` can be: https://tc39.es/ecma262/#sec-time-values-and-time-range */
const latestMs = 8_640_000_000_000_000;
const dateTime = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/u;

/** Epoch milliseconds, or a date or date-time of RFC 3339 (UTC where it says nothing else). */
export function timeText(): Field<number> {
  const allowed = "epoch milliseconds, or a date-time such as 2026-11-23T08:14:05Z";
  const schema = v.pipe(
    v.string(allowed),
    v.transform((given) =>
      /^\d{1,16}$/u.test(given) ? Number(given) : dateTime.test(given) ? Date.parse(given) : Number.NaN,
    ),
    v.check((ms) => Number.isFinite(ms) && ms <= latestMs, allowed),
  );
  const json = {
    anyOf: [
      { type: "integer", minimum: 0, maximum: latestMs },
      { type: "string", format: "date-time" },
    ],
  };
  return field(schema, json);
}
