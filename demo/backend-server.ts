/** One stand-in server: a listener with the faults of its moment, the routes behind it, and its control endpoint. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Control } from "./control.ts";
import { JimengError, statusOf } from "./dialect.ts";
import { readBody, resetConnection, sendText, type Exchange } from "./exchange.ts";
import type { Fault } from "./fault.ts";
import { cutInHalf, sendGatewayPage, spoiledBefore } from "./generation.ts";
import { answer } from "./routes.ts";
import { DemoState, type DemoOptions } from "./state.ts";
import { Traffic } from "./traffic.ts";

/** Idle keep-alive connections are closed after so long, as measured on the real servers; they announce it too. */
const keepAliveMs = 5000;
const noQuery = new URLSearchParams();
const garbage = "\u0000\u0001\u0002 this is not HTTP\r\n\r\n";

export class DemoBackend {
  readonly state: DemoState;
  readonly #traffic = new Traffic();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #controlServer: Server;
  readonly #control: Control;

  constructor(options: DemoOptions) {
    this.state = new DemoState(options);
    const listener = { refuse: () => this.#refuse(), accept: () => this.#accept() };
    this.#control = new Control(this.state, this.#traffic, listener);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#handle(request, response);
    const timeouts = { keepAliveTimeout: keepAliveMs, keepAliveTimeoutBuffer: 0, requestTimeout: 0 };
    this.#server = createServer(timeouts, onRequest);
    this.#server.on("connection", (socket: Socket) => this.#onConnection(socket));
    this.#controlServer = createServer((request, response) => void this.#control.answer(request, response));
  }

  async listen(): Promise<{ readonly port: number; readonly controlPort: number }> {
    const { host, port, controlPort } = this.state.options;
    this.state.port = await listenOn(this.#server, port, host);
    return { port: this.state.port, controlPort: await listenOn(this.#controlServer, controlPort, "127.0.0.1") };
  }

  close(): void {
    this.#refuse();
    this.#controlServer.close();
    this.#controlServer.closeAllConnections();
  }

  #refuse(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async #accept(): Promise<void> {
    if (!this.#server.listening) await listenOn(this.#server, this.state.port, this.state.options.host);
  }

  #onConnection(socket: Socket): void {
    const fault = this.state.faults.empty ? null : this.state.faults.connection();
    if (fault?.kind === "reset") socket.resetAndDestroy();
    if (fault?.kind === "garbage") socket.end(garbage);
    this.#sockets.add(socket);
    this.#traffic.connections += 1;
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#traffic.connections -= 1;
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? "/";
    const mark = url.indexOf("?");
    const path = mark < 0 ? url : url.slice(0, mark);
    if (path.startsWith("/__demo/")) return this.#control.answer(request, response);
    this.#traffic.saw(request, path);
    this.#traffic.inFlight += 1;
    response.once("close", () => (this.#traffic.inFlight -= 1));
    const query = mark < 0 ? noQuery : new URLSearchParams(url.slice(mark));
    const { dialect } = this.state;
    const exchange: Exchange = { request, response, method: request.method ?? "GET", path, query, dialect };
    try {
      const fault = this.state.faults.empty ? null : this.state.faults.request(path);
      if (fault !== null && (await befalls(exchange, fault))) return;
      if (mark >= 0 && (await this.#spoiledByQuery(exchange))) return;
      await answer(this.state, exchange);
    } catch (error) {
      this.#fail(exchange, error);
    }
  }

  #fail(exchange: Exchange, error: unknown): void {
    const failure = error instanceof JimengError ? error : new JimengError(-1000, String(error));
    const status = statusOf(this.state.options.dialect, failure.code);
    sendText(exchange, status, "application/json; charset=utf-8", failure.body());
  }

  /** Markers in a query serve the routes that have no prompt. */
  async #spoiledByQuery(exchange: Exchange): Promise<boolean> {
    const text = [...exchange.query.values()].join(" ");
    if (!text.includes("[[")) return false;
    const markers = this.state.markersFor(text);
    if (markers.delay !== undefined) await sleep(Number(markers.delay));
    if (markers.silent !== undefined) return true;
    if (markers.code !== undefined) throw new JimengError(Number(markers.code), markers.message);
    if (markers.reset !== undefined) resetConnection(exchange.request);
    else if (markers.garbage !== undefined) exchange.request.socket.end(garbage);
    else if (markers.cut !== undefined) cutInHalf(exchange, 200, '{"data":[{"id":"jimeng"}]}', markers.cut === "clean");
    else return spoiledBefore(exchange, markers);
    return true;
  }
}

/** What a fault does to one request; true when the exchange is over. */
async function befalls(exchange: Exchange, fault: Fault): Promise<boolean> {
  const { request } = exchange;
  if (fault.kind === "delay") {
    await sleep(fault.ms ?? 1000);
    return false;
  }
  if (fault.kind === "freeze") return true;
  await readBody(request);
  if (fault.kind === "status") sendGatewayPage(exchange, fault.status ?? 502, fault.retryAfter?.toString());
  else if (fault.kind === "cut") cutInHalf(exchange, 200, '{"data":[{"id":"jimeng"}]}', false);
  else if (fault.kind === "garbage") request.socket.end(garbage);
  else if (fault.kind === "drop") request.socket.end();
  else resetConnection(request);
  return true;
}

function listenOn(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
