/** The Worker's variables and secrets for a local start: the environment, then `.dev.vars`, then the demo's own. */
import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";

/** What the Worker reads; the rest of the environment is none of its business. */
const variableNames = [
  "BACKEND_SERVERS",
  "CONFIG",
  "ADMIN_TOKEN",
  "ADMIN_TOKENS",
  "ACCESS",
  "API_KEYS",
  "RUNTIME",
  "BASE_PATH",
  "TRUSTED_PROXIES",
  "ROUTES",
  "PICKS",
] as const;

/** For a demo on loopback; anything else sets its own. */
export const demoAdminToken = "demo-admin-token";

export function readVariables(devVarsFile: string, environment: NodeJS.ProcessEnv): Record<string, string> {
  const given: Record<string, string> = { RUNTIME: "local", ADMIN_TOKEN: demoAdminToken };
  const file = existsSync(devVarsFile) ? parseEnv(readFileSync(devVarsFile, "utf8")) : {};
  for (const [name, value] of Object.entries(file)) if (value !== undefined) given[name] = value;
  for (const name of variableNames) {
    const value = environment[name];
    if (value !== undefined) given[name] = value;
  }
  return given;
}
