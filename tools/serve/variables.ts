/** What the self-hosted Worker is given: the environment, then a file of variables, and where it runs. */
import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import type { ConfigFault } from "../../src/shared/config/config.ts";
import { readConfig } from "../../src/shared/config/read.ts";
import { variableNames } from "../../src/shared/config/source.ts";

const secretNames = ["BACKEND_SERVERS", "CONFIG", "ADMIN_TOKEN", "ADMIN_TOKENS", "ACCESS", "API_KEYS"] as const;

export interface Variables {
  readonly values: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/**
 * A variable of the environment wins over the file. Nothing else of the environment gets in. The client is whoever holds
 * the socket, whatever was asked for: there is no Cloudflare in front that would vouch for a header.
 */
export function readVariables(file: string, environment: Readonly<Record<string, string | undefined>>): Variables {
  const fromFile = existsSync(file) ? parseEnv(readFileSync(file, "utf8")) : {};
  const values: Record<string, string> = {};
  for (const name of [...secretNames, ...variableNames]) {
    const value = environment[name] ?? fromFile[name];
    if (value !== undefined) values[name] = value;
  }
  const asked = values["RUNTIME"];
  const isOther = asked !== undefined && asked !== "self-hosted";
  const warnings = isOther
    ? [`RUNTIME: ${JSON.stringify(asked)} is not used; npm run serve is always "self-hosted"`]
    : [];
  return { values: { ...values, RUNTIME: "self-hosted" }, warnings };
}

/** What keeps the Worker from serving anything; empty when it would start. */
export function faultsOf(values: Readonly<Record<string, string>>): readonly ConfigFault[] {
  const reading = readConfig(values);
  return reading.ok ? [] : reading.faults;
}
