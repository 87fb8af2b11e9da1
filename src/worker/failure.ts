/**
 * Every answer that is ours and not a backend's. One code, one status, one heading in docs/failure-modes.md.
 * The body speaks to both kinds of clients: the OpenAI SDKs read `error`, Jimeng's read `code`, `message`, `data`.
 */

export interface FailureKind {
  readonly status: number;
  /** OpenAI's word for the kind of error. */
  readonly type: string;
  /** In the range that Jimeng's servers leave free. */
  readonly number: number;
  /** `x-should-retry`, which the OpenAI SDKs obey; null leaves it to the status. */
  readonly retry: boolean | null;
}

export const failures = {
  configuration_invalid: { status: 503, type: "server_error", number: -3000, retry: false },
  not_found: { status: 404, type: "invalid_request_error", number: -3001, retry: false },
  method_not_allowed: { status: 405, type: "invalid_request_error", number: -3002, retry: false },
  client_address_unknown: { status: 400, type: "invalid_request_error", number: -3003, retry: false },
  client_denied: { status: 403, type: "permission_error", number: -3004, retry: false },
  rate_limited: { status: 429, type: "rate_limit_error", number: -3005, retry: null },
  api_key_invalid: { status: 401, type: "authentication_error", number: -3006, retry: false },
  limiter_unavailable: { status: 503, type: "server_error", number: -3007, retry: true },
  no_backend: { status: 503, type: "server_error", number: -3010, retry: true },
  no_capacity: { status: 503, type: "server_error", number: -3011, retry: true },
  route_unsupported: { status: 501, type: "invalid_request_error", number: -3012, retry: false },
  model_unsupported: { status: 404, type: "invalid_request_error", number: -3013, retry: false },
  task_home_gone: { status: 410, type: "invalid_request_error", number: -3014, retry: false },
  backend_unreachable: { status: 502, type: "server_error", number: -3020, retry: false },
  backend_reset: { status: 502, type: "server_error", number: -3021, retry: false },
  backend_invalid_answer: { status: 502, type: "server_error", number: -3022, retry: false },
  backend_answer_cut: { status: 502, type: "server_error", number: -3023, retry: false },
  deadline_exceeded: { status: 504, type: "server_error", number: -3024, retry: false },
  edge_read_timeout: { status: 504, type: "server_error", number: -3025, retry: false },
  backend_lost: { status: 504, type: "server_error", number: -3026, retry: false },
  body_too_large: { status: 413, type: "invalid_request_error", number: -3030, retry: false },
  request_timeout: { status: 408, type: "invalid_request_error", number: -3033, retry: false },
  body_unreadable: { status: 400, type: "invalid_request_error", number: -3031, retry: false },
  cache_miss_only_if_cached: { status: 504, type: "invalid_request_error", number: -3032, retry: false },
  operators_api_disabled: { status: 403, type: "permission_error", number: -3040, retry: false },
  operator_unauthorized: { status: 401, type: "authentication_error", number: -3041, retry: false },
  operator_forbidden: { status: 403, type: "permission_error", number: -3042, retry: false },
  operator_rate_limited: { status: 429, type: "rate_limit_error", number: -3043, retry: false },
  invalid_input: { status: 400, type: "invalid_request_error", number: -3044, retry: false },
  conflict: { status: 409, type: "invalid_request_error", number: -3045, retry: false },
  registry_unavailable: { status: 503, type: "server_error", number: -3050, retry: true },
  feature_off: { status: 501, type: "invalid_request_error", number: -3051, retry: false },
  operations_unavailable: { status: 503, type: "server_error", number: -3052, retry: true },
  internal_error: { status: 500, type: "server_error", number: -3099, retry: false },
} as const satisfies Record<string, FailureKind>;

export type FailureCode = keyof typeof failures;

export interface Failure {
  readonly code: FailureCode;
  /** What was wrong, what is allowed, what came. */
  readonly message: string;
  readonly retryAfterS?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Overrides the kind's own word, where this request's route decides. */
  readonly retry?: boolean | undefined;
  /** More about it, for operators' routes: a list of faults. */
  readonly details?: unknown;
}

export function failureBody(failure: Failure): Record<string, unknown> {
  const kind = failures[failure.code];
  const error = { message: failure.message, type: kind.type, code: failure.code, param: null };
  return {
    error: failure.details === undefined ? error : { ...error, details: failure.details },
    code: kind.number,
    message: failure.message,
    data: null,
  };
}

export function failureResponse(failure: Failure): Response {
  const kind: FailureKind = failures[failure.code];
  // Headers of its own, filled one by one: half the price of a record of them.
  const response = new Response(JSON.stringify(failureBody(failure)), { status: kind.status });
  const { headers } = response;
  for (const name in failure.headers) headers.set(name, failure.headers[name] as string);
  headers.set("content-type", "application/json; charset=utf-8");
  headers.set("cache-control", "no-store");
  if (failure.retryAfterS !== undefined)
    headers.set("retry-after", String(Math.max(1, Math.ceil(failure.retryAfterS))));
  const retry = failure.retry ?? kind.retry;
  if (retry !== null) headers.set("x-should-retry", String(retry));
  return response;
}
