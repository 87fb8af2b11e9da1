/** What came in at one stand-in: counts by route and the last requests with their headers. */
import type { IncomingMessage } from "node:http";

export interface SeenRequest {
  readonly atMs: number;
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
}

const keptRequests = 100;
/** Paths come from clients; what is beyond this is counted in `total` only. */
const keptRoutes = 500;

export class Traffic {
  readonly byRoute = new Map<string, number>();
  total = 0;
  inFlight = 0;
  connections = 0;
  #ring: SeenRequest[] = [];
  #next = 0;

  saw(request: IncomingMessage, path: string): void {
    const method = request.method ?? "GET";
    const route = `${method} ${path}`;
    const count = this.byRoute.get(route);
    if (count !== undefined || this.byRoute.size < keptRoutes) this.byRoute.set(route, (count ?? 0) + 1);
    this.total += 1;
    this.#ring[this.#next] = { atMs: Date.now(), method, url: request.url ?? "/", rawHeaders: request.rawHeaders };
    this.#next = (this.#next + 1) % keptRequests;
  }

  /** Oldest first. */
  recent(): readonly SeenRequest[] {
    return [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }

  clear(): void {
    this.byRoute.clear();
    this.total = 0;
    this.#ring = [];
    this.#next = 0;
  }
}
