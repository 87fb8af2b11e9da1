/** What may be kept of a body, and for how long. */
import { classOf, readRequest } from "../shared/jimeng/request-body.ts";
import type { Route, RouteClass } from "../shared/route.ts";

/** A cheap request's body up to this is kept for a second attempt; a generation's JSON up to this is read for `model` and `stream`. */
export const keptBodyBytes = 1_048_576;

/** Buffers of one isolate together: a quarter of its 128 MB. */
const bufferBytes = 32 * 1_048_576;

let buffered = 0;

/** Takes room for a buffer; false where the isolate's share is used up, and the caller must stream. */
export function takeBuffer(bytes: number): boolean {
  if (buffered + bytes > bufferBytes) return false;
  buffered += bytes;
  return true;
}

export function giveBuffer(bytes: number): void {
  buffered -= bytes;
}

export interface Outgoing {
  /** null: no body. A stream can be sent once. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly repeatable: boolean;
  readonly model: string | null;
  readonly routeClass: RouteClass;
}

/** A body that was declared with a length but ended before it, or that the client gave up. */
export class BodyUnreadable extends Error {}

/** Reads as much of the request's body as the route needs, and no more than may be kept. */
export async function outgoing(request: Request, route: Route): Promise<Outgoing> {
  const plain = { model: null, routeClass: route.class };
  if (request.body === null) return { ...plain, body: null, repeatable: true };
  const length = declaredLength(request.headers);
  if (length === 0) return { ...plain, body: null, repeatable: true };
  if (isMultipart(request.headers) || (length !== null && length > keptBodyBytes)) {
    return { ...plain, body: request.body, repeatable: false };
  }
  const { bytes, rest } = await readBody(request.body);
  if (rest !== null) return { ...plain, body: continued(bytes, rest), repeatable: false };
  if (!route.readsBody) return { ...plain, body: bytes, repeatable: true };
  const facts = readRequest(parsed(bytes));
  return { body: bytes, repeatable: true, model: facts.model, routeClass: classOf(route.id, route.class, facts) };
}

async function readBody(body: ReadableStream<Uint8Array>): Promise<Prefix> {
  try {
    return await readPrefix(body, keptBodyBytes);
  } catch (error) {
    throw new BodyUnreadable(String(error));
  }
}

/** Malformed JSON is passed on as it is: the server judges it, in its own words. */
function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return null;
  }
}

function declaredLength(headers: Headers): number | null {
  const text = headers.get("content-length");
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

function isMultipart(headers: Headers): boolean {
  return headers.get("content-type")?.toLowerCase().startsWith("multipart/") ?? false;
}

/** The answer's body as far as it fits; `rest` continues it when it does not. */
export interface Prefix {
  readonly bytes: Uint8Array;
  readonly rest: ReadableStreamDefaultReader<Uint8Array> | null;
}

/** Reads a stream until its end or `limit`. Throws what the stream throws. */
export async function readPrefix(stream: ReadableStream<Uint8Array>, limit: number): Promise<Prefix> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size <= limit) {
    const { done, value } = await reader.read();
    if (done) return { bytes: joined(chunks, size), rest: null };
    chunks.push(value);
    size += value.byteLength;
  }
  return { bytes: joined(chunks, size), rest: reader };
}

/** What was read, and then the rest as it comes. */
export function continued(
  first: Uint8Array,
  rest: ReadableStreamDefaultReader<Uint8Array>,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(first),
    async pull(controller) {
      const { done, value } = await rest.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => rest.cancel(reason),
  });
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  if (chunks.length === 1) return chunks[0] as Uint8Array;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
