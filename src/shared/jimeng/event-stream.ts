/**
 * An incremental reader of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) that runs
 * beside the bytes, not in their way: it knows where the stream stands and what it has told, and keeps one event at most.
 */
import type { ToldError } from "./told-error.ts";
import { mayTellError, readToldError } from "./told-error.ts";
import { decodeUtf8 } from "./utf8.ts";

/** Bytes of one event's data that are looked at; a chunk that tells of a failure has a few hundred. */
const maxEventBytes = 16 * 1024;

/** `[DONE]` with room for blanks around it: data up to this length is always read. */
const maxMarkerBytes = 64;

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const byteOrderMark = [0xef, 0xbb, 0xbf] as const;
const dataField = [100, 97, 116, 97] as const;
const colon = 58;

export interface StreamState {
  /** Nothing of an event has come that its blank line has not ended, so a comment may be put here. */
  readonly betweenEvents: boolean;
  /** `data: [DONE]` has come, as a whole event. It is the only end: a chunk with `finish_reason: "stop"` may be followed by others. */
  readonly done: boolean;
  readonly toldError: ToldError | null;
  /** Events with data, `[DONE]` among them. */
  readonly events: number;
}

export class EventStreamReader {
  /** The line that is under way, cut at the bound. */
  readonly #line = new Uint8Array(maxEventBytes);
  #lineLength = 0;
  #lineIsLong = false;
  /** The data of the event that is under way; null: no data line yet. */
  #data: string | null = null;
  /** A part of that data was too long, or can tell of nothing, so the event is not looked at. */
  #unread = false;
  #eventIsOpen = false;
  #afterReturn = false;
  #firstLine = true;
  #done = false;
  #toldError: ToldError | null = null;
  #events = 0;

  /** Takes the next piece of the body, wherever the network has cut it. */
  write(bytes: Uint8Array): void {
    let from = 0;
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index] as number;
      if (byte !== lineFeed && byte !== carriageReturn) continue;
      const secondOfPair = byte === lineFeed && this.#afterReturn && index === from;
      this.#keep(bytes, from, index);
      if (!secondOfPair) this.#endLine();
      this.#afterReturn = byte === carriageReturn;
      from = index + 1;
    }
    this.#keep(bytes, from, bytes.length);
  }

  #keep(bytes: Uint8Array, from: number, to: number): void {
    if (from === to) return;
    this.#afterReturn = false;
    const room = maxEventBytes - this.#lineLength;
    if (to - from > room) this.#lineIsLong = true;
    const end = Math.min(to, from + room);
    this.#line.set(bytes.subarray(from, end), this.#lineLength);
    this.#lineLength += end - from;
  }

  /** `state().done`, for each piece. */
  get isDone(): boolean {
    return this.#done;
  }

  state(): StreamState {
    return {
      betweenEvents: this.#lineLength === 0 && !this.#eventIsOpen,
      done: this.#done,
      toldError: this.#toldError,
      events: this.#events,
    };
  }

  #endLine(): void {
    if (this.#lineLength === 0) {
      this.#endEvent();
    } else {
      this.#eventIsOpen = true;
      this.#readField();
    }
    this.#lineLength = 0;
    this.#lineIsLong = false;
    this.#firstLine = false;
  }

  #readField(): void {
    const start = this.#firstLine && this.#lineHas(byteOrderMark, 0) ? byteOrderMark.length : 0;
    if (!this.#lineHas(dataField, start)) return;
    let from = start + dataField.length;
    if (from < this.#lineLength && this.#line[from] !== colon) return;
    from++;
    if (from < this.#lineLength && this.#line[from] === space) from++;
    this.#addData(from);
  }

  #addData(from: number): void {
    const length = this.#lineLength - from;
    const room = maxEventBytes - (this.#data?.length ?? 0);
    const dull = length > maxMarkerBytes && !mayTellError(this.#line, from, this.#lineLength);
    if (this.#lineIsLong || length > room || dull) {
      this.#unread = true;
      this.#data ??= "";
      return;
    }
    const value = decodeUtf8(this.#line, from, this.#lineLength);
    this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
  }

  #lineHas(bytes: readonly number[], at: number): boolean {
    return this.#lineLength >= at + bytes.length && bytes.every((byte, index) => this.#line[at + index] === byte);
  }

  #endEvent(): void {
    if (this.#data !== null) {
      this.#events++;
      if (!this.#unread) this.#understand(this.#data);
    }
    this.#data = null;
    this.#unread = false;
    this.#eventIsOpen = false;
  }

  #understand(data: string): void {
    if (data.trim() === "[DONE]") this.#done = true;
    else this.#toldError ??= readToldError(data);
  }
}
