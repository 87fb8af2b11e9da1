/**
 * The edge's own keys for clients. With them, clients don't hold Jimeng tokens: they show a key of ours and the edge puts
 * the tokens in its place. Only hashes are compared, and only names are shown.
 */
import { isApiKeyName } from "./client-key.ts";
import type { ConfigFault } from "./config/config.ts";
import { credentialLength, describeCredential, howToMake, keyPattern } from "./credential.ts";

export interface ApiKey {
  readonly name: string;
  readonly key: string;
  /** Jimeng tokens joined by commas, sent in the key's place; null: the client brings its own. */
  readonly tokens: string | null;
}

/** `keys` null: the feature is off. */
export type ApiKeysReading =
  | { readonly ok: true; readonly keys: readonly ApiKey[] | null }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] };

/** What a header may carry, RFC 9110 §5.5; no spaces, since `Authorization` is split at them. */
const headerWord = /^[\x21-\x7e]+$/;
const keyMeaning = `${credentialLength} printable ASCII characters without spaces and commas; ${howToMake}`;

/**
 * Reads the secret `API_KEYS`: `{"<name>": {"key": "…", "tokens": "…"}}` as JSON text or as a value; `tokens` may be a list.
 * Missing or empty text turns the feature off. Faults name the field and never show a key.
 */
export function readApiKeys(given: unknown): ApiKeysReading {
  if (given === undefined || given === null || given === "") return { ok: true, keys: null };
  const table = typeof given === "string" ? parseJson(given) : given;
  if (!isRecord(table)) {
    return { ok: false, faults: [fault("API_KEYS", 'a JSON object {"name": {"key", "tokens"?}}', "something else")] };
  }
  const faults: ConfigFault[] = [];
  const keys = Object.entries(table).map(([name, entry]) => readApiKey(name, entry, faults));
  const seen = new Set<string>();
  for (const { name, key } of keys) {
    if (key !== "" && seen.has(key)) faults.push(fault(`API_KEYS.${name}.key`, "a key that no other name has", "***"));
    seen.add(key);
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, keys };
}

function readApiKey(name: string, entry: unknown, faults: ConfigFault[]): ApiKey {
  const field = `API_KEYS.${name}`;
  if (!isApiKeyName(name))
    faults.push(fault(field, "a name of 1–64 letters, digits, dots, dashes and underscores", name));
  const { key, tokens, ...rest } = isRecord(entry) ? entry : { key: undefined, tokens: undefined };
  if (typeof key !== "string" || !keyPattern.test(key))
    faults.push(fault(`${field}.key`, keyMeaning, describeCredential(key)));
  for (const unknown of Object.keys(rest))
    faults.push(fault(`${field}.${unknown}`, "only key and tokens", "another field"));
  return { name, key: typeof key === "string" ? key : "", tokens: readTokens(`${field}.tokens`, tokens, faults) };
}

function readTokens(field: string, given: unknown, faults: ConfigFault[]): string | null {
  if (given === undefined || given === null) return null;
  const list = Array.isArray(given) ? given : [given];
  const valid = list.length > 0 && list.every((token) => typeof token === "string" && headerWord.test(token));
  if (!valid) faults.push(fault(field, "a token, or a list of them, without spaces", "***"));
  return valid ? list.join(",") : null;
}

function fault(field: string, allowed: string, received: string): ConfigFault {
  return { field, allowed, received };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** An API key as it is held for comparing: its SHA-256, 32 bytes. */
export interface HashedApiKey {
  readonly name: string;
  readonly sha256: Uint8Array;
  readonly tokens: string | null;
}

/** SHA-256 of what a request showed. */
export interface ShownKeys {
  /** Of `X-API-Key`; null without it. */
  readonly xApiKey: Uint8Array | null;
  /** Of each token of `Authorization: Bearer`. */
  readonly bearer: readonly Uint8Array[];
}

export type ApiKeyVerdict =
  | {
      readonly kind: "ok";
      readonly name: string;
      /** The value that `Authorization` gets instead; null: it stays as it came. */
      readonly replaceAuthorization: string | null;
      /** The header that must not reach a backend, besides; null: none. */
      readonly dropHeader: "x-api-key" | null;
    }
  | { readonly kind: "invalid" };

/**
 * `X-API-Key` counts where it is sent; otherwise a Bearer key that has tokens. A key of ours is never forwarded as if it
 * were a Jimeng token: as Bearer it is invalid without tokens to put in its place, and among other tokens. Tokens that the
 * client brings beside `X-API-Key` are its own and stay, so that nobody pays for another.
 */
export function judgeApiKey(keys: readonly HashedApiKey[], shown: ShownKeys): ApiKeyVerdict {
  const byBearer = shown.bearer.map((sha256) => findKey(keys, sha256)).filter((key) => key !== null);
  const asBearer = shown.bearer.length === 1 ? (byBearer[0] ?? null) : null;
  const found = shown.xApiKey === null ? asBearer : findKey(keys, shown.xApiKey);
  if (found === null || byBearer.some((key) => key !== asBearer || key.tokens === null)) return { kind: "invalid" };
  const source = asBearer ?? (shown.bearer.length === 0 ? found : null);
  const replaceAuthorization = source === null || source.tokens === null ? null : `Bearer ${source.tokens}`;
  return {
    kind: "ok",
    name: found.name,
    replaceAuthorization,
    dropHeader: shown.xApiKey === null ? null : "x-api-key",
  };
}

/** Whether this is a key of ours. */
export function isApiKey(keys: readonly HashedApiKey[], sha256: Uint8Array): boolean {
  return findKey(keys, sha256) !== null;
}

/** Compares with every key to its end, so that the time taken tells nothing about how near a guess was. */
function findKey(keys: readonly HashedApiKey[], sha256: Uint8Array): HashedApiKey | null {
  let found: HashedApiKey | null = null;
  for (const key of keys) {
    let difference = key.sha256.length ^ sha256.length;
    for (let index = 0; index < sha256.length; index += 1)
      difference |= (key.sha256[index] ?? 0) ^ (sha256[index] as number);
    if (difference === 0) found = key;
  }
  return found;
}
