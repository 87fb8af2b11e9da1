/** The configuration's word on whom to admit, compiled once and asked with every request. */
import { AddressRanges } from "./address.ts";
import type { Address } from "./address.ts";
import { apiKeyKey, parseClientKey } from "./client-key.ts";
import type { Limit, RateLimitConfig } from "./config/config.ts";
import type { LimitPolicy } from "./contract.ts";
import type { RouteClass } from "./route.ts";

/**
 * - `limited`: counted.
 * - `exempt`: never counted.
 * - `denied`: refused, whatever it asks for.
 */
export type Standing = "limited" | "exempt" | "denied";

export interface AppliedLimit {
  readonly policy: LimitPolicy;
  readonly limit: Limit;
}

export class AdmissionRules {
  readonly mode: RateLimitConfig["mode"];
  readonly durability: RateLimitConfig["durability"];
  readonly clientKey: RateLimitConfig["clientKey"];
  readonly onFailure: RateLimitConfig["onFailure"];
  readonly #exempt: AddressRanges;
  readonly #deny: AddressRanges;
  readonly #onlyFrom: AddressRanges;
  readonly #default: AppliedLimit;
  readonly #byClass: ReadonlyMap<string, AppliedLimit>;
  readonly #byClient: ReadonlyMap<string, AppliedLimit>;

  constructor(config: RateLimitConfig) {
    const { mode, durability, clientKey, onFailure, requests, window, blockDuration } = config;
    [this.mode, this.durability, this.clientKey, this.onFailure] = [mode, durability, clientKey, onFailure];
    this.#exempt = new AddressRanges(config.exempt);
    this.#deny = new AddressRanges(config.deny);
    this.#onlyFrom = new AddressRanges(config.onlyFrom);
    this.#default = { policy: "default", limit: { requests, window, blockDuration } };
    this.#byClass = new Map(
      Object.entries(config.routes).map(([name, limit]) => [name, { policy: name as RouteClass, limit }]),
    );
    this.#byClient = new Map(
      Object.entries(config.clients).map(([name, limit]) => [overriddenKey(name), { policy: "default", limit }]),
    );
  }

  /** Whether some addresses may be here and others not. */
  get isClosedToSome(): boolean {
    return this.#deny.size > 0 || this.#onlyFrom.size > 0;
  }

  /** Whether an unknown address changes nothing: nobody is counted and nobody is told apart. */
  get admitsAnybody(): boolean {
    return this.mode === "off" && !this.isClosedToSome;
  }

  /** `deny` comes before `onlyFrom`, and both before `exempt`; they hold in every mode, since they are no limits. */
  standing(address: Address): Standing {
    if (this.#deny.has(address) || (this.#onlyFrom.size > 0 && !this.#onlyFrom.has(address))) return "denied";
    return this.#exempt.has(address) ? "exempt" : "limited";
  }

  /** A client's own limit is for all its requests together; otherwise a class's own, otherwise the general one. */
  limitFor(clientKey: string, routeClass: RouteClass | null): AppliedLimit {
    return this.#byClient.get(clientKey) ?? this.#byClass.get(routeClass ?? "") ?? this.#default;
  }

  hasOwnLimit(clientKey: string): boolean {
    return this.#byClient.has(clientKey);
  }
}

/** `clients` takes a client key, an address or an API key's name. */
function overriddenKey(name: string): string {
  return parseClientKey(name) ?? apiKeyKey(name);
}
