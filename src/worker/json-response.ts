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
  return jsonBytesResponse(jsonBytes(value), status, headers);
}

export function jsonBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** Of bytes that `jsonBytes` made. */
export function jsonBytesResponse(
  bytes: Uint8Array,
  status: number,
  headers: Readonly<Record<string, string>>,
): Response {
  const response = new Response(bytes, { status });
  // One by one: half the price of a record of them.
  response.headers.set("content-type", "application/json; charset=utf-8");
  for (const name in headers) response.headers.set(name, headers[name] as string);
  return withLength(response, bytes.byteLength);
}
