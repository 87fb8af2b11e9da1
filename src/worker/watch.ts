/** Keeps a lease alive while its request runs, and hears whether its backend is lost. */
import type { RouteClass } from "../shared/route.ts";
import type { Edge } from "./edge.ts";

export interface Held {
  readonly leaseId: string;
  readonly backend: string;
  readonly routeClass: RouteClass;
}

/** Renews until the returned function is called. A renewal that fails is no sign of death. */
export function keepLease(edge: Edge, held: Held, onLost: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let over = false;
  const everyMs = edge.config.WATCH.renew * 1000;
  const renew = async (): Promise<void> => {
    edge.findings.counters.registryCalls.renew += 1;
    try {
      const { lost } = await edge.registry.renew(held.leaseId, held.backend, held.routeClass);
      if (lost && !over) onLost();
    } catch (error) {
      edge.warnOncePerMinute("renewal_failed", error);
    }
    if (!over) timer = setTimeout(() => void renew(), everyMs);
  };
  timer = setTimeout(() => void renew(), everyMs);
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
