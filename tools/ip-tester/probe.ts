/**
 * One measured request. Every probe opens a connection of its own, so that the cost of reaching the server (name, TCP, TLS) is
 * part of what is measured; the parts come from the socket's events.
 */
import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Socket } from "node:net";
import { failureOf, ProbeTimeout } from "./cause.ts";
import type { Failure, Phase } from "./cause.ts";

export interface Target {
  readonly name: string;
  /** Origin and optional path prefix, no trailing slash. */
  readonly url: string;
  /** Begins with a slash; put behind `url`. */
  readonly path: string;
  /** Secret headers that the server wants; sent, never shown. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface ProbeSettings {
  /** Of the whole request, from the look-up of the name to the last byte. */
  readonly timeoutMs: number;
  /** Text that the body must contain; null: any 2xx answer is good. */
  readonly expect: string | null;
}

/** Milliseconds. `dnsMs` is null where the URL holds an address, `tlsMs` where it says http. */
export interface Timings {
  readonly dnsMs: number | null;
  readonly tcpMs: number;
  readonly tlsMs: number | null;
  /** From the request's departure to the answer's header. */
  readonly firstByteMs: number;
  /** From the beginning to the last byte. */
  readonly totalMs: number;
}

export type ProbeResult =
  { readonly ok: true; readonly timings: Timings } | { readonly ok: false; readonly failure: Failure };

export type Probe = (target: Target, settings: ProbeSettings) => Promise<ProbeResult>;

/** The body is compared up to here; a longer one is read to its end but not kept. */
const keptBodyBytes = 1024 * 1024;

/** Shown of a wrong body. */
const excerptCharacters = 60;

/**
 * Node tries a host's next address after 250 ms, less than one handshake to another continent takes. Longer, and the first
 * address is measured instead of the race.
 */
const addressAttempts = { autoSelectFamilyAttemptTimeout: 1000 };

export const probe: Probe = (target, settings) =>
  new Promise((resolve) => {
    const url = new URL(target.url + target.path);
    const marks = new Marks(url);
    const request = (marks.encrypted ? https : http).request(url, {
      method: "GET",
      // Without an agent no connection is ever used twice.
      agent: false,
      headers: { "user-agent": "jimeng-edge-ip-tester", accept: "*/*", ...target.headers },
      ...addressAttempts,
    });
    const settle = (result: ProbeResult) => {
      clearTimeout(timer);
      request.destroy();
      resolve(result);
    };
    const fail = (error: unknown) => settle({ ok: false, failure: failureOf(error, marks.phase()) });
    const timer = setTimeout(() => fail(new ProbeTimeout(settings.timeoutMs)), settings.timeoutMs);

    request.on("socket", (socket) => marks.follow(socket));
    request.on("error", fail);
    request.on("response", (response) => {
      marks.firstByteAt = performance.now();
      readText(response).then((body) => {
        marks.endedAt = performance.now();
        const failure = judge(response.statusCode ?? 0, body, settings.expect);
        settle(failure === null ? { ok: true, timings: marks.timings() } : { ok: false, failure });
      }, fail);
    });
    request.end();
  });

/** Rejects when the body is cut short: Node raises `ECONNRESET` then. */
async function readText(response: http.IncomingMessage): Promise<string> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (bytes < keptBodyBytes) kept.push(chunk);
    bytes += chunk.length;
  }
  return Buffer.concat(kept).toString("utf8");
}

function judge(status: number, body: string, expect: string | null): Failure | null {
  if (status < 200 || status > 299) return { cause: "http_status", phase: "first_byte", detail: String(status) };
  if (expect === null || body.includes(expect)) return null;
  const excerpt = body.replaceAll(/\s+/g, " ").trim().slice(0, excerptCharacters);
  return { cause: "wrong_body", phase: "body", detail: JSON.stringify(excerpt) };
}

/** The moments of one request, as its socket tells them. */
class Marks {
  readonly encrypted: boolean;
  /** The URL holds an address, so that no name is looked up. */
  readonly byAddress: boolean;
  readonly startedAt = performance.now();
  resolvedAt: number | null = null;
  connectedAt: number | null = null;
  securedAt: number | null = null;
  firstByteAt: number | null = null;
  endedAt: number | null = null;

  constructor(url: URL) {
    this.encrypted = url.protocol === "https:";
    this.byAddress = isIP(url.hostname.replace(/^\[|\]$/g, "")) !== 0;
  }

  follow(socket: Socket): void {
    // One event for each address of the host: the first is the look-up's end.
    socket.on("lookup", (error: Error | null) => {
      if (error === null) this.resolvedAt ??= performance.now();
    });
    socket.once("connect", () => {
      this.connectedAt = performance.now();
    });
    socket.once("secureConnect", () => {
      this.securedAt = performance.now();
    });
  }

  phase(): Phase {
    if (this.firstByteAt !== null) return "body";
    if (this.connectedAt === null) return this.resolvedAt !== null || this.byAddress ? "connect" : "dns";
    return this.encrypted && this.securedAt === null ? "tls" : "first_byte";
  }

  timings(): Timings {
    const resolvedAt = this.resolvedAt ?? this.startedAt;
    const connectedAt = this.connectedAt ?? resolvedAt;
    const readyAt = this.securedAt ?? connectedAt;
    return {
      dnsMs: this.resolvedAt === null ? null : resolvedAt - this.startedAt,
      tcpMs: connectedAt - resolvedAt,
      tlsMs: this.securedAt === null ? null : this.securedAt - connectedAt,
      firstByteMs: (this.firstByteAt ?? readyAt) - readyAt,
      totalMs: (this.endedAt ?? readyAt) - this.startedAt,
    };
  }
}
