/** What the generator is asked for and what it answers: values that cross the border between two processes. */

export interface Shape {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: string | null;
  /** Clients: each request carries another of these addresses, in turn. */
  readonly addresses: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
}

export interface ClosedLoop {
  readonly kind: "closed";
  readonly port: number;
  readonly shape: Shape;
  readonly requests: number;
  /** Each sends its next request when its last one is answered. */
  readonly connections: number;
}

export interface OpenLoop {
  readonly kind: "open";
  readonly port: number;
  readonly shape: Shape;
  readonly requests: number;
  /** Requests a second, sent when they are due, whatever became of those before. */
  readonly rate: number;
}

export type Load = ClosedLoop | OpenLoop;

export interface LoadResult {
  readonly elapsedMs: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<number, number>>;
  /** From when a request was due to the end of its answer, ascending, in milliseconds. */
  readonly latenciesMs: readonly number[];
  /** CPU of the generator itself for each request, in microseconds. */
  readonly ownCpuUs: number;
}

export function encodeRequests(shape: Shape, port: number): Buffer[] {
  const body = shape.body ?? "";
  const length = shape.body === null ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
  const more = Object.entries(shape.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return shape.addresses.map((address) =>
    Buffer.from(
      `${shape.method} ${shape.path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nuser-agent: bench\r\naccept: */*\r\ncf-connecting-ip: ${address}\r\n${more.join("")}${length}\r\n${body}`,
    ),
  );
}
