/**
 * `RESPONSE.normalizeErrors`: a flat dialect's error under status 200 becomes what an OpenAI client takes for an error.
 * The backend's own `code`, `message` and `data` stay as they came.
 */
import { accountFault, readErrorBody } from "./answer.ts";

/** The status that the mapped dialect gives each code, so that one error has one status whichever server told it. */
const statuses: Readonly<Record<number, number>> = {
  [-1001]: 400,
  [-2000]: 400,
  [-2002]: 401,
  [-2003]: 400,
  [-2004]: 413,
  [-2006]: 400,
  [-2009]: 402,
};

/** `error.type` in OpenAI's words. */
const types: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  402: "insufficient_quota",
  413: "invalid_request_error",
};

/** The answer to give in place of a 2xx that carries an error; null: leave it alone. Any other field is kept. */
export function normalizeError(
  status: number,
  body: Record<string, unknown>,
): { status: number; body: Record<string, unknown> } | null {
  if (!(status >= 200 && status <= 299)) return null;
  const found = readErrorBody(body);
  if (found === null) return null;
  const proper = properStatus(found);
  const { message, code } = found;
  const error = {
    message: message || `Jimeng error ${code}`,
    type: types[proper] ?? "server_error",
    param: null,
    code: String(code),
  };
  return { status: proper, body: "error" in body ? body : { ...body, error } };
}

/** The body to give with an error's status that came without any, as a server does to which a request's headers were too large. */
export function errorOfStatus(status: number): Record<string, unknown> {
  const type = types[status] ?? (status >= 500 ? "server_error" : "invalid_request_error");
  const message = `The backend answered ${status} and said nothing more.`;
  return { error: { message, type, param: null, code: `http_${status}` } };
}

/** A dead token is a 401 and an empty account a 402 under whatever code: flat-2 says -2001 for the first. */
function properStatus({ code, message }: { code: number; message: string }): number {
  const account = accountFault(code, message);
  if (account !== null) return account === "dead_token" ? 401 : 402;
  return statuses[code] ?? 500;
}
