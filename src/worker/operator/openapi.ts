/** The operators' API described: https://spec.openapis.org/oas/v3.1.0 */
import { failures } from "../failure.ts";
import { answerSchemas } from "./answer.ts";
import type { Fields } from "./field.ts";
import type { JsonSchema } from "./field.ts";
import { documentedPath, failuresOf } from "./route.ts";
import type { OperatorRoute } from "./route.ts";

const description =
  "See, steer and be told, without a deployment. Every change works across the edge within 3 s, drops no request in flight, and is written to the ledger. Reading takes the role viewer, changing the role operator.";

export function documentOf(routes: readonly OperatorRoute[]): JsonSchema {
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const route of routes) {
    const path = documentedPath(route);
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: "3.1.0",
    info: { title: "jimeng-edge: operators' API", version: "1", description },
    security: [{ token: [] }, { access: [] }],
    paths,
    components: {
      schemas: answerSchemas,
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "ADMIN_TOKEN, or one of ADMIN_TOKENS." },
        access: {
          type: "apiKey",
          in: "header",
          name: "Cf-Access-Jwt-Assertion",
          description: "Set by Cloudflare Access.",
        },
      },
    },
  };
}

function operation(route: OperatorRoute): JsonSchema {
  return {
    operationId: route.name,
    summary: route.summary,
    "x-role": route.role,
    parameters: [...parameters(route.parameters, "path"), ...parameters(route.query, "query")],
    ...(route.body === null
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: route.body.json } } } }),
    responses: { [route.status]: success(route), ...failing(route) },
  };
}

function parameters(fields: Fields, place: "path" | "query"): readonly JsonSchema[] {
  return Object.entries(fields).map(([name, { json, optional }]) => {
    const required = place === "path" || !optional;
    // Where it stands it describes the parameter, and a schema may carry it as well.
    return { name, in: place, required, description: json["description"] ?? name, schema: json };
  });
}

function success(route: OperatorRoute): JsonSchema {
  const content =
    route.answer === "text/plain"
      ? { "text/plain": { schema: { type: "string" } } }
      : { "application/json": { schema: { $ref: `#/components/schemas/${route.answer}` } } };
  return { description: route.summary, content };
}

/** One answer a status, with the codes that it may carry. */
function failing(route: OperatorRoute): Record<string, JsonSchema> {
  const codes = new Map<number, string[]>();
  for (const code of failuresOf(route)) {
    const { status } = failures[code];
    codes.set(status, [...(codes.get(status) ?? []), code]);
  }
  const schema = { $ref: "#/components/schemas/Failure" };
  return Object.fromEntries(
    [...codes].map(([status, names]) => [
      String(status),
      { description: names.join(", "), content: { "application/json": { schema } } },
    ]),
  );
}
