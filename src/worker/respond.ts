/** From a backend's answer to the client's. */
import { errorOfStatus, normalizeError } from "../shared/jimeng/normalize.ts";
import { aborted } from "../shared/outcome.ts";
import type { Outcome } from "../shared/outcome.ts";
import type { Answer } from "./attempt.ts";
import { followedBy } from "./body.ts";
import { handedOut, uncountedBytes } from "./buffer.ts";
import { addCors, addVary } from "./cors.ts";
import { encodingFor, mayCompress } from "./compress.ts";
import { passEvents } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import type { Forwarded } from "./forward.ts";
import { Relay } from "./relay.ts";
import { jsonResponse, lengthOf, withLength } from "./json-response.ts";
import { responseHeaders, toResponseHeaders } from "./headers.ts";

const msPerS = 1000;

/** Of the silence that ends an answer: after that a silence from its very beginning has been noticed. */
const slowFactor = 2;

/** Proxies on the way drop a connection after 30–60 s of silence. */
const keepAliveMs = 15_000;

/** The response that a forwarded request gets, without what every answer of the edge carries (`finished`). */
export function respond(exchange: Exchange, forwarded: Forwarded): Response {
  const { answer, failure, shouldRetry } = forwarded;
  if (failure !== null || answer === null) {
    return failureResponse(failure ?? { code: "internal_error", message: "The backend's answer was lost." });
  }
  const response = passed(exchange, answer, forwarded);
  if (shouldRetry !== null) response.headers.set("x-should-retry", shouldRetry);
  return response;
}

function passed(exchange: Exchange, answer: Answer, forwarded: Forwarded): Response {
  const { status, body } = answer;
  if (status >= 400 && isEmpty(body) && normalizes(exchange) && exchange.request.method !== "HEAD") {
    return explained(status, responseHeaders(answer.headers));
  }
  // What passes untouched is made with the backend's headers and then rid of those that stay here: one copy of them less.
  if (body.kind === "none" || body.kind === "through") {
    const stream = body.kind === "none" ? null : body.stream;
    const response = new Response(stream, { status, headers: answer.headers });
    toResponseHeaders(response.headers);
    return response;
  }
  const headers = responseHeaders(answer.headers);
  switch (body.kind) {
    case "bytes":
      withoutEncoding(headers);
      return whole(exchange, status, headers, body);
    case "continued":
      withoutEncoding(headers);
      return relayed(exchange, status, headers, body, forwarded);
    case "events":
      withoutEncoding(headers);
      return streamed(exchange, status, headers, body.stream, forwarded);
  }
}

function isEmpty(body: Answer["body"]): boolean {
  return body.kind === "none" || (body.kind === "bytes" && body.bytes.byteLength === 0);
}

/** An SDK must see what went wrong where the backend gave a status alone. */
function explained(status: number, headers: Headers): Response {
  const response = jsonResponse(errorOfStatus(status), status);
  for (const name of ["content-type", "content-length", "content-encoding", "etag"]) headers.delete(name);
  for (const [name, value] of headers) response.headers.append(name, value);
  return response;
}

/** What was read has been decoded by that; `finished` chooses anew. */
function withoutEncoding(headers: Headers): void {
  if (!headers.has("content-encoding")) return;
  headers.delete("content-encoding");
  weakenTag(headers);
}

type Whole = Extract<Answer["body"], { kind: "bytes" }>;

function whole(exchange: Exchange, status: number, headers: Headers, { bytes, json, room }: Whole): Response {
  headers.delete("content-length");
  const proper = json !== null && normalizes(exchange) ? normalizeError(status, json) : null;
  if (proper === null) {
    return withLength(new Response(handedOut(bytes, room), { status, headers }), bytes.byteLength);
  }
  room.give();
  headers.set("content-type", "application/json; charset=utf-8");
  headers.delete("etag");
  return new Response(JSON.stringify(proper.body), { status: proper.status, headers });
}

/** An SDK must see an error as an error; it speaks to `/v1/*`. */
function normalizes({ edge, path }: Exchange): boolean {
  return edge.config.RESPONSE.normalizeErrors && path.startsWith("/v1/");
}

function streamed(
  exchange: Exchange,
  status: number,
  headers: Headers,
  source: ReadableStream<Uint8Array>,
  forwarded: Forwarded,
): Response {
  const { DEADLINES } = exchange.edge.config;
  const limits = {
    idleMs: DEADLINES.streamIdle * msPerS,
    ceilingMs: DEADLINES.streamCeiling * msPerS,
    expectsDone: exchange.route?.id === "POST /v1/chat/completions",
    followed: exchange.route?.paid === true,
    keepAliveMs,
  };
  const { cutoff } = forwarded;
  const events = passEvents(source, limits, {
    stop: () => cutoff.end("client_left"),
    isLost: () => cutoff.reason === "backend_lost",
  });
  const conclude = ({ outcome, bytes }: { outcome: Outcome; bytes: number }): Outcome => {
    forwarded.conclude?.(outcome, bytes);
    return outcome;
  };
  const concluded = events.ended.then(conclude);
  exchange.waitUntil(concluded);
  // What follows a client that has left may be ended by the runtime without a word.
  exchange.ending = Promise.race([concluded, events.left.then(() => aborted)]);
  headers.delete("content-length");
  headers.set("cache-control", headers.get("cache-control") ?? "no-cache");
  return new Response(events.body, { status, headers });
}

type Continued = Extract<Answer["body"], { kind: "continued" }>;

function relayed(
  exchange: Exchange,
  status: number,
  headers: Headers,
  { bytes, rest, room, length }: Continued,
  { cutoff, conclude, outcome }: Forwarded,
): Response {
  const idleMs = exchange.edge.config.DEADLINES.answerIdle * msPerS;
  const relay = new Relay(rest, { idleMs, cutoff, first: bytes.byteLength, length });
  // Its server has done its part if it was not silent up to here: a client that takes its time doesn't count as work of a server.
  const slow = setTimeout(() => conclude?.(outcome, relay.bytes), slowFactor * idleMs);
  const concluded = relay.ended.then((end) => {
    clearTimeout(slow);
    conclude?.(end, relay.bytes);
    // What an error means has been said by its head.
    return end.kind === "success" ? outcome : end;
  });
  exchange.waitUntil(concluded);
  exchange.ending = concluded;
  if (length === null) headers.delete("content-length");
  return new Response(followedBy(bytes, relay, room, length), { status, headers });
}

/** Of an answer that is the edge's own: nothing was looked up and nothing was asked. */
export const uncachedStatus = "jimeng-edge; detail=generated";

/** Adds what every answer of the edge carries, and chooses its encoding. */
export function finished(exchange: Exchange, response: Response): Response {
  const { headers } = response;
  const { edge, request } = exchange;
  headers.set("x-request-id", exchange.id);
  addCors(headers, request.headers.get("origin"), edge.config.CORS);
  if (exchange.limitHeaders !== null)
    for (const name in exchange.limitHeaders) headers.set(name, exchange.limitHeaders[name] as string);
  // Appended: a cache nearer to the backend has a word of its own (RFC 9211 §2).
  headers.append("cache-status", exchange.cacheStatus ?? uncachedStatus);
  if (exchange.backend !== null) headers.set("x-jimeng-edge-backend", exchange.backend);
  headers.set("server-timing", timing(exchange));
  return edge.config.RESPONSE.compress && request.method !== "HEAD" ? compressed(exchange, response) : response;
}

/** https://www.w3.org/TR/server-timing/ */
function timing({ startedMs, backendMs }: Exchange): string {
  const total = `edge;dur=${Date.now() - startedMs}`;
  return backendMs === null ? total : `backend;dur=${backendMs}, ${total}`;
}

function compressed(exchange: Exchange, response: Response): Response {
  const { headers, status } = response;
  const bytes = lengthOf(response);
  const subject = { status, headers, bytes };
  if (!mayCompress(subject)) return response;
  addVary(headers, "Accept-Encoding");
  const encoding = encodingFor(exchange.request.headers.get("accept-encoding"), subject);
  if (encoding === null) return response;
  headers.delete("content-length");
  headers.set("content-encoding", encoding);
  weakenTag(headers);
  return new Response(withoutLength(response.body, bytes), { status, headers });
}

/**
 * A stream that knows its length makes the runtime promise as many bytes of the encoded form, and break off short of them. What is
 * small is no stream of our making.
 */
function withoutLength(
  body: ReadableStream<Uint8Array> | null,
  bytes: number | null,
): ReadableStream<Uint8Array> | null {
  if (body === null || bytes === null || bytes <= uncountedBytes) return body;
  return body.pipeThrough(new IdentityTransformStream());
}

/** An encoded form is another representation: its tag may no longer claim equality byte for byte (RFC 9110 §8.8.1). */
function weakenTag(headers: Headers): void {
  const tag = headers.get("etag");
  if (tag !== null && !tag.startsWith("W/")) headers.set("etag", `W/${tag}`);
}
