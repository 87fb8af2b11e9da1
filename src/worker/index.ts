/** Exports and wiring; no decisions. The one file of this room that names the objects' classes. */
import { edgeOf } from "./edge.ts";
import { registryOf } from "./env.ts";
import type { Env } from "./env.ts";
import { sweepLogs } from "./log/retention.ts";
import { handle } from "./pipeline.ts";

export { BackendRegistry } from "../durable/backend-registry.ts";
export { OperationsLedger } from "../durable/operations-ledger.ts";
export { RateLimiter } from "../durable/rate-limiter.ts";

export default {
  fetch(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response> {
    return handle(request, env, ctx);
  },

  async scheduled(_controller: ScheduledController, env: Env, ctx: ExecutionContext): Promise<void> {
    ctx.waitUntil(sweepLogs(env, (work) => ctx.waitUntil(work)));
    const reading = edgeOf(env);
    // A new deployment's first call may be this one, and where it is made the registry stays.
    await registryOf(env, reading.ok ? reading.edge.config.LOCATION.registry : null).wake();
  },
} satisfies ExportedHandler<Env>;
