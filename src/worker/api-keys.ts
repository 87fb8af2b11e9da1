/** The secret `API_KEYS` at work: may this request pass, and what does a backend get in the key's place? */
import { judgeApiKey, readApiKeys } from "../shared/api-key.ts";
import type { ApiKey, ApiKeyVerdict, HashedApiKey } from "../shared/api-key.ts";
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
    const bearer = /^\s*bearer\s+(\S+)\s*$/i.exec(headers.get("authorization") ?? "")?.[1] ?? null;
    if (xApiKey === null && bearer === null) return { kind: "invalid" };
    const [hashed, shown, shownBearer] = await Promise.all([
      this.#hashes(),
      xApiKey === null ? null : sha256(xApiKey.trim()),
      bearer === null ? null : sha256(bearer),
    ]);
    return judgeApiKey(hashed, { xApiKey: shown, bearer: shownBearer });
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
