/** Who shows what: operators' bearer tokens, compared in constant time over hashes, and Cloudflare Access. */
import { createRemoteJWKSet, errors, jwksCache, jwtVerify } from "jose";
import type { JWKSCacheInput, JWTPayload } from "jose";
import type { Runtime } from "../../shared/config/config.ts";
import { membershipsOf, readOperatorAccess, roleOf } from "../../shared/operator-access.ts";
import type { AccessSettings, OperatorAccess, OperatorRole } from "../../shared/operator-access.ts";
import { sha256 } from "../api-keys.ts";
import type { Env } from "../env.ts";

export type Identity =
  /** Nothing is configured by which anybody could be known. */
  | { readonly kind: "closed"; readonly broken: boolean }
  | { readonly kind: "anonymous" }
  /** `guessed`: somebody may be trying; an assertion that was right once is no guess. */
  | { readonly kind: "wrong"; readonly guessed: boolean }
  /** The keys of Access can't be had just now. */
  | { readonly kind: "unverifiable"; readonly message: string }
  | {
      readonly kind: "known";
      readonly name: string;
      readonly role: OperatorRole | null;
      readonly by: "token" | "access";
    };

/** What Access signs with. */
const algorithms = ["RS256"];
/** Clocks of two machines differ by so much. */
const clockToleranceS = 5;
/** Access rotates its keys every six weeks and keeps the old ones for a week. */
const keysMaxAgeMs = 600_000;
/** An assertion with an unknown key makes the keys be fetched again, at most so often. */
const keysCooldownMs = 30_000;
const keysPatienceMs = 5_000;

const assertionHeader = "cf-access-jwt-assertion";

interface HashedToken {
  readonly name: string;
  readonly role: OperatorRole;
  readonly hash: Uint8Array;
}

export class OperatorGate {
  readonly #settings: OperatorAccess;
  /** The keys of Access as they came, and when: plain values, so that each request makes its own of them and fetches by itself. */
  readonly #keys: JWKSCacheInput = {};
  #hashed: readonly HashedToken[] | null = null;

  constructor(settings: OperatorAccess) {
    this.#settings = settings;
  }

  get faults(): OperatorAccess["faults"] {
    return this.#settings.faults;
  }

  get isClosed(): boolean {
    return this.#settings.tokens.length === 0 && this.#settings.access === null;
  }

  /** Whether the request shows anything that an operator might. */
  shows(headers: Headers): boolean {
    return bearerOf(headers) !== null || (this.#settings.access !== null && headers.has(assertionHeader));
  }

  async identify(headers: Headers): Promise<Identity> {
    if (this.isClosed) return { kind: "closed", broken: this.#settings.faults.length > 0 };
    const bearer = bearerOf(headers);
    const known = bearer === null ? null : await this.#findToken(bearer);
    if (known !== null) return { kind: "known", name: known.name, role: known.role, by: "token" };
    const assertion = headers.get(assertionHeader);
    const { access } = this.#settings;
    if (assertion !== null && access !== null) return verify(assertion, access, this.#keys);
    return bearer === null ? { kind: "anonymous" } : { kind: "wrong", guessed: true };
  }

  /** All of them are compared to their ends, so that the time taken tells nothing. */
  async #findToken(bearer: string): Promise<HashedToken | null> {
    const [tokens, given] = await Promise.all([this.#hashes(), sha256(bearer)]);
    let found: HashedToken | null = null;
    for (const token of tokens) if (crypto.subtle.timingSafeEqual(token.hash, given)) found = token;
    return found;
  }

  /** Made by each request that comes before the first has finished: a promise is not shared between requests. */
  async #hashes(): Promise<readonly HashedToken[]> {
    if (this.#hashed !== null) return this.#hashed;
    const hashOne = async ({ name, role, token }: OperatorAccess["tokens"][number]) => ({
      name,
      role,
      hash: await sha256(token),
    });
    const hashed = await Promise.all(this.#settings.tokens.map(hashOne));
    this.#hashed = hashed;
    return hashed;
  }
}

async function verify(assertion: string, access: AccessSettings, keys: JWKSCacheInput): Promise<Identity> {
  const keySet = createRemoteJWKSet(new URL(`${access.issuer}/cdn-cgi/access/certs`), {
    cacheMaxAge: keysMaxAgeMs,
    cooldownDuration: keysCooldownMs,
    timeoutDuration: keysPatienceMs,
    [jwksCache]: keys,
  });
  try {
    const { payload } = await jwtVerify(assertion, keySet, {
      issuer: access.issuer,
      audience: [...access.audiences],
      algorithms,
      clockTolerance: clockToleranceS,
      requiredClaims: ["exp"],
    });
    return { kind: "known", name: nameOf(payload), role: roleOf(access, membershipsOf(payload)), by: "access" };
  } catch (error) {
    if (isOfKeys(error)) return { kind: "unverifiable", message: error instanceof Error ? error.message : "unknown" };
    return { kind: "wrong", guessed: !(error instanceof errors.JWTExpired) };
  }
}

/** The keys could not be fetched or read: that says nothing about the assertion. */
function isOfKeys(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return true;
  return ["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC"].includes(error.code);
}

/** E-mail address of a person, client id of a service token. */
function nameOf(payload: JWTPayload): string {
  const names = [payload["email"], payload["common_name"], payload.sub];
  const name = names.find((candidate): candidate is string => typeof candidate === "string" && candidate !== "");
  return `access:${(name ?? "unknown").slice(0, 120)}`;
}

/** https://www.rfc-editor.org/rfc/rfc6750#section-2.1 */
function bearerOf(headers: Headers): string | null {
  return /^\s*bearer +(\S+)\s*$/i.exec(headers.get("authorization") ?? "")?.[1] ?? null;
}

const gates = new WeakMap<Env, OperatorGate>();

/** The isolate's gate for this environment; faults in the secrets are told once. */
export function gateOf(env: Env, runtime: Runtime): OperatorGate {
  let gate = gates.get(env);
  if (gate === undefined) {
    gate = new OperatorGate(readOperatorAccess(env, runtime));
    gates.set(env, gate);
    if (gate.faults.length > 0)
      console.error(JSON.stringify({ level: "error", event: "operator_access_invalid", faults: gate.faults }));
  }
  return gate;
}
