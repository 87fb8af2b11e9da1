/** From a request to the client behind it. What may be believed is decided in `shared/client-key.ts`. */
import { AddressRanges } from "../shared/address.ts";
import type { Address } from "../shared/address.ts";
import { AdmissionRules } from "../shared/admission-rules.ts";
import type { Standing } from "../shared/admission-rules.ts";
import { BoundedMap } from "../shared/bounded-map.ts";
import { addressKey, apiKeyKey, bearerTokens, findAddress, isOthersWorker, tokenKey } from "../shared/client-key.ts";
import type { Config } from "../shared/config/config.ts";
import { sha256 } from "./api-keys.ts";

export interface Client {
  /** In its one spelling; null where nothing vouches for one. */
  readonly address: string | null;
  /** The name of the client's limiter; null without an address. */
  readonly key: string | null;
  /** `unknown`: without an address. */
  readonly standing: Standing | "unknown";
}

interface Place {
  readonly address: Address;
  readonly standing: Standing;
  readonly client: Client;
}

const unknown: Client = { address: null, key: null, standing: "unknown" };

/** Reading an address and matching it costs microseconds, and most requests come from an address just seen. */
const placesKept = 2000;
const tokensKept = 2000;
/** A header that is longer is read anew each time: clients must not fill the memory with what they invent. */
const longestKept = 1024;

/** Reads clients under one effective configuration; an isolate makes another when the configuration changes. */
export class ClientReader {
  readonly rules: AdmissionRules;
  readonly #runtime: Config["RUNTIME"];
  readonly #trustedProxies: AddressRanges;
  readonly #places = new BoundedMap<string, Place | null>(placesKept);
  readonly #tokenKeys = new BoundedMap<string, string>(tokensKept);

  constructor(config: Config) {
    this.rules = new AdmissionRules(config.RATE_LIMIT);
    this.#runtime = config.RUNTIME;
    this.#trustedProxies = new AddressRanges(config.TRUSTED_PROXIES);
  }

  /** `apiKeyName`: of the API key that the request has shown and that was right; null without one. */
  read(request: Request, apiKeyName: string | null): Client | Promise<Client> {
    const place = this.#place(request);
    if (place === null) return unknown;
    if (apiKeyName !== null) {
      const key = apiKeyKey(apiKeyName);
      if (this.rules.clientKey !== "ip" || this.rules.hasOwnLimit(key)) return { ...place.client, key };
    }
    return this.rules.clientKey === "ip" ? byAddress(place, request) : this.#byToken(place, request);
  }

  /** By address alone: of requests that nobody counted, of operators, and of those whose API key is wrong. */
  seen(request: Request): Client {
    const place = this.#place(request);
    return place === null ? unknown : byAddress(place, request);
  }

  #place(request: Request): Place | null {
    const selfHosted = this.#runtime === "self-hosted";
    const socket = selfHosted ? socketOf(request) : null;
    const forwardedFor = selfHosted ? request.headers.get("x-forwarded-for") : null;
    const cfConnectingIp = selfHosted ? null : request.headers.get("cf-connecting-ip");
    const seen = selfHosted ? `${socket ?? ""} ${forwardedFor ?? ""}` : (cfConnectingIp ?? "");
    let place = this.#places.get(seen);
    if (place === undefined) {
      const address = findAddress(this.#runtime, { cfConnectingIp, socket, forwardedFor }, this.#trustedProxies);
      place = address === null ? null : this.#placeOf(address);
      if (seen.length <= longestKept) this.#places.set(seen, place);
    }
    return place;
  }

  #placeOf(address: Address): Place {
    const standing = this.rules.standing(address);
    return { address, standing, client: { address: address.text, key: addressKey(address, null), standing } };
  }

  async #byToken(place: Place, request: Request): Promise<Client> {
    const tokens = bearerTokens(request.headers.get("authorization"));
    if (tokens === null) {
      return this.rules.clientKey === "token" ? { ...place.client, key: tokenKey(null) } : byAddress(place, request);
    }
    let key = this.#tokenKeys.get(tokens);
    if (key === undefined) {
      key = tokenKey(await sha256(tokens));
      if (tokens.length <= longestKept) this.#tokenKeys.set(tokens, key);
    }
    return { ...place.client, key };
  }
}

function byAddress({ address, client }: Place, request: Request): Client {
  if (!isOthersWorker(address)) return client;
  return { ...client, key: addressKey(address, request.headers.get("cf-worker")) };
}

/** Where Cloudflare is not in front, workerd's own account of the socket: `203.0.113.7:51234`. */
function socketOf(request: Request): string | null {
  const clientIp = (request.cf as { clientIp?: unknown } | null | undefined)?.clientIp;
  return typeof clientIp === "string" ? clientIp : null;
}
