/** One operators' route: who may ask, what may be given, what is answered, and what it does. */
import type { OperatorIdentity } from "../../shared/contract.ts";
import type { OperatorRole } from "../../shared/operator-access.ts";
import type { Exchange } from "../exchange.ts";
import type { Failure, FailureCode } from "../failure.ts";
import type { AnswerName } from "./answer.ts";
import type { Field, Fields, ValuesOf } from "./field.ts";

export interface Asked<Path, Query, Body> {
  readonly exchange: Exchange;
  readonly by: OperatorIdentity;
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
}

export type Told =
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "text"; readonly text: string; readonly contentType: string }
  | { readonly kind: "failure"; readonly failure: Failure };

export interface RouteDefinition<Path extends Fields, Query extends Fields, Body> {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** As itty-router writes it: `/api/backends/:name`; `:key+` goes on to the path's end, slashes and all. */
  readonly path: string;
  readonly role: OperatorRole;
  readonly name: string;
  readonly summary: string;
  readonly parameters: Path;
  readonly query: Query;
  readonly body: Field<Body> | null;
  /** Why a member that one might expect in the body is not taken. */
  readonly hints?: Readonly<Record<string, string>>;
  readonly status: 200 | 201;
  /** A schema's name, or a content type of text. */
  readonly answer: AnswerName | "text/plain";
  /** Beside those of every route. */
  readonly failures: readonly FailureCode[];
  readonly run: (asked: Asked<ValuesOf<Path>, ValuesOf<Query>, Body>) => Promise<Told>;
}

/** As OpenAPI writes it: `/api/backends/{name}`. */
export function documentedPath({ path }: Pick<OperatorRoute, "path">): string {
  return path.replaceAll(/:(\w+)\+?/g, "{$1}");
}

export type OperatorRoute = RouteDefinition<Fields, Fields, unknown>;

/** Checks the parts of a definition against each other and forgets their types. */
export function define<const Path extends Fields, const Query extends Fields, Body>(
  definition: RouteDefinition<Path, Query, Body>,
): OperatorRoute {
  return definition as unknown as OperatorRoute;
}

export const nothing = {} as const;

export function told(value: unknown): Told {
  return { kind: "json", value };
}

export function failed(failure: Failure): Told {
  return { kind: "failure", failure };
}

/** What any of them may answer instead: nothing works under a broken configuration; the refusals of authentication, and of input. */
export const commonFailures = [
  "configuration_invalid",
  "invalid_input",
  "operator_unauthorized",
  "operators_api_disabled",
  "operator_forbidden",
  "operator_rate_limited",
] as const satisfies readonly FailureCode[];

export const bodyFailures = ["body_too_large", "body_unreadable"] as const satisfies readonly FailureCode[];

export function failuresOf(route: OperatorRoute): readonly FailureCode[] {
  return [...commonFailures, ...(route.body === null ? [] : bodyFailures), ...route.failures];
}
