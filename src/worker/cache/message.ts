/** Between the platform's messages and what a cache keeps of them. */
import type { CachedAnswer, HeaderList, Retention } from "../../shared/cache/cached-answer.ts";
import { currentAgeMs } from "../../shared/cache/cached-answer.ts";
import { notModified, notModifiedHeaders, rangeOf } from "../../shared/cache/conditional.ts";
import { formatHttpDate } from "../../shared/cache/http-date.ts";
import { roleOf } from "../../shared/cache/request-fields.ts";
import type { FieldReader } from "../../shared/cache/storing.ts";
import { isTorn } from "../../shared/jimeng/json.ts";
import { joined, Room } from "../buffer.ts";

/** A larger body is passed on as it comes and not kept: it would have to be held in memory. */
export const bodyLimit = 10 * 1024 * 1024;

/** RFC 9111 §3.1, RFC 9110 §7.6.1; then what is one request's (cookies, our own fields) and what is recomputed. */
const notKept = new Set(
  [
    "connection keep-alive proxy-connection proxy-authenticate proxy-authentication-info te trailer transfer-encoding upgrade",
    "set-cookie age cache-status content-length content-range x-request-id server-timing",
    "x-jimeng-edge-backend ratelimit ratelimit-policy retry-after",
  ].flatMap((names) => names.split(" ")),
);

/** The fields that are kept, lower case. `Date` is added where it is missing (RFC 9110 §6.6.1). */
export function keptHeaders(headers: Headers, omit: readonly string[], nowMs: number): HeaderList {
  const named = new Set((headers.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
  const kept: [string, string][] = [];
  for (const [name, value] of headers) {
    if (notKept.has(name) || named.has(name) || omit.includes(name) || name.startsWith("access-control-")) continue;
    kept.push([name, value]);
  }
  if (!headers.has("date")) kept.push(["date", formatHttpDate(nowMs)]);
  return kept;
}

export function cachedAnswer(
  head: { readonly status: number; readonly headers: Headers },
  body: Uint8Array,
  retention: Retention,
  omit: readonly string[],
  receivedMs: number,
): CachedAnswer {
  const etag = head.headers.get("etag");
  const decoded = head.headers.has("content-encoding");
  // The runtime has decoded the body: another sequence of bytes, so no strong tag (RFC 9110 §8.8.1).
  const headers = keptHeaders(head.headers, omit, receivedMs)
    .filter(([name]) => name !== "content-encoding")
    .map(([name, value]): readonly [string, string] =>
      name === "etag" && decoded && !value.startsWith("W/") ? [name, `W/${value}`] : [name, value],
    );
  return {
    ...retention,
    status: head.status,
    headers,
    etag,
    lastModified: head.headers.get("last-modified"),
    body,
    receivedMs,
  };
}

export type Body =
  | { readonly kind: "whole"; readonly bytes: Uint8Array }
  /** Too large, too slow, or nothing to keep: what was read, then the rest as it comes. */
  | { readonly kind: "passing"; readonly stream: ReadableStream<Uint8Array> };

/** What a body may take to be kept. */
export interface BodyLimits {
  readonly bytes: number;
  readonly withinMs: number;
}

/** Throws when the body ends before it should. */
export async function readBody(response: Response, limits: BodyLimits): Promise<Body> {
  if (response.body === null) return { kind: "whole", bytes: new Uint8Array(0) };
  const coded = response.headers.has("content-encoding");
  const stated = coded ? null : response.headers.get("content-length");
  if (stated !== null && Number(stated) > limits.bytes) return { kind: "passing", stream: response.body };
  const read = await readWithin(response.body as ReadableStream<Uint8Array>, limits);
  if (read.kind === "passing") return read;
  const { bytes } = read;
  if (stated !== null && Number(stated) !== bytes.byteLength)
    throw new Error(`body cut short: ${bytes.byteLength} of ${stated} bytes`);
  // Without a length, and with some framings, a cut is a clean end to us: half a JSON document is none, and what is no document is not kept.
  if (stated !== null || !isJson(response.headers) || isDocument(bytes)) return read;
  if (isTorn(bytes)) throw new Error("body cut short: a JSON document without its end");
  return { kind: "passing", stream: new Response(bytes).body as ReadableStream<Uint8Array> };
}

async function readWithin(stream: ReadableStream<Uint8Array>, { bytes, withinMs }: BodyLimits): Promise<Body> {
  const reader = stream.getReader();
  const room = new Room();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(() => late.resolve(null), withinMs);
  try {
    for (;;) {
      const reading = reader.read();
      const got = await Promise.race([reading, late.promise]);
      if (got === null) return { kind: "passing", stream: continued(chunks, reader, reading, room) };
      if (got.done) break;
      chunks.push(got.value);
      size += got.value.byteLength;
      if (!room.take(got.value.byteLength, Date.now()) || size > bytes)
        return { kind: "passing", stream: continued(chunks, reader, null, room) };
    }
  } catch (error) {
    room.give();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  room.give();
  return { kind: "whole", bytes: ofItsSize(joined(chunks, size)) };
}

/** A piece lies in the block of 4 KiB that the runtime read it into, and would keep the block for as long as it is kept itself. */
function ofItsSize(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function isJson(headers: Headers): boolean {
  return /^application\/(?:[\w.+-]+\+)?json *(?:;|$)/i.test(headers.get("content-type") ?? "");
}

function isDocument(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder().decode(bytes));
    return true;
  } catch {
    return false;
  }
}

type Reading = ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>;

/** `pending`: what is being read already. The room is given back when what was read has gone. */
function continued(
  chunks: readonly Uint8Array[],
  reader: ReadableStreamDefaultReader<Uint8Array>,
  pending: Reading | null,
  room: Room,
): ReadableStream<Uint8Array> {
  let at = 0;
  let next = pending;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at < chunks.length) {
          controller.enqueue(chunks[at] as Uint8Array);
          at += 1;
          return;
        }
        room.give();
        const { done, value } = await (next ?? reader.read());
        next = null;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel(reason) {
        room.give();
        return reader.cancel(reason);
      },
    },
    // What is at hand goes out before more is waited for.
    { highWaterMark: 0 },
  );
}

/** A stored answer as this client asked for it: whole, a part, its head, or "you have it already". */
export function present(answer: CachedAnswer, method: string, request: FieldReader, nowMs: number): Response {
  const age = String(Math.floor(currentAgeMs(answer, nowMs) / 1000));
  if (notModified(answer, request)) {
    return new Response(null, { status: 304, headers: fields(notModifiedHeaders(answer.headers), [["age", age]]) });
  }
  if (method === "HEAD") {
    const length: HeaderList = hasBody(answer.status) ? [["content-length", String(answer.body.byteLength)]] : [];
    return new Response(null, { status: answer.status, headers: fields(answer.headers, [["age", age], ...length]) });
  }
  const range = request.get("range") === null ? null : rangeOf(answer, request);
  if (range === "unsatisfiable") {
    return new Response(null, { status: 416, headers: [["content-range", `bytes */${answer.body.byteLength}`]] });
  }
  if (range !== null) {
    const part: HeaderList = [
      ["content-range", `bytes ${range.first}-${range.last}/${answer.body.byteLength}`],
      ["age", age],
    ];
    return new Response(answer.body.subarray(range.first, range.last + 1), {
      status: 206,
      headers: fields(answer.headers, part),
    });
  }
  const body = hasBody(answer.status) ? answer.body : null;
  return new Response(body, { status: answer.status, headers: fields(answer.headers, [["age", age]]) });
}

function hasBody(status: number): boolean {
  return status !== 204 && status !== 304;
}

function fields(headers: HeaderList, more: HeaderList): [string, string][] {
  return [...headers, ...more] as unknown as [string, string][];
}

export function asHeaders(headers: HeaderList): Headers {
  return new Headers(fields(headers, []));
}

/** With what an update says beside it: fields that are never kept, and decide whether the rest may be. */
export function withPassingFields(kept: HeaderList, update: Headers): Headers {
  const headers = asHeaders(kept);
  for (const name of ["age", "set-cookie"]) {
    const value = update.get(name);
    if (value !== null) headers.set(name, value);
  }
  return headers;
}

/**
 * The fields that go to the origin for an answer that others may get too. Of a `fixed` route the answer is declared to depend on none of them;
 * only `Authorization` goes along, for servers that answer nobody without one.
 */
export function sharedRequestHeaders(client: Headers, route: "fixed" | "by-origin"): Headers {
  const headers = new Headers({ "accept-encoding": "identity" });
  if (route === "fixed") {
    headers.set("accept", "application/json, */*;q=0.5");
    const authorization = client.get("authorization");
    if (authorization !== null) headers.set("authorization", authorization);
    return headers;
  }
  const named = new Set((client.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase()));
  for (const [name, value] of client) {
    if (roleOf(name) !== "dropped" && !named.has(name)) headers.append(name, value);
  }
  return headers;
}
