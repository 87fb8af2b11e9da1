/**
 * One keep-alive HTTP/1.1 connection that has at most one request under way (RFC 9112). It looks at no more of an answer
 * than its status and its end, so that the generator costs a fraction of what it measures.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

export type OnAnswer = (status: number) => void;

const headEnd = Buffer.from("\r\n\r\n");
const chunkedEnd = Buffer.from("0\r\n\r\n");

export class Connection {
  readonly #socket: Socket;
  #onAnswer: OnAnswer | null = null;
  #onFailure: (error: Error) => void;
  #received: Buffer = Buffer.alloc(0);

  constructor(port: number, onFailure: (error: Error) => void) {
    this.#onFailure = onFailure;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (bytes) => this.#take(bytes));
    this.#socket.on("error", (error) => this.#onFailure(error));
    this.#socket.on("close", () => {
      if (this.#onAnswer !== null) this.#onFailure(new Error("the connection was closed before the answer's end"));
    });
  }

  get isBusy(): boolean {
    return this.#onAnswer !== null;
  }

  send(request: Buffer, onAnswer: OnAnswer): void {
    this.#onAnswer = onAnswer;
    this.#socket.write(request);
  }

  close(): void {
    this.#onAnswer = null;
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    const status = finishedStatus(this.#received);
    if (status === null) return;
    const onAnswer = this.#onAnswer;
    this.#received = Buffer.alloc(0);
    this.#onAnswer = null;
    onAnswer?.(status);
  }
}

/** The status of a whole answer; null while some of it is missing. */
export function finishedStatus(received: Buffer): number | null {
  const end = received.indexOf(headEnd);
  if (end < 0) return null;
  const head = received.toString("latin1", 0, end).toLowerCase();
  const status = Number(head.slice(9, 12));
  const body = received.subarray(end + headEnd.length);
  const at = head.indexOf("\r\ncontent-length:");
  if (at >= 0) return body.length >= Number.parseInt(head.slice(at + 17), 10) ? status : null;
  if (!head.includes("\r\ntransfer-encoding: chunked")) return status;
  return body.subarray(-chunkedEnd.length).equals(chunkedEnd) ? status : null;
}
