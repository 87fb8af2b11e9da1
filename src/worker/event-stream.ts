/**
 * Passes server-sent events to the client as they come, keeps the connection warm in between, and never lets a stream
 * that broke look like one that ended: a `data: {"error": …}` event comes instead, which the OpenAI SDKs raise.
 */
import { classifyThrown } from "../shared/jimeng/answer.ts";
import { EventStreamReader } from "../shared/jimeng/event-stream.ts";
import { classifyTold } from "../shared/jimeng/told-error.ts";
import type { Outcome } from "../shared/outcome.ts";
import { aborted, success } from "../shared/outcome.ts";
import { byteSource } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
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
  /** Resolves when the client has left before that; a paid stream is followed on. */
  readonly left: Promise<void>;
}

export interface StreamEnds {
  /** Closes the connection to the backend. */
  stop(): void;
  /** The registry has given the backend up, which is why the stream broke. */
  isLost(): boolean;
}

export function passEvents(source: ReadableStream<Uint8Array>, limits: StreamLimits, ends: StreamEnds): EventStream {
  const outlet = new Outlet();
  return { body: outlet.body, ended: pump(byteSource(source), outlet, limits, ends), left: outlet.left };
}

/** The client's end: takes bytes no faster than they are read, and knows when nobody reads any more. The runtime itself passes them on. */
class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly left: Promise<void>;
  gone = false;
  #waiting = 0;
  #tellLeft: () => void = () => undefined;

  constructor() {
    this.left = new Promise((resolve) => {
      this.#tellLeft = resolve;
    });
    const pipe = new IdentityTransformStream();
    this.body = pipe.readable;
    this.#writer = pipe.writable.getWriter();
    this.#writer.closed.catch(() => this.#left());
  }

  /** Takes what must not wait behind a client that is slow: such a connection is warm already. */
  get isKeptWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Nobody reads any more: what is written from here on is dropped. */
  #left(): void {
    if (this.gone) return;
    this.gone = true;
    this.#tellLeft();
  }

  /** Settles when the bytes have been taken, and may then be overwritten. Never rejects. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.gone) return;
    this.#waiting += 1;
    try {
      await this.#writer.write(bytes);
    } catch {
      this.#left();
    }
    this.#waiting -= 1;
  }

  close(): void {
    if (!this.gone) this.#writer.close().catch(() => this.#left());
  }

  /** Ends the connection without an end: whoever reads as late as now must not take it for one. */
  break(): void {
    this.gone = true;
    this.#writer.abort(new Error("the stream has gone on for too long")).catch(() => undefined);
  }
}

/** Of a chat's stream an event is some hundred bytes; larger ones come in parts. */
const roomBytes = 4096;

async function pump(
  source: ByteSource,
  outlet: Outlet,
  limits: StreamLimits,
  ends: StreamEnds,
): Promise<{ outcome: Outcome; bytes: number }> {
  const events = new EventStreamReader();
  const startedMs = Date.now();
  const watch = new Watch(limits, startedMs, {
    quiet: () => {
      if (events.state().betweenEvents && !isOver(events, limits) && !outlet.isKeptWaiting)
        void outlet.write(keepAlive);
    },
    over: () => void source.cancel().catch(() => undefined),
    hopeless: () => outlet.break(),
  });
  let bytes = 0;
  try {
    for (let room = new Uint8Array(roomBytes); ;) {
      watch.waits();
      const piece = await source.read(room);
      watch.heard();
      if (piece.byteLength === 0) break;
      bytes += piece.byteLength;
      events.write(piece);
      if (isOver(events, limits)) watch.nearsEnd();
      if (outlet.gone && !limits.followed) {
        ends.stop();
        return { outcome: aborted, bytes };
      }
      await outlet.write(piece);
      room = new Uint8Array(piece.buffer);
    }
    const outcome = endedAs(events, limits);
    if (limits.expectsDone && !events.isDone)
      await outlet.write(errorEvent("backend_answer_cut", "The backend's stream ended before its last event.", events));
    outlet.close();
    return { outcome, bytes };
  } catch (error) {
    if (isOver(events, limits)) {
      // All has come; that the connection didn't end well, or not at all, takes nothing from it.
      ends.stop();
      outlet.close();
      return { outcome: endedAs(events, limits), bytes };
    }
    const { code, message, outcome } = brokenAs(watch.silence ?? error, ends, Date.now() - startedMs);
    ends.stop();
    await outlet.write(errorEvent(code, message, events));
    outlet.close();
    return { outcome, bytes };
  } finally {
    watch.end();
  }
}

/** After its last event a server ends the stream at once. */
const afterDoneMs = 2000;

function isOver(events: EventStreamReader, limits: StreamLimits): boolean {
  return limits.expectsDone && events.isDone;
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
  #idleMs: number;
  /** Why what is being read was ended from here. */
  silence: Silence | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(limits: StreamLimits, nowMs: number, calls: WatchCalls) {
    this.#limits = limits;
    this.#calls = calls;
    this.#endMs = nowMs + limits.ceilingMs;
    this.#quietMs = nowMs;
    this.#idleMs = limits.idleMs;
    this.#arm(nowMs);
  }

  /** The last event has come: what there may be more is not waited for. */
  nearsEnd(): void {
    if (this.#idleMs <= afterDoneMs) return;
    this.#idleMs = afterDoneMs;
    this.end();
    this.#arm(Date.now());
  }

  /** A read begins. */
  waits(): void {
    this.#silentSinceMs = Date.now();
  }

  /** It has ended; throws where it was ended from here. */
  heard(): void {
    this.#silentSinceMs = null;
    if (this.silence !== null) throw this.silence;
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(nowMs: number): void {
    const since = this.#silentSinceMs ?? nowMs;
    const quietMs = Math.max(since, this.#quietMs) + this.#limits.keepAliveMs;
    const dueMs = Math.min(quietMs, since + this.#idleMs, this.#endMs);
    this.#timer = setTimeout(() => this.#ring(Date.now()), Math.max(1, dueMs - nowMs));
  }

  #ring(nowMs: number): void {
    const since = this.#silentSinceMs ?? nowMs;
    if (nowMs >= this.#endMs) return this.#over("The backend's stream has gone on for too long.");
    if (nowMs - since >= this.#idleMs) return this.#over("The backend's stream has been silent for too long.");
    if (nowMs - Math.max(since, this.#quietMs) >= this.#limits.keepAliveMs) {
      this.#quietMs = nowMs;
      this.#calls.quiet();
    }
    this.#arm(nowMs);
  }

  #over(message: string): void {
    this.silence = new Silence(message);
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
