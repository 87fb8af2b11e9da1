/** What a request's JSON body decides: which model it wants, and whether the answer is a stream. */
import type { RouteClass } from "../route.ts";
import { asObject, asText } from "./json.ts";

/** Real ids have some twenty characters; a longer one is no model anybody serves. */
const maxModelLength = 200;

export interface RequestFacts {
  readonly model: string | null;
  readonly stream: boolean;
}

const nothing: RequestFacts = { model: null, stream: false };

/** Reads a parsed body of any shape; what isn't there or isn't of its type is absent, never an error: the server judges that. */
export function readRequest(json: unknown): RequestFacts {
  const body = asObject(json);
  if (body === null) return nothing;
  return { model: asText(body["model"], maxModelLength), stream: isTruthy(body["stream"]) };
}

/** A chat request that asks for a stream is of class `stream`; every other request keeps its route's class. */
export function classOf(routeId: string, routeClass: RouteClass, facts: RequestFacts): RouteClass {
  return routeClass === "generate" && facts.stream && routeId === "POST /v1/chat/completions" ? "stream" : routeClass;
}

/** A request that was too large to look at shows by its answer what it was. */
export function classOfAnswer(routeClass: RouteClass, isEventStream: boolean): RouteClass {
  return routeClass === "generate" && isEventStream ? "stream" : routeClass;
}

/** The servers test `stream` for truth, so `1` and `"true"` ask for a stream as well. */
function isTruthy(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== 0 && value !== "";
}
