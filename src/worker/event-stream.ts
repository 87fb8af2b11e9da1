/**
 * Passes server-sent events to the client as they come, keeps the connection warm in between, and never lets a stream
 * that broke look like one that ended: a `data: {"error": …}` event comes instead, which the OpenAI SDKs raise.
 */
import { classifyThrown } from "../shared/jimeng/answer.ts";
import { EventStreamReader } from "../shared/jimeng/event-stream.ts";
import { classifyTold } from "../shared/jimeng/told-error.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted, success } from "../shared/outcome.ts";
import { failureBody } from "./failure.ts";
import type { FailureCode } from "./failure.ts";

const keepAlive = new TextEncoder().encode(": keep-alive\n\n");

export interface StreamLimits {
  readonly idleMs: number;
  readonly ceilingMs: number;
  /** The stream must end with `data: [DONE]`, as a chat's does. */
  readonly expectsDone: boolean;
  /** Paid: read to its end though nobody listens, so that its outcome is known. */
  readonly followed: boolean;
  /** Of silence, until a comment is sent to keep the connection warm. */
  readonly keepAliveMs: number;
}

export interface EventStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Resolves at the end, however it came; never rejects. */
  readonly ended: Promise<{ readonly outcome: Outcome; readonly bytes: number }>;
}

export interface StreamEnds {
  /** Closes the connection to the backend. */
  stop(): void;
  /** The registry has given the backend up, which is why the stream broke. */
  isLost(): boolean;
}

export function passEvents(source: ReadableStream<Uint8Array>, limits: StreamLimits, ends: StreamEnds): EventStream {
  const outlet = new Outlet();
  return { body: outlet.body, ended: pump(source.getReader(), outlet, limits, ends) };
}

/** The client's end: takes bytes no faster than they are read, and knows when nobody reads any more. */
class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  gone = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: (() => void) | null = null;

  constructor() {
    this.body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#wake?.(),
      cancel: () => this.leave(),
    });
  }

  /** Nobody reads any more, or is waited for: what is written from here on is dropped. */
  leave(): void {
    this.gone = true;
    this.#wake?.();
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.gone) return;
    this.#controller?.enqueue(bytes);
    while (!this.gone && (this.#controller?.desiredSize ?? 1) <= 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    if (!this.gone) this.#controller?.close();
  }

  /** Ends the connection without an end: whoever reads as late as now must not take it for one. */
  break(): void {
    if (!this.gone) this.#controller?.error(new Error("the stream has gone on for too long"));
    this.leave();
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;
type Read = Awaited<ReturnType<Reader["read"]>>;

async function pump(
  reader: Reader,
  outlet: Outlet,
  limits: StreamLimits,
  ends: StreamEnds,
): Promise<{ outcome: Outcome; bytes: number }> {
  const events = new EventStreamReader();
  const startedMs = Date.now();
  const endMs = startedMs + limits.ceilingMs;
  // A client that doesn't read would hold everything open: its time ends a little after the stream's own.
  const patience = setTimeout(() => outlet.break(), limits.ceilingMs + limits.keepAliveMs);
  let bytes = 0;
  try {
    for (;;) {
      const read = await nextRead(reader, outlet, events, limits, endMs);
      if (read.done) break;
      bytes += read.value.byteLength;
      events.write(read.value);
      if (outlet.gone && !limits.followed) {
        ends.stop();
        return { outcome: aborted, bytes };
      }
      await outlet.write(read.value);
    }
    const outcome = endedAs(events, limits);
    if (limits.expectsDone && !events.state().done)
      await outlet.write(errorEvent("backend_answer_cut", "The backend's stream ended before its last event.", events));
    outlet.close();
    return { outcome, bytes };
  } catch (error) {
    const { code, message, outcome } = brokenAs(error, ends, Date.now() - startedMs);
    ends.stop();
    await outlet.write(errorEvent(code, message, events));
    outlet.close();
    return { outcome, bytes };
  } finally {
    clearTimeout(patience);
  }
}

/** Silence beyond what a picture can take, or a stream without an end. */
class Silence extends Error {}

function brokenAs(
  error: unknown,
  ends: StreamEnds,
  elapsedMs: number,
): { code: FailureCode; message: string; outcome: Outcome } {
  if (error instanceof Silence) {
    return { code: "deadline_exceeded", message: error.message, outcome: classifyThrown("timeout", "body", elapsedMs) };
  }
  if (ends.isLost()) {
    const outcome: Outcome = { kind: "backend_fault", executed: "unknown", seenByProbe: true, reason: "lost" };
    return { code: "backend_lost", message: "The backend has given no sign of life for too long.", outcome };
  }
  const message = "The connection to the backend broke in the middle of the stream.";
  return { code: "backend_answer_cut", message, outcome: classifyThrown("unclear", "body", elapsedMs) };
}

/** The next piece; while there is none, a comment now and then, but only between events. */
async function nextRead(
  reader: Reader,
  outlet: Outlet,
  events: EventStreamReader,
  limits: StreamLimits,
  endMs: number,
): Promise<Read> {
  const pending = reader.read();
  let nowMs = Date.now();
  const idleEndMs = nowMs + limits.idleMs;
  for (;;) {
    if (nowMs >= idleEndMs) throw new Silence("The backend's stream has been silent for too long.");
    if (nowMs >= endMs) throw new Silence("The backend's stream has gone on for too long.");
    const waitMs = Math.min(limits.keepAliveMs, idleEndMs - nowMs, endMs - nowMs);
    const read = await within(pending, waitMs);
    if (read !== null) return read;
    nowMs = Date.now();
    if (waitMs === limits.keepAliveMs && events.state().betweenEvents) await outlet.write(keepAlive);
  }
}

/** null: not yet. */
function within(pending: Promise<Read>, ms: number): Promise<Read | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(null), ms);
    pending.then(
      (read) => {
        clearTimeout(timer);
        resolve(read);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error as Error);
      },
    );
  });
}

function endedAs(events: EventStreamReader, limits: StreamLimits): Outcome {
  const { done, toldError } = events.state();
  if (toldError !== null) return classifyTold(toldError);
  return done || !limits.expectsDone ? success : classifyThrown("unclear", "body", 0);
}

/** Closes an event that was left open, so that this one stands by itself. */
function errorEvent(code: FailureCode, message: string, events: EventStreamReader): Uint8Array {
  const { error } = failureBody({ code, message: `${message} It may have been executed and charged.` });
  const gap = events.state().betweenEvents ? "" : "\n\n";
  return new TextEncoder().encode(`${gap}data: ${JSON.stringify({ error })}\n\n`);
}
