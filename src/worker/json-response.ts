/** Answers made of bytes that are known at once. */

/** A response made of bytes has no Content-Length until the runtime sends it; its maker says it here. */
const knownLengths = new WeakMap<Response, number>();

export function withLength(response: Response, bytes: number): Response {
  knownLengths.set(response, bytes);
  return response;
}

/** Bytes of the body, null where nobody knows. */
export function lengthOf(response: Response): number | null {
  const known = knownLengths.get(response);
  if (known !== undefined) return known;
  const text = response.headers.get("content-length");
  return text === null ? null : Number(text);
}

const encoder = new TextEncoder();

export function jsonResponse(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  const bytes = encoder.encode(JSON.stringify(value));
  const response = new Response(bytes, {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
  });
  return withLength(response, bytes.byteLength);
}
