/** One try at one backend: send, hear as much as must be heard before a status may go out, and say what it meant. */
import type { Learned } from "../shared/contract.ts";
import {
  classifyAnswer,
  classifyThrown,
  edgeReadTimeout,
  isJimengBody,
  learnFrom,
  readErrorBody,
} from "../shared/jimeng/answer.ts";
import type { AnswerFacts } from "../shared/jimeng/answer.ts";
import { isTorn } from "../shared/jimeng/json.ts";
import { classifyTold, toldErrorIn } from "../shared/jimeng/told-error.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted } from "../shared/outcome.ts";
import type { RouteClass } from "../shared/route.ts";
import { keptBodyBytes, readPrefix } from "./body.ts";
import { byteSource } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
import { Room, uncountedBytes } from "./buffer.ts";
import type { FailureCode } from "./failure.ts";
import type { UploadFault } from "./upload.ts";

/** A JSON body that may be an error; a larger one is pictures. */
const errorBytes = 65_536;

/** Why an attempt was ended from here. */
export type EndedBy = "attempt_timeout" | "deadline" | "client_left" | "backend_lost" | "upload_failed";

export interface Sending {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: BodyInit | null;
  readonly signal: AbortSignal;
  /** Why `signal` was aborted; null while it was not. */
  readonly endedBy: () => EndedBy | null;
  /** A backend that has answered needs no more of the upload. */
  readonly onAnswer: () => void;
  /** Where the client's own upload failed, and the attempt was ended for that: how. */
  readonly uploadFault: () => Promise<UploadFault | null>;
  readonly routeId: string;
  readonly routeClass: RouteClass;
}

/** What came back, with the body in the state in which the client may have it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: AnswerBody;
}

export type AnswerBody =
  | { readonly kind: "none" }
  | {
      readonly kind: "bytes";
      readonly bytes: Uint8Array;
      readonly json: Record<string, unknown> | null;
      readonly room: Room;
    }
  /**
   * Of no interest, and so short that it comes with its head, or in an encoding that a read would take off: the runtime passes it more
   * cheaply than a read does. Nobody sees it end, and nothing of ours bounds its silence.
   */
  | { readonly kind: "through"; readonly stream: ReadableStream<Uint8Array> }
  /** Too large to be kept, or of no interest and not short: what was read, and the rest as it comes. */
  | {
      readonly kind: "continued";
      readonly bytes: Uint8Array;
      readonly rest: ByteSource;
      readonly room: Room;
      /** Of all of it; null: unknown. */
      readonly length: number | null;
    }
  | { readonly kind: "events"; readonly stream: ReadableStream<Uint8Array> };

export interface AttemptResult {
  readonly outcome: Outcome;
  readonly learned: Learned | null;
  /** null: nothing that a client could be given. */
  readonly answer: Answer | null;
  readonly failure: FailureCode | null;
  readonly latencyMs: number;
}

export async function attempt(sending: Sending): Promise<AttemptResult> {
  const startedMs = Date.now();
  let response: Response;
  try {
    response = await fetch(sending.url, {
      method: sending.method,
      headers: sending.headers,
      body: sending.body,
      redirect: "manual",
      signal: sending.signal,
    });
  } catch {
    return (await failedUpload(sending, startedMs)) ?? thrown(sending, "sent", Date.now() - startedMs);
  }
  sending.onAnswer();
  try {
    return await heard(sending, response, startedMs);
  } catch {
    return refused(sending, response, startedMs) ?? thrown(sending, "body", Date.now() - startedMs);
  }
}

/**
 * A server that refuses a request unread, for headers or a body that are too large, resets the connection over what still
 * comes, and its words may be lost with it. Its status has said whose fault it was. null: it was no such answer.
 */
function refused(sending: Sending, response: Response, startedMs: number): AttemptResult | null {
  const { status } = response;
  if (sending.endedBy() !== null || status < 400 || status > 499) return null;
  const latencyMs = Date.now() - startedMs;
  const headers = new Headers(response.headers);
  // They speak of a body that has not come.
  for (const name of ["content-type", "content-length", "content-encoding", "etag"]) headers.delete(name);
  headers.set("cache-control", "no-store");
  return {
    outcome: classifyAnswer(facts(response, null, "complete", latencyMs), sending.routeClass),
    learned: null,
    answer: { status, headers, body: { kind: "none" } },
    failure: null,
    latencyMs,
  };
}

/** A client that neither sends nor breaks for so long is not what broke. */
const uploadVerdictMs = 1000;

/** A client that gave up its upload, or fell silent in it: nobody's fault here. null: it was not that. */
async function failedUpload(sending: Sending, startedMs: number): Promise<AttemptResult | null> {
  if (sending.endedBy() !== "upload_failed") return null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), uploadVerdictMs);
  });
  const fault = await Promise.race([sending.uploadFault(), late]);
  clearTimeout(timer);
  if (fault === null) return null;
  return {
    outcome: aborted,
    learned: null,
    answer: null,
    failure: fault,
    latencyMs: Date.now() - startedMs,
  };
}

async function heard(sending: Sending, response: Response, startedMs: number): Promise<AttemptResult> {
  const { status } = response;
  // A status outside 200–599 can't be passed on: the runtime refuses to construct such an answer.
  if (status < 200 || status > 599) {
    await response.body?.cancel().catch(() => undefined);
    const outcome = classifyAnswer(facts(response, null, "unread", Date.now() - startedMs), sending.routeClass);
    return {
      outcome,
      learned: null,
      answer: null,
      failure: "backend_invalid_answer",
      latencyMs: Date.now() - startedMs,
    };
  }
  const { body, state } = await bodyOf(sending.method, response);
  const elapsedMs = Date.now() - startedMs;
  const answerFacts = facts(response, body.kind === "bytes" ? body.json : null, state, elapsedMs);
  const outcome = meaning(answerFacts, body, sending.routeClass);
  const learned = learnFrom(answerFacts, sending.routeId, outcome);
  if (outcome.reason === "cut") {
    release(body);
    return { outcome, learned, answer: null, failure: "backend_answer_cut", latencyMs: elapsedMs };
  }
  const failure = outcome.reason === edgeReadTimeout ? "edge_read_timeout" : null;
  return { outcome, learned, answer: { status, headers: response.headers, body }, failure, latencyMs: elapsedMs };
}

/** Lets go of an answer that nobody will read. */
export async function discard(answer: Answer | null): Promise<void> {
  if (answer === null) return;
  const { body } = answer;
  release(body);
  if (body.kind === "through" || body.kind === "events") await body.stream.cancel().catch(() => undefined);
  else if (body.kind === "continued") await body.rest.cancel().catch(() => undefined);
}

function release(body: AnswerBody): void {
  if (body.kind === "bytes" || body.kind === "continued") body.room.give();
}

/** What the status and code say, unless the text of a chat answer tells of a failure under a 200. */
function meaning(answerFacts: AnswerFacts, body: AnswerBody, routeClass: RouteClass): Outcome {
  const outcome = classifyAnswer(answerFacts, routeClass);
  if (outcome.kind !== "success" || body.kind !== "bytes" || body.json === null) return outcome;
  const told = toldErrorIn(body.json);
  return told === null ? outcome : classifyTold(told);
}

interface Heard {
  readonly body: AnswerBody;
  readonly state: AnswerFacts["bodyState"];
}

async function bodyOf(method: string, response: Response): Promise<Heard> {
  const { body, headers, status } = response;
  if (body === null || method === "HEAD" || status === 204 || status === 304) {
    return { body: { kind: "none" }, state: "complete" };
  }
  const through: Heard = { body: { kind: "through", stream: body }, state: "unread" };
  const type = (headers.get("content-type") ?? "").toLowerCase();
  // A part of JSON is none; it would seem to be torn.
  const isJson = type.includes("json") && status !== 206;
  const encoding = headers.get("content-encoding");
  // What need not be looked at is not decoded, and what the runtime can't decode can't be looked at.
  if (encoding !== null && (!isDecoded(encoding) || !(isJson || isEventStream(type)))) return through;
  if (isEventStream(type)) return { body: { kind: "events", stream: body }, state: "unread" };
  const length = Number(headers.get("content-length") ?? NaN);
  const isShort = length <= uncountedBytes;
  // Larger ones keep their Content-Length, so that a cut is a transport error for the client as well.
  if (length > keptBodyBytes) return encoding === null ? unread(body, length) : through;
  // Not JSON and no failure: nothing in it is looked at, and the runtime passes it more cheaply than a read does.
  if (!isJson && status < 400) return isShort ? through : unread(body, length);
  if (encoding === null && isShort) return readWhole(response, isJson);
  return read(body, isJson);
}

function isEventStream(type: string): boolean {
  return type.startsWith("text/event-stream");
}

/** Encodings that the runtime takes off a body that is read; it knows them in small letters alone. */
function isDecoded(encoding: string): boolean {
  return encoding === "gzip" || encoding === "br";
}

/** Small and of known length: one step of the runtime, not one for each chunk and one for the end. */
async function readWhole(response: Response, isJson: boolean): Promise<Heard> {
  return lookedAt(new Uint8Array(await response.arrayBuffer()), new Room(), isJson);
}

/** @param length NaN: unknown. */
function unread(stream: ReadableStream<Uint8Array>, length: number): Heard {
  const bytes = new Uint8Array(0);
  const known = Number.isNaN(length) ? null : length;
  const rest = byteSource(stream);
  return { body: { kind: "continued", bytes, rest, room: new Room(), length: known }, state: "unread" };
}

async function read(stream: ReadableStream<Uint8Array>, isJson: boolean): Promise<Heard> {
  const { bytes, rest, room } = await readPrefix(byteSource(stream), keptBodyBytes);
  if (rest !== null) return { body: { kind: "continued", bytes, rest, room, length: null }, state: "unread" };
  return lookedAt(bytes, room, isJson);
}

function lookedAt(bytes: Uint8Array, room: Room, isJson: boolean): Heard {
  const json = isJson ? possibleError(bytes) : null;
  return { body: { kind: "bytes", bytes, json, room }, state: isJson && isTorn(bytes) ? "cut" : "complete" };
}

const decoder = new TextDecoder();

/** Without one of these, a body is neither an error nor an answer that is looked into. */
const hints = ['"code"', '"error"', '"task_id"', "失败", "遇到问题", "出现错误"];

/** The parsed body where it may be an error or a short answer; null where it is too large for one or no object. */
export function possibleError(bytes: Uint8Array): Record<string, unknown> | null {
  if (bytes.byteLength > errorBytes) return null;
  const text = decoder.decode(bytes);
  if (!hints.some((hint) => text.includes(hint))) return null;
  try {
    const json = JSON.parse(text) as unknown;
    return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** What an answer says of itself. `json`: its body, where it may be an error. */
export function facts(
  response: Response,
  json: Record<string, unknown> | null,
  bodyState: AnswerFacts["bodyState"],
  elapsedMs: number,
): AnswerFacts {
  const error = readErrorBody(json);
  return {
    status: response.status,
    code: error?.code ?? null,
    message: error?.message ?? null,
    hasRetryAfter: response.headers.has("retry-after"),
    isJimengBody: isJimengBody(json),
    bodyState,
    elapsedMs,
  };
}

function thrown(sending: Sending, phase: "sent" | "body", latencyMs: number): AttemptResult {
  const endedBy = sending.endedBy();
  const outcome = brokenOff(endedBy, phase, latencyMs);
  return { outcome, learned: null, answer: null, failure: failureOf(outcome, endedBy, phase), latencyMs };
}

/** What an exchange means that has come to no end. */
export function brokenOff(endedBy: EndedBy | null, phase: "sent" | "body", elapsedMs: number): Outcome {
  if (endedBy === null) return classifyThrown("unclear", phase, elapsedMs);
  if (endedBy === "client_left" || endedBy === "upload_failed") return classifyThrown("client_left", phase, elapsedMs);
  if (endedBy === "deadline") return classifyThrown("deadline", phase, elapsedMs);
  if (endedBy === "attempt_timeout") return classifyThrown("timeout", "sent", elapsedMs);
  return { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "lost" };
}

function failureOf(outcome: Outcome, endedBy: EndedBy | null, phase: "sent" | "body"): FailureCode {
  if (outcome.reason === edgeReadTimeout) return "edge_read_timeout";
  if (endedBy === "backend_lost") return "backend_lost";
  if (endedBy === "deadline" || endedBy === "attempt_timeout") return "deadline_exceeded";
  return phase === "body" ? "backend_answer_cut" : "backend_reset";
}
