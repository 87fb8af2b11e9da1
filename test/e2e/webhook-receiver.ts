/** A chat's webhook on loopback: keeps what it was sent, and answers as told. */
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
}

export class WebhookReceiver {
  readonly received: Received[] = [];
  /** How it answers: a status and a body, or not at all. */
  answer: { readonly status: number; readonly body: string } | "nothing" = {
    status: 200,
    body: '{"errcode":0,"code":0}',
  };
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<WebhookReceiver> {
    const server = createServer();
    const receiver = new WebhookReceiver(server);
    server.on("request", (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")));
      request.on("end", () => {
        receiver.received.push({ url: request.url ?? "", headers: request.headers, body, atMs: Date.now() });
        if (receiver.answer === "nothing") return;
        response.writeHead(receiver.answer.status, { "content-type": "application/json" }).end(receiver.answer.body);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return receiver;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  /** What was sent to a path, as JSON. */
  bodies(path: string): readonly Record<string, unknown>[] {
    const sent = this.received.filter(({ url }) => url.startsWith(path));
    return sent.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  }

  /** Statuses of the alerts of one rule that the path of a `json` webhook was told, in order. */
  statuses(path: string, rule: string): readonly string[] {
    const alerts = this.bodies(path).flatMap(({ alerts: told }) => told as { rule: string; status: string }[]);
    return alerts.filter((alert) => alert.rule === rule).map(({ status }) => status);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
