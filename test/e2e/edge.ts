/**
 * The whole system for a test: stand-in backends as processes and the edge in workerd, with real sockets between them, as
 * `npm start` runs it but on free ports and with its state in memory.
 */
import { join } from "node:path";
import { prepareBundle } from "../../demo/bundle.ts";
import { freeOrAny, preferredPorts } from "../../demo/ports.ts";
import { startBackend, startEdge, type BackendProcess, type EdgeProcess } from "../../demo/process-start.ts";
import type { DialectName } from "../../demo/dialect.ts";
import type { Fault } from "../../demo/fault.ts";
import type { Submit } from "../../demo/jobs.ts";
import type { SeenRequest } from "../../demo/traffic.ts";
import type { DemoOptions } from "../../demo/state.ts";

const root = join(import.meta.dirname, "..", "..");

export const adminToken = "an-admin-token-for-tests";

export interface BackendSpec {
  readonly name: string;
  readonly dialect?: DialectName;
  /** Its entry in `BACKEND_SERVERS`, besides name and url: weight, priority, region, maxInFlight, … */
  readonly server?: Readonly<Record<string, unknown>>;
  /** How the stand-in behaves; by default everything it does is quick. */
  readonly demo?: Partial<DemoOptions>;
}

export interface SystemOptions {
  readonly backends: readonly BackendSpec[];
  /** `CONFIG`; the limiter is off unless it is given, so that it is not what is measured. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Laid over everything; `BACKEND_SERVERS` here replaces the list of the stand-ins. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Keeps the objects on disk, for starts after one another. */
  readonly stateFolder?: string;
  readonly logFile?: string;
}

/** Set in this process's environment: how the edges of all tests pick, where a test doesn't say it. */
export const picksVariable = "E2E_PICKS";

function picks(): Readonly<Record<string, string>> {
  const chosen = process.env[picksVariable];
  return chosen === undefined ? {} : { PICKS: chosen };
}

const quick: Partial<DemoOptions> = { imageMs: 20, videoMs: 40, retryGapMs: 10, dotMs: 20 };

export class TestBackend {
  readonly spec: BackendSpec;
  #process: BackendProcess;

  private constructor(spec: BackendSpec, started: BackendProcess) {
    this.spec = spec;
    this.#process = started;
  }

  static async start(spec: BackendSpec, port = 0): Promise<TestBackend> {
    return new TestBackend(spec, await launch(spec, port));
  }

  get name(): string {
    return this.spec.name;
  }
  get url(): string {
    return this.#process.url;
  }
  get port(): number {
    return this.#process.port;
  }
  get pid(): number {
    return this.#process.child.pid ?? 0;
  }

  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** A new process on the same port, with nothing remembered. */
  async restart(): Promise<void> {
    await this.kill();
    this.#process = await launch(this.spec, this.port);
  }

  async fault(fault: Fault): Promise<void> {
    const answer = await fetch(`${this.#process.control}/fault`, { method: "PUT", body: JSON.stringify(fault) });
    if (!answer.ok) throw new Error(await answer.text());
  }

  async heal(): Promise<void> {
    await fetch(`${this.#process.control}/fault`, { method: "DELETE" });
  }

  /** Jobs that were sent to Jimeng, so paid; of one prompt, if given. */
  async submits(prompt?: string): Promise<readonly Submit[]> {
    const query = prompt === undefined ? "" : `?prompt=${encodeURIComponent(prompt)}`;
    return (await this.#ask<{ submits: Submit[] }>(`/submits${query}`)).submits;
  }

  async submitCount(): Promise<number> {
    return (await this.#ask<{ total: number }>("/submits")).total;
  }

  /** The last hundred requests, with their headers as they came. */
  async requests(): Promise<readonly SeenRequest[]> {
    return (await this.#ask<{ requests: SeenRequest[] }>("/requests")).requests;
  }

  /** Requests by `METHOD /path` since the start (probes are `GET /ping`). */
  async counts(): Promise<Readonly<Record<string, number>>> {
    return (await this.#ask<{ requests: Record<string, number> }>("/state")).requests;
  }

  async #ask<Answer>(path: string): Promise<Answer> {
    return (await fetch(this.#process.control + path)).json() as Promise<Answer>;
  }
}

function launch(spec: BackendSpec, port: number): Promise<BackendProcess> {
  return startBackend({ ...quick, ...spec.demo, name: spec.name, dialect: spec.dialect ?? "mapped", port });
}

export class EdgeSystem {
  readonly backends: readonly TestBackend[];
  readonly #edge: EdgeProcess;

  constructor(backends: readonly TestBackend[], edge: EdgeProcess) {
    this.backends = backends;
    this.#edge = edge;
  }

  get url(): string {
    return this.#edge.url;
  }
  get port(): number {
    return this.#edge.port;
  }
  get pid(): number {
    return this.#edge.child.pid ?? 0;
  }

  backend(name: string): TestBackend {
    const found = this.backends.find((backend) => backend.name === name);
    if (found === undefined) throw new Error(`no backend ${name}`);
    return found;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(this.url + path, { headers });
  }

  /** With the admin's token. */
  operate(path: string, init: { method?: string; body?: unknown } = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
    const body = init.body === undefined ? null : JSON.stringify(init.body);
    return fetch(this.url + path, { method: init.method ?? "GET", headers, body });
  }

  /** JSON as a client with a Jimeng token sends it. */
  post(path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
    return fetch(this.url + path, {
      method: "POST",
      headers: { authorization: "Bearer a-session", "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async stopEdge(): Promise<void> {
    await this.#edge.stop();
  }

  async stop(): Promise<void> {
    await this.#edge.stop();
    await Promise.all(this.backends.map((backend) => backend.kill()));
  }
}

/** `BACKEND_SERVERS` of these stand-ins. */
export function serversOf(backends: readonly TestBackend[]): string {
  return JSON.stringify(backends.map(({ name, url, spec }) => ({ name, url, ...spec.server })));
}

/** Starts the edge before backends that run already. */
export async function startEdgeBefore(
  backends: readonly TestBackend[],
  options: Omit<SystemOptions, "backends"> = {},
): Promise<EdgeSystem> {
  const variables = {
    RUNTIME: "local",
    ADMIN_TOKEN: adminToken,
    BACKEND_SERVERS: serversOf(backends),
    CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false }, ...options.config }),
    ...(options.config?.["PICKS"] === undefined ? picks() : {}),
    ...options.variables,
  };
  const edge = await startEdge({
    root,
    bundle: await prepareBundle(root),
    host: "127.0.0.1",
    port: 0,
    stateFolder: options.stateFolder ?? null,
    variables,
    logFile: options.logFile ?? null,
  });
  return new EdgeSystem(backends, edge);
}

/** On ports that no other process is handed by chance: a stand-in that returns finds its own free, and one that is dead stays so. */
export async function startBackends(specs: readonly BackendSpec[]): Promise<readonly TestBackend[]> {
  const ports = preferredPorts(4000 + (process.pid % 3000), specs.length);
  return Promise.all(specs.map(async (spec, index) => TestBackend.start(spec, await freeOrAny(ports[index] ?? 0))));
}

export async function startSystem(options: SystemOptions): Promise<EdgeSystem> {
  return startEdgeBefore(await startBackends(options.backends), options);
}
