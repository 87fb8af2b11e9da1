/** A client that sends exactly the fields it is told to: `fetch` adds its own to conditional requests. */
import type { ClientRequest } from "node:http";
import { Agent, request as httpRequest } from "node:http";

export interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
}

export class RawClient {
  readonly #agent: Agent;
  readonly #url: URL;

  constructor(url: URL, sockets: number) {
    this.#url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets: sockets });
  }

  ask(target: string, sent: Sent = {}): Promise<Received> {
    return new Promise((resolve, reject) => {
      const outgoing = this.begin(target, sent);
      outgoing.on("error", reject);
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const body = Buffer.concat(chunks).toString("utf8");
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body });
        });
      });
    });
  }

  /** A request of whose fate the caller takes care. */
  begin(target: string, sent: Sent = {}): ClientRequest {
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(sent.headers ?? {})) {
      headers[name] = typeof value === "string" ? value : [...value];
    }
    if (sent.body !== undefined) headers["content-length"] = String(Buffer.byteLength(sent.body));
    const { hostname: host, port } = this.#url;
    const outgoing = httpRequest({
      host,
      port,
      path: target,
      method: sent.method ?? "GET",
      headers,
      agent: this.#agent,
    });
    outgoing.end(sent.body);
    return outgoing;
  }

  close(): void {
    this.#agent.destroy();
  }
}
