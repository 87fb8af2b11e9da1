/** A deployed Worker whose configuration is broken: every request is told so, an operator is told what. */
import type { ConfigFault } from "../shared/config/config.ts";
import type { Env } from "./env.ts";
import { failureResponse } from "./failure.ts";
import { gateOf } from "./operator/gate.ts";

const message =
  "The edge is misconfigured and serves nothing until that is mended; the operator's log says what is wrong.";

export async function misconfigured(request: Request, env: Env, faults: readonly ConfigFault[]): Promise<Response> {
  // Without a configuration nobody knows the runtime, so the strictest is assumed, and no address to count guesses by.
  const identity = await gateOf(env, "cloudflare").identify(request.headers);
  const known = identity.kind === "known" && identity.role !== null;
  return failureResponse({ code: "configuration_invalid", message, details: known ? faults : undefined });
}
