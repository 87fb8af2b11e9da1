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

/** Pieces that may wait for the client; with one alone, each would cost a turn of the runtime before the next is read. */
const piecesAhead = 8;

/** The client's end: takes bytes no faster than they are read, and knows when nobody reads any more. */
class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  gone = false;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: (() => void) | null = null;

  constructor() {
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#wake?.(),
        cancel: () => this.leave(),
      },
      { highWaterMark: piecesAhead },
    );
  }

  /** Takes what must not wait behind a client that is slow: such a connection is warm already. */
  get isKeptWaiting(): boolean {
    return (this.#controller?.desiredSize ?? 1) <= 0;
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
  const watch = new Watch(limits, startedMs, {
    quiet: () => {
      if (events.state().betweenEvents && !outlet.isKeptWaiting) void outlet.write(keepAlive);
    },
    over: () => void reader.cancel().catch(() => undefined),
    hopeless: () => outlet.break(),
  });
  let bytes = 0;
  try {
    for (;;) {
      const read = await watch.during(reader.read());
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
    watch.end();
  }
}

/** Silence beyond what a picture can take, or a stream without an end. */
class Silence extends Error {}

interface WatchCalls {
  /** The backend has been silent for `keepAliveMs`. */
  quiet(): void;
  /** It has been silent, or gone on, for too long: what is being read must end. */
  over(): void;
  /** And a while later nothing has come of that, since the client doesn't read. */
  hopeless(): void;
}

/** One timer for a whole stream, however many events it has: it looks back when it rings, and is set for what is due next. */
class Watch {
  readonly #limits: StreamLimits;
  readonly #calls: WatchCalls;
  readonly #endMs: number;
  /** Since when a read has been waiting; null: the client is being waited for, which is no silence of the backend. */
  #silentSinceMs: number | null = null;
  #quietMs: number;
  #silence: Silence | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(limits: StreamLimits, nowMs: number, calls: WatchCalls) {
    this.#limits = limits;
    this.#calls = calls;
    this.#endMs = nowMs + limits.ceilingMs;
    this.#quietMs = nowMs;
    this.#arm(nowMs);
  }

  async during(pending: Promise<Read>): Promise<Read> {
    this.#silentSinceMs = Date.now();
    try {
      const read = await pending;
      if (this.#silence !== null) throw this.#silence;
      return read;
    } catch (error) {
      throw this.#silence ?? error;
    } finally {
      this.#silentSinceMs = null;
    }
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(nowMs: number): void {
    const since = this.#silentSinceMs ?? nowMs;
    const quietMs = Math.max(since, this.#quietMs) + this.#limits.keepAliveMs;
    const dueMs = Math.min(quietMs, since + this.#limits.idleMs, this.#endMs);
    this.#timer = setTimeout(() => this.#ring(Date.now()), Math.max(1, dueMs - nowMs));
  }

  #ring(nowMs: number): void {
    const since = this.#silentSinceMs ?? nowMs;
    if (nowMs >= this.#endMs) return this.#over("The backend's stream has gone on for too long.");
    if (nowMs - since >= this.#limits.idleMs) return this.#over("The backend's stream has been silent for too long.");
    if (nowMs - Math.max(since, this.#quietMs) >= this.#limits.keepAliveMs) {
      this.#quietMs = nowMs;
      this.#calls.quiet();
    }
    this.#arm(nowMs);
  }

  #over(message: string): void {
    this.#silence = new Silence(message);
    this.#timer = setTimeout(() => this.#calls.hopeless(), this.#limits.keepAliveMs);
    this.#calls.over();
  }
}

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
