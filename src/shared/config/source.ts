/** From what an environment holds – JSON text, values that TOML already parsed – to plain values by their setting's name. */
import type { ConfigFault } from "./config.ts";
import { fault } from "./fault.ts";

/** Settings that may stand beside `CONFIG` as variables of their own; a variable wins. */
export const variableNames = ["RUNTIME", "BASE_PATH", "TRUSTED_PROXIES", "ROUTES", "PICKS"] as const;
type VariableName = (typeof variableNames)[number];

export type Source = Readonly<Record<string, unknown>>;

export interface RawConfig {
  /** Of `BACKEND_SERVERS`; undefined where it is missing or broken. */
  readonly backends: unknown;
  readonly backendsBroken: boolean;
  /** The keys of `CONFIG`, with the variables laid over them. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly fromConfig: Readonly<Record<string, unknown>>;
  readonly variables: readonly VariableName[];
  readonly faults: readonly ConfigFault[];
  readonly warnings: readonly string[];
}

/** A secret's limit on Workers, in bytes: https://developers.cloudflare.com/workers/platform/limits/#environment-variables */
const workersLimitBytes = 5 * 1024;
/** Beyond a mebibyte nothing is a configuration. */
const maxCharacters = 1024 * 1024;

export function readSource(source: Source): RawConfig {
  const faults: ConfigFault[] = [];
  const warnings: string[] = [];
  for (const name of ["BACKEND_SERVERS", "CONFIG"]) {
    const size = byteLength(ownValue(source, name));
    if (size > workersLimitBytes)
      warnings.push(`${name}: ${size} bytes; Cloudflare takes at most ${workersLimitBytes} in a variable or secret`);
  }
  const backends = parsed(source, "BACKEND_SERVERS", "a JSON list of backends", faults);
  const config = parsed(source, "CONFIG", "a JSON object of settings", faults);
  const fromConfig = asSettings(config.value, faults);
  const settings: Record<string, unknown> = { ...fromConfig };
  const variables: VariableName[] = [];
  for (const name of variableNames) {
    const variable = readVariable(source, name, faults);
    if (variable === undefined) continue;
    settings[name] = variable;
    variables.push(name);
  }
  return {
    backends: backends.value,
    backendsBroken: backends.broken,
    settings,
    fromConfig,
    variables,
    faults,
    warnings,
  };
}

function asSettings(value: unknown, faults: ConfigFault[]): Record<string, unknown> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    faults.push(fault(["CONFIG"], 'a JSON object of settings, such as {"RATE_LIMIT":{"requests":100}}', value));
    return {};
  }
  const settings: Record<string, unknown> = { ...value };
  if (Object.hasOwn(settings, "BACKEND_SERVERS")) {
    delete settings["BACKEND_SERVERS"];
    faults.push({
      field: "BACKEND_SERVERS",
      allowed: "a variable or secret of its own, not a part of CONFIG",
      received: "a key of CONFIG",
    });
  }
  return settings;
}

function readVariable(source: Source, name: VariableName, faults: ConfigFault[]): unknown {
  const value = ownValue(source, name);
  if (typeof value !== "string") return value;
  if (name === "BASE_PATH") return value;
  if (value.trim() === "") return undefined;
  if (name === "RUNTIME" || name === "PICKS") return value.trim();
  if (name === "TRUSTED_PROXIES" && !value.trim().startsWith("[")) return value.split(",").map((entry) => entry.trim());
  const reading = parsed(source, name, "a JSON list", faults);
  return reading.broken ? undefined : reading.value;
}

interface Parsed {
  readonly value: unknown;
  readonly broken: boolean;
}

/** JSON text is parsed, an empty text is nothing, anything else stands as it came. */
function parsed(source: Source, name: string, allowed: string, faults: ConfigFault[]): Parsed {
  const value = ownValue(source, name);
  if (typeof value !== "string") return { value, broken: false };
  if (value.trim() === "") return { value: undefined, broken: false };
  if (value.length > maxCharacters) {
    faults.push({
      field: name,
      allowed: `${allowed} of at most ${maxCharacters} characters`,
      received: `${value.length} characters`,
    });
    return { value: undefined, broken: true };
  }
  try {
    return { value: JSON.parse(value) as unknown, broken: false };
  } catch (error) {
    faults.push({ field: name, allowed, received: brokenJson(value, error) });
    return { value: undefined, broken: true };
  }
}

/** Says where JSON breaks and never shows it: it holds the backends' secrets. */
function brokenJson(text: string, error: unknown): string {
  const length = `a text of ${text.length} characters that is not JSON`;
  const first = text.trim().charAt(0);
  if (`'"\`‘“`.includes(first))
    return `${length}: it begins with the quote ${first} – take the quotes around the JSON off`;
  const position = /at position (\d+)/u.exec(error instanceof Error ? error.message : "")?.[1];
  if (position !== undefined) return `${length}: it breaks at character ${Number(position) + 1}`;
  return /[[{]/u.test(first) ? `${length}: it ends too early or has a wrong comma, quote or bracket` : length;
}

function ownValue(source: Source, name: string): unknown {
  if (typeof source !== "object" || source === null) return undefined;
  return Object.hasOwn(source, name) ? source[name] : undefined;
}

/** In UTF-8. Values that TOML parsed are not measured: what counts is the text that a secret would hold. */
function byteLength(value: unknown): number {
  if (typeof value !== "string") return 0;
  let bytes = 0;
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
  }
  return bytes;
}
