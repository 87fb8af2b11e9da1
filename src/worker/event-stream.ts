/**
 * Passes server-sent events to the client as they come, keeps the connection warm in between, and never lets a stream
 * that broke look like one that ended: a `data: {"error": …}` event comes instead, which the OpenAI SDKs raise.
 */
import { classifyThrown } from "../shared/jimeng/answer.ts";
import { EventStreamReader } from "../shared/jimeng/event-stream.ts";
import { classifyTold } from "../shared/jimeng/told-error.ts";
import type { Outcome } from "../shared/outcome.ts";
import { success } from "../shared/outcome.ts";
import { failureBody } from "./failure.ts";
import type { FailureCode } from "./failure.ts";

/** Proxies on the way drop a connection after 30–60 s of silence. */
const keepAliveMs = 15_000;
const keepAlive = new TextEncoder().encode(": keep-alive\n\n");

export interface StreamLimits {
  readonly idleMs: number;
  readonly ceilingMs: number;
  /** The stream must end with `data: [DONE]`, as a chat's does. */
  readonly expectsDone: boolean;
  /** Paid: read to its end though nobody listens, so that its outcome is known. */
  readonly followed: boolean;
}

export interface EventStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Resolves at the end, however it came; never rejects. */
  readonly ended: Promise<{ readonly outcome: Outcome; readonly bytes: number }>;
}

export interface StreamEnds {
  /** The client has cancelled. */
  onClientGone(): void;
  /** Closes the connection to the backend. */
  stop(): void;
}

export function passEvents(source: ReadableStream<Uint8Array>, limits: StreamLimits, ends: StreamEnds): EventStream {
  const outlet = new Outlet(() => ends.onClientGone());
  return { body: outlet.body, ended: pump(source.getReader(), outlet, limits, ends) };
}

/** The client's end: takes bytes no faster than they are read, and knows when nobody reads any more. */
class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  gone = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: (() => void) | null = null;

  constructor(onGone: () => void) {
    this.body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#wake?.(),
      cancel: () => {
        this.gone = true;
        this.#wake?.();
        onGone();
      },
    });
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
  let bytes = 0;
  try {
    for (;;) {
      const read = await nextRead(reader, outlet, events, limits, startedMs);
      if (read.done) break;
      bytes += read.value.byteLength;
      events.write(read.value);
      if (outlet.gone && !limits.followed) {
        ends.stop();
        return { outcome: { kind: "aborted", executed: "unknown", seenByProbe: false, reason: "client_left" }, bytes };
      }
      await outlet.write(read.value);
    }
    const outcome = endedAs(events, limits);
    if (limits.expectsDone && !events.state().done)
      await outlet.write(errorEvent("backend_answer_cut", "The backend's stream ended before its last event.", events));
    outlet.close();
    return { outcome, bytes };
  } catch (error) {
    const silent = error instanceof Silence;
    ends.stop();
    const code: FailureCode = silent ? "deadline_exceeded" : "backend_answer_cut";
    await outlet.write(
      errorEvent(
        code,
        silent ? error.message : "The connection to the backend broke in the middle of the stream.",
        events,
      ),
    );
    outlet.close();
    return { outcome: classifyThrown(silent ? "timeout" : "unclear", "body", Date.now() - startedMs), bytes };
  }
}

/** Silence beyond what a picture can take. */
class Silence extends Error {}

/** The next piece; while there is none, a comment now and then, but only between events. */
async function nextRead(
  reader: Reader,
  outlet: Outlet,
  events: EventStreamReader,
  limits: StreamLimits,
  startedMs: number,
): Promise<Read> {
  const pending = reader.read();
  const silentSince = Date.now();
  for (;;) {
    const read = await within(pending, keepAliveMs);
    if (read !== null) return read;
    const nowMs = Date.now();
    if (nowMs - silentSince >= limits.idleMs) throw new Silence("The backend's stream has been silent for too long.");
    if (nowMs - startedMs >= limits.ceilingMs) throw new Silence("The backend's stream has gone on for too long.");
    if (events.state().betweenEvents) await outlet.write(keepAlive);
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
