/** The secret `API_KEYS` at work: may this request pass, and what does a backend get in the key's place? */
import { isApiKey, judgeApiKey, readApiKeys } from "../shared/api-key.ts";
import type { ApiKey, ApiKeyVerdict, HashedApiKey } from "../shared/api-key.ts";
import { bearerTokens } from "../shared/client-key.ts";
import type { ConfigFault } from "../shared/config/config.ts";

/** `gate` null: the feature is off and nobody needs a key. */
export type ApiKeyGateReading =
  | { readonly ok: true; readonly gate: ApiKeyGate | null }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] };

/** Reads what the environment holds under `API_KEYS`; once per isolate. */
export function readApiKeyGate(given: unknown): ApiKeyGateReading {
  const reading = readApiKeys(given);
  if (!reading.ok) return reading;
  return { ok: true, gate: reading.keys === null ? null : new ApiKeyGate(reading.keys) };
}

export class ApiKeyGate {
  #keys: readonly ApiKey[];
  #hashed: readonly HashedApiKey[] | null = null;

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys;
  }

  async judge(headers: Headers): Promise<ApiKeyVerdict> {
    const xApiKey = headers.get("x-api-key");
    const tokens = bearerTokens(headers.get("authorization"))?.split(",") ?? [];
    if (xApiKey === null && tokens.length !== 1) return { kind: "invalid" };
    const hashed = await this.#hashes();
    const shown = xApiKey === null ? null : await sha256(xApiKey.trim());
    // A list may have thousands of tokens: only those of a client with a right key are worth looking at.
    if (shown !== null && !isApiKey(hashed, shown)) return { kind: "invalid" };
    return judgeApiKey(hashed, { xApiKey: shown, bearer: await Promise.all(tokens.map(sha256)) });
  }

  /** Made by each request that comes before the first has finished: a promise is not shared between requests. */
  async #hashes(): Promise<readonly HashedApiKey[]> {
    if (this.#hashed !== null) return this.#hashed;
    const hashOne = async ({ name, key, tokens }: ApiKey) => ({ name, tokens, sha256: await sha256(key) });
    const hashed = await Promise.all(this.#keys.map(hashOne));
    this.#hashed = hashed;
    return hashed;
  }
}

const encoder = new TextEncoder();

export async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
}
