/** An origin over a real socket that answers, target by target, what a test has written down for it, and notes what it was asked. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ScriptedAnswer {
  readonly status?: number;
  /** A value may be a list: the field is sent so many times. `date: ""` sends none. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** `length`: promises more than it sends; `chunked`: ends in the middle of a chunked body; `before`: no answer at all. */
  readonly cut?: "length" | "chunked" | "before";
  /** Sends without a length. */
  readonly chunked?: boolean;
  /** Answers when this has happened. */
  readonly after?: Promise<unknown>;
  /** Having sent its body, without a length, falls silent until this has happened; then it ends well. */
  readonly endsAfter?: Promise<unknown>;
}

export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Script {
  answers: ScriptedAnswer[];
  readonly asked: Asked[];
  date: string;
}

export class ScriptedOrigin {
  readonly #scripts = new Map<string, Script>();
  readonly #server: Server;
  #arrival = Promise.withResolvers<void>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<ScriptedOrigin> {
    const server = createServer({ keepAliveTimeout: 30_000 });
    const origin = new ScriptedOrigin(server);
    server.on("request", (request, response) => void origin.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What targets under `prefix` (`/name`) get from now on, in order; the last answer repeats. */
  expect(prefix: string, nowMs: number, ...answers: readonly ScriptedAnswer[]): void {
    const script = this.#script(prefix);
    script.answers = [...answers];
    script.date = new Date(nowMs).toUTCString();
  }

  asked(prefix: string): readonly Asked[] {
    return this.#script(prefix).asked;
  }

  /** Settles at the next request, whatever its target. */
  nextRequest(): Promise<void> {
    return this.#arrival.promise;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #script(prefix: string): Script {
    let script = this.#scripts.get(prefix);
    if (script === undefined)
      this.#scripts.set(prefix, (script = { answers: [], asked: [], date: new Date(0).toUTCString() }));
    return script;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.url ?? "/";
    const script = this.#script(`/${target.split(/[/?]/)[1]}`);
    script.asked.push({ method: request.method ?? "", target, headers: request.headers as Record<string, string> });
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers<void>();
    request.resume();
    const next = script.answers.length > 1 ? script.answers.shift() : script.answers[0];
    const answer = next ?? { status: 599, body: "the test has no answer for this" };
    await answer.after;
    if (answer.cut === "before") return void request.socket.destroy();
    const body = request.method === "HEAD" || answer.status === 304 || answer.status === 204 ? "" : (answer.body ?? "");
    response.sendDate = false;
    response.writeHead(answer.status ?? 200, fieldsOf(answer, script.date, body));
    if (answer.endsAfter !== undefined) {
      response.write(body);
      await answer.endsAfter;
      return void response.end();
    }
    if (answer.cut === undefined) return void response.end(body);
    response.write(body);
    setImmediate(() => request.socket.destroy());
  }
}

function fieldsOf(answer: ScriptedAnswer, date: string, body: string | Uint8Array): string[] {
  const named = { date, ...answer.headers };
  const fields = Object.entries(named).flatMap(([name, values]) =>
    [values].flat().flatMap((value) => (name === "date" && value === "" ? [] : [name, value])),
  ) as string[];
  const size = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
  if (answer.cut === "length") fields.push("content-length", String(size + 100));
  else if (answer.cut === undefined && answer.chunked !== true && answer.endsAfter === undefined && body !== "")
    fields.push("content-length", String(size));
  return fields;
}
