/** A client on a bare socket: says what it likes, hears every byte, and leaves as rudely as it wants. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface RawAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** As it was sent: chunked, if it was. */
  readonly body: Buffer;
  /** The connection was closed or reset by the edge rather than kept. */
  readonly ended: "open" | "closed" | "reset";
}

export function valuesOf(answer: RawAnswer, name: string): string[] {
  return answer.headers.filter(([known]) => known.toLowerCase() === name).map(([, value]) => value);
}

export interface RawAsk {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export function requestBytes(target: string, { method = "GET", headers = {}, body }: RawAsk = {}): Buffer {
  const length = body === undefined ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
  const all = { Host: "edge.example", ...length, ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`), Buffer.from(body ?? "")]);
}

/** Opens a connection and sends the bytes; the socket is the caller's. */
export async function openRaw(port: number, bytes: Buffer): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  return socket;
}

/** One request and all of its answer: until the body is complete, or the connection ends. */
export async function askRaw(port: number, target: string, ask: RawAsk = {}): Promise<RawAnswer> {
  return answerOn(await openRaw(port, requestBytes(target, ask)), ask.method === "HEAD");
}

/** As `askRaw`, with a body that comes piece by piece, until there is an answer. */
export async function askInPieces(port: number, opening: Buffer, pieces: readonly Buffer[]): Promise<RawAnswer> {
  const socket = await openRaw(port, opening);
  const answer = answerOn(socket, false);
  let isAnswered = false;
  socket.once("data", () => (isAnswered = true));
  for (const piece of pieces) {
    if (isAnswered || socket.destroyed) break;
    socket.write(piece);
    await sleep(10);
  }
  return answer;
}

async function answerOn(socket: Socket, isHead: boolean): Promise<RawAnswer> {
  let seen: Buffer = Buffer.alloc(0);
  const ended = await new Promise<RawAnswer["ended"]>((resolve) => {
    socket.on("data", (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes]);
      if (isComplete(seen, isHead)) resolve("open");
    });
    socket.once("error", () => resolve("reset"));
    socket.once("end", () => resolve("closed"));
  });
  socket.destroy();
  return { ...readHead(seen), ended };
}

function readHead(bytes: Buffer): Omit<RawAnswer, "ended"> {
  const end = bytes.indexOf("\r\n\r\n");
  // The runtime says "continue" by itself; the answer follows.
  if (bytes.subarray(0, 12).toString("latin1") === "HTTP/1.1 100") return readHead(bytes.subarray(end + 4));
  const [line = "", ...fields] = bytes.subarray(0, Math.max(0, end)).toString("latin1").split("\r\n");
  const headers = fields.map((field): [string, string] => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  });
  return { status: Number(line.split(" ")[1]), headers, body: end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 4) };
}

function isComplete(bytes: Buffer, isHead: boolean): boolean {
  const { status, headers, body } = readHead(bytes);
  if (Number.isNaN(status)) return false;
  if (isHead || status === 204 || status === 304) return true;
  const value = (name: string): string | undefined => headers.find(([known]) => known.toLowerCase() === name)?.[1];
  if (value("transfer-encoding") === "chunked")
    return body.subarray(-7).toString("latin1").endsWith("\r\n0\r\n\r\n") || body.equals(Buffer.from("0\r\n\r\n"));
  return body.length >= Number(value("content-length") ?? Infinity);
}
