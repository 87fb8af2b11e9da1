/** A backend that a test writes byte by byte: for answers that no well-made server gives, and for requests as they really arrive. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

export interface RawRequest {
  readonly method: string;
  /** As it came on the request line. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Decoded, if it was chunked. */
  readonly body: Buffer;
}

export type Script = (request: RawRequest, socket: Socket) => void | Promise<void>;

export function headerOf(request: RawRequest, name: string): string | null {
  return request.headers.find(([known]) => known.toLowerCase() === name)?.[1] ?? null;
}

/** A whole answer with its length. */
export function whole(
  status: number,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = { "Content-Type": "application/json" },
): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([head(status, { ...headers, "Content-Length": String(bytes.length) }), bytes]);
}

export function head(status: number, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status} Scripted\r\n${lines.join("")}\r\n`);
}

export function chunk(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}

export const lastChunk = Buffer.from("0\r\n\r\n");

export class RawBackend {
  /** What answers everything but the probes. */
  script: Script = (_request, socket) => void socket.write(whole(200, "{}"));
  /** What happens to a request whose head has come and whose body is on its way. */
  onBegin: (target: string, socket: Socket) => void = () => undefined;
  /** Without the probes. */
  readonly requests: RawRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Targets of requests that have not come to their end. */
  readonly #begun = new Map<Socket, string>();

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => this.#onConnection(socket));
  }

  static async start(): Promise<RawBackend> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new RawBackend(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that the edge holds open to it. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Whether a request for this target is on its way in. */
  begun(target: string): boolean {
    return [...this.#begun.values()].includes(target);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    let pending: Buffer = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#begun.delete(socket);
    });
    socket.on("data", (bytes: Buffer) => {
      pending = Buffer.concat([pending, bytes]);
      const read = readRequest(pending);
      if (read === null) {
        if (pending.includes("\r\n\r\n") && !this.#begun.has(socket)) {
          this.#begun.set(socket, targetOf(pending));
          this.onBegin(targetOf(pending), socket);
        }
        return;
      }
      this.#begun.delete(socket);
      pending = pending.subarray(read.size);
      this.#answer(read.request, socket);
    });
  }

  #answer(request: RawRequest, socket: Socket): void {
    if (request.target === "/ping") {
      socket.write(whole(200, "pong", { "Content-Type": "text/plain" }));
    } else if (headerOf(request, "user-agent") === "jimeng-edge-probe") {
      socket.write(whole(200, '{"data":[{"id":"jimeng-4.5","object":"model","owned_by":"raw"}]}'));
    } else {
      this.requests.push(request);
      void this.script(request, socket);
    }
  }
}

/** Of a request whose head has come. */
function targetOf(bytes: Buffer): string {
  return bytes.subarray(0, bytes.indexOf("\r\n")).toString("latin1").split(" ")[1] ?? "";
}

function readRequest(bytes: Buffer): { request: RawRequest; size: number } | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [line = "", ...fields] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const [method = "", target = ""] = line.split(" ");
  const headers = fields.map((field): [string, string] => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  });
  const body = readBody(bytes.subarray(end + 4), headers);
  return body === null ? null : { request: { method, target, headers, body: body.bytes }, size: end + 4 + body.size };
}

/** null: there is more to come. */
function readBody(
  bytes: Buffer,
  headers: readonly (readonly [string, string])[],
): { bytes: Buffer; size: number } | null {
  const value = (name: string): string | undefined => headers.find(([known]) => known.toLowerCase() === name)?.[1];
  if (value("transfer-encoding") === "chunked") return readChunks(bytes);
  const length = Number(value("content-length") ?? 0);
  return bytes.length < length ? null : { bytes: bytes.subarray(0, length), size: length };
}

function readChunks(bytes: Buffer): { bytes: Buffer; size: number } | null {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return null;
    const size = Number.parseInt(bytes.subarray(at, end).toString("latin1"), 16);
    if (bytes.length < end + 2 + size + 2) return null;
    if (size === 0) return { bytes: Buffer.concat(parts), size: end + 4 };
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}
