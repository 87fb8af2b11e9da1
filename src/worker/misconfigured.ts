/** A deployed Worker whose configuration is broken: every request is told so, an operator is told what. */
import type { ConfigFault } from "../shared/config/config.ts";
import type { Env } from "./env.ts";
import { failureResponse } from "./failure.ts";
import { hasAdminToken } from "./operator/token.ts";

const message =
  "The edge is misconfigured and serves nothing until that is mended; the operator's log says what is wrong.";

export async function misconfigured(request: Request, env: Env, faults: readonly ConfigFault[]): Promise<Response> {
  const known = await hasAdminToken(request, env);
  return failureResponse({ code: "configuration_invalid", message, details: known ? faults : undefined });
}
