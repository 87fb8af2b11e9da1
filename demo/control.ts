/** The stand-in's own endpoint, for tests and curious people: what happened, and which faults are on. Loopback only. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { readBody } from "./exchange.ts";
import { readFault } from "./fault.ts";
import type { DemoState } from "./state.ts";
import type { Traffic } from "./traffic.ts";

/** What the control endpoint does to the listener. */
export interface Listener {
  refuse(): void;
  accept(): Promise<void>;
}

const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "::ffff:127.0.0.1"]);

export class Control {
  readonly #state: DemoState;
  readonly #traffic: Traffic;
  readonly #listener: Listener;

  constructor(state: DemoState, traffic: Traffic, listener: Listener) {
    this.#state = state;
    this.#traffic = traffic;
    this.#listener = listener;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!loopback.has(request.socket.remoteAddress ?? "")) return reply(response, 403, { error: "loopback only" });
    const url = new URL(request.url ?? "/", "http://demo");
    const label = `${request.method} ${url.pathname}`;
    if (url.pathname.startsWith("/__demo/pictures/")) return sendPicture(response, url.pathname);
    switch (label) {
      case "GET /__demo/state":
        return reply(response, 200, this.#view());
      case "GET /__demo/submits":
        return reply(response, 200, this.#submits(url.searchParams.get("prompt")));
      case "DELETE /__demo/submits":
        this.#state.jobs.clear();
        this.#traffic.clear();
        return reply(response, 200, {});
      case "GET /__demo/requests":
        return reply(response, 200, { requests: this.#traffic.recent() });
      case "PUT /__demo/fault":
        return this.#switchOn(request, response);
      case "DELETE /__demo/fault":
        this.#state.faults.clear();
        await this.#listener.accept();
        return reply(response, 200, { faults: [] });
      default:
        return reply(response, 404, { error: `unknown: ${label}` });
    }
  }

  #view(): Record<string, unknown> {
    const { options, faults, jobs } = this.#state;
    const { name, dialect } = options;
    const { connections, inFlight, byRoute, total } = this.#traffic;
    const requests = Object.fromEntries(byRoute);
    const running = { connections, inFlight, jobsRunning: jobs.running, uptimeS: Math.round(process.uptime()) };
    return {
      name,
      dialect,
      pid: process.pid,
      port: this.#state.port,
      ...running,
      total,
      requests,
      faults: faults.list(),
    };
  }

  #submits(prompt: string | null): Record<string, unknown> {
    const { jobs } = this.#state;
    const submits = jobs.list(prompt);
    return { total: prompt === null ? jobs.total : submits.length, byPrompt: jobs.byPrompt(), submits };
  }

  async #switchOn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = (await readBody(request)).toString("utf8");
    const fault = readFault(parse(text));
    if (typeof fault === "string") return reply(response, 400, { error: fault });
    this.#state.faults.add(fault);
    reply(response, 200, { faults: this.#state.faults.list() });
    if (fault.kind === "refuse") this.#listener.refuse();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
  response.end(text);
}

/** Colours by the picture's name, so that two of them look different. */
function sendPicture(response: ServerResponse, path: string): void {
  const name = decodeURIComponent(path.slice("/__demo/pictures/".length)).replaceAll(/[^\w.-]/g, "");
  const hue = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512"><rect width="512" height="512" fill="hsl(${hue} 70% 60%)"/><text x="24" y="488" font-family="sans-serif" font-size="22">${name}</text></svg>`;
  response.writeHead(200, { "Content-Type": "image/svg+xml" }).end(svg);
}
