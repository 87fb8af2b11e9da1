/** As much of JSON Schema 2020-12 as the operators' document uses; a keyword that it doesn't know is an error. */

export type Schema = Readonly<Record<string, unknown>>;

type Check = (rule: unknown, value: unknown, schema: Schema, at: string, root: Schema) => string[];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const types: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isRecord,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

const problem = (at: string, text: string): string[] => [`${at === "" ? "value" : at}: ${text}`];

function resolved(schema: Schema, root: Schema): Schema {
  const ref = schema["$ref"];
  if (typeof ref !== "string") return schema;
  let place: unknown = root;
  for (const key of ref.replace(/^#\//, "").split("/")) place = (place as Record<string, unknown>)[key];
  if (!isRecord(place)) throw new Error(`${ref} leads nowhere`);
  return place;
}

const keywords: Readonly<Record<string, Check>> = {
  $ref: () => [],
  description: () => [],
  type: (rule, value, _, at) => (types[rule as string]?.(value) === true ? [] : problem(at, `is no ${String(rule)}`)),
  const: (rule, value, _, at) => (value === rule ? [] : problem(at, `is not ${JSON.stringify(rule)}`)),
  enum: (rule, value, _, at) =>
    (rule as unknown[]).includes(value)
      ? []
      : problem(at, `${JSON.stringify(value)} is none of ${JSON.stringify(rule)}`),
  minimum: (rule, value, _, at) =>
    typeof value === "number" && value < (rule as number) ? problem(at, "is too small") : [],
  maximum: (rule, value, _, at) =>
    typeof value === "number" && value > (rule as number) ? problem(at, "is too large") : [],
  pattern: (rule, value, _, at) =>
    typeof value === "string" && !new RegExp(rule as string, "u").test(value) ? problem(at, "does not match") : [],
  format: (rule, value, _, at) =>
    rule === "date-time" && typeof value === "string" && Number.isNaN(Date.parse(value))
      ? problem(at, "is no time")
      : [],
  minProperties: (rule, value, _, at) =>
    isRecord(value) && Object.keys(value).length < (rule as number) ? problem(at, "has too few members") : [],
  minItems: (rule, value, _, at) =>
    Array.isArray(value) && value.length < (rule as number) ? problem(at, "has too few items") : [],
  maxItems: (rule, value, _, at) =>
    Array.isArray(value) && value.length > (rule as number) ? problem(at, "has too many items") : [],
  required: (rule, value, _, at) =>
    isRecord(value)
      ? (rule as string[]).filter((name) => !Object.hasOwn(value, name)).flatMap((name) => problem(at, `lacks ${name}`))
      : [],
  properties: (rule, value, _, at, root) =>
    isRecord(value)
      ? Object.entries(rule as Record<string, Schema>).flatMap(([name, inner]) =>
          Object.hasOwn(value, name) ? violations(inner, value[name], root, `${at}.${name}`) : [],
        )
      : [],
  additionalProperties: (rule, value, schema, at, root) => {
    if (!isRecord(value)) return [];
    const known = Object.keys((schema["properties"] as object | undefined) ?? {});
    const others = Object.entries(value).filter(([name]) => !known.includes(name));
    if (rule === false) return others.flatMap(([name]) => problem(at, `has an unknown member ${name}`));
    return others.flatMap(([name, inner]) => violations(rule as Schema, inner, root, `${at}.${name}`));
  },
  items: (rule, value, _, at, root) =>
    Array.isArray(value)
      ? value.flatMap((item, index) => violations(rule as Schema, item, root, `${at}[${index}]`))
      : [],
  anyOf: (rule, value, _, at, root) => {
    const each = (rule as Schema[]).map((inner) => violations(inner, value, root, at));
    return each.some((found) => found.length === 0) ? [] : each.flat();
  },
};

/** What is wrong with `value`; empty when nothing is. References are resolved in `root`. */
export function violations(schema: Schema, value: unknown, root: Schema, at = ""): string[] {
  const target = resolved(schema, root);
  return Object.entries(target).flatMap(([keyword, rule]) => {
    const check = keywords[keyword];
    if (check === undefined) throw new Error(`the keyword ${keyword} is not known to this test`);
    return check(rule, value, target, at, root);
  });
}
