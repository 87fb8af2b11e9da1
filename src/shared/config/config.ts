/**
 * The effective configuration, after validation and with every default filled in. All times are in seconds, as users
 * write them. `read.ts` makes it from what the operator gave; `defaults.ts` is the only home of a default.
 */
import type { CacheRule, RouteClass } from "../route.ts";

export const policyNames = [
  "weighted-round-robin",
  "lowest-latency",
  "least-requests",
  "power-of-two",
  "hot-cold",
  "rendezvous",
] as const;
export type PolicyName = (typeof policyNames)[number];

export type Dialect = "mapped" | "flat-1" | "flat-2";
export type Runtime = "cloudflare" | "self-hosted" | "local";

export interface BackendConfig {
  /** Unique; the host name (with its port where that is needed) unless given. Public: it appears in answers. */
  readonly name: string;
  /** Origin and optional path prefix, no trailing slash, no credentials, no query. */
  readonly url: string;
  /** The lower number is tried first. */
  readonly priority: number;
  readonly region: string;
  /** A whole number ≥ 0; 0 takes no new requests. */
  readonly weight: number;
  /** Requests in flight it may have at once; null: no bound. */
  readonly maxInFlight: number | null;
  /** null: detected from its answers. */
  readonly dialect: Dialect | null;
  /** null: `HEALTH_CHECK.path`. */
  readonly healthPath: string | null;
  /** Route ids or path patterns it serves; null: learned. */
  readonly routes: readonly string[] | null;
  /** Model ids it serves; null: learned from its `/v1/models`. */
  readonly models: readonly string[] | null;
  /** Secret headers added to every request and probe; never shown. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface ExtraRoute {
  /** Exact path, or a prefix that ends in `/*`. */
  readonly path: string;
  readonly methods: readonly string[];
  readonly class: RouteClass;
  readonly cache: CacheRule;
}

export interface Limit {
  readonly requests: number;
  readonly window: number;
  readonly blockDuration: number;
}

export interface RateLimitConfig extends Limit {
  /** `enabled: false` reads as `off`. */
  readonly mode: "enforce" | "report" | "off";
  readonly durability: "write-behind" | "strict";
  readonly clientKey: "ip" | "token" | "token-or-ip";
  readonly onFailure: "allow" | "deny";
  /** Addresses or CIDRs. */
  readonly exempt: readonly string[];
  readonly deny: readonly string[];
  readonly onlyFrom: readonly string[];
  readonly routes: Readonly<Partial<Record<RouteClass, Limit>>>;
  /** By client key, address or API key name. */
  readonly clients: Readonly<Record<string, Limit>>;
}

export interface CacheConfig {
  readonly enabled: boolean;
  readonly ttl: { readonly models: number; readonly stats: number; readonly health: number };
  /** Path prefixes that are never stored. */
  readonly bypass: readonly string[];
  readonly staleWhileRevalidate: number;
  readonly staleIfError: number;
}

export interface HealthCheckConfig {
  readonly path: string;
  readonly interval: number;
  /** Of one try. */
  readonly timeout: number;
  /** Tries in all before a probe counts as failed. */
  readonly retries: number;
  /** Between probes of a backend that is not healthy. */
  readonly unhealthyInterval: number;
}

export interface EjectionConfig {
  /** Backend faults in a row that make a healthy backend suspect, then eject it. */
  readonly consecutive: number;
  /** First ejection's length; it grows by itself with each one. */
  readonly base: number;
  readonly max: number;
  /** The share of the pool that passive signals may eject. */
  readonly maxShare: number;
  /** Outcomes a backend must have in the window before its success rate is compared. */
  readonly minOutcomes: number;
  /** The window over which success rates are compared. */
  readonly window: number;
  /** Slow start after an ejection. */
  readonly slowStart: number;
}

export interface RetryConfig {
  /** Attempts in all. */
  readonly maxAttempts: number;
  readonly generations: "safe" | "unsafe";
  readonly backoffBase: number;
  readonly backoffCap: number;
  /** Of one attempt at a cheap request. */
  readonly attemptTimeout: number;
  /** Share of the last ten seconds' requests that may be retries. */
  readonly budgetRatio: number;
  /** Retries per second allowed whatever the traffic. */
  readonly budgetPerSecond: number;
}

export interface DeadlineConfig {
  readonly query: number;
  readonly usage: number;
  readonly token: number;
  readonly task: number;
  readonly generate: number;
  /** Of a backend that sends nothing in the middle of an answer that is no stream of events. */
  readonly answerIdle: number;
  /** Of a client that sends nothing of the body that it has announced. */
  readonly uploadIdle: number;
  /** KiB per second that must come, beyond a first `uploadIdle`, of a body of declared length that is passed on. */
  readonly uploadRate: number;
  readonly streamFirstByte: number;
  readonly streamIdle: number;
  /** A loose end for a stream that never ends. */
  readonly streamCeiling: number;
}

export interface WatchConfig {
  /** Between the registry's pings of a backend that holds leases. */
  readonly interval: number;
  /** Without any sign of life for so long, a backend is lost. */
  readonly lostAfter: number;
  /** Between a Worker's renewals. */
  readonly renew: number;
  /** A lease ends so long after its last renewal. */
  readonly leaseExpiry: number;
  /** A sign of life younger than this needs no ping before a generation. */
  readonly proofOfLife: number;
  readonly pingTimeout: number;
}

export interface BalanceConfig {
  readonly policies: Readonly<Record<RouteClass, PolicyName>>;
  /** Envoy's overprovisioning factor: a tier takes the whole load until its healthy share falls below 1/this. */
  readonly spillover: number;
  /** Below this healthy share a tier ignores health, if the tiers together can't carry the load. */
  readonly panic: number;
  /** Request header whose value is the key of `rendezvous`; null: the client key. */
  readonly affinityHeader: string | null;
  /** Prefer backends that this region of the edge measured to be faster by at least this factor; 0: off. */
  readonly regionPreference: number;
}

export interface AlertRule {
  readonly enabled: boolean;
  readonly threshold: number;
  /** Seconds the condition must hold. */
  readonly for: number;
}

export const alertNames = [
  "backend_down",
  "tier_down",
  "error_rate",
  "latency_p95",
  "request_rate",
  "many_blocks",
  "probe_late",
] as const;
export type AlertName = (typeof alertNames)[number];

export const webhookKinds = ["json", "slack", "feishu", "dingtalk", "wecom"] as const;
export interface Webhook {
  readonly kind: (typeof webhookKinds)[number];
  /** Holds the secret token of the chat: masked everywhere. */
  readonly url: string;
  /** Signing secret, where the kind knows one (feishu, dingtalk, json). */
  readonly secret: string | null;
}

export interface AlertsConfig {
  readonly webhooks: readonly Webhook[];
  readonly rules: Readonly<Record<AlertName, AlertRule>>;
}

export interface LogConfig {
  readonly console: boolean;
  /** Share of successes that are logged; errors always are. */
  readonly sample: number;
  /** Days that D1 keeps a row. */
  readonly retentionDays: number;
}

export interface Config {
  readonly RUNTIME: Runtime;
  /** "" or "/api": taken off before a client's route is matched. */
  readonly BASE_PATH: string;
  readonly TRUSTED_PROXIES: readonly string[];
  readonly PICKS: "auto" | "exact";
  readonly BACKENDS: readonly BackendConfig[];
  readonly ROUTES: readonly ExtraRoute[];
  readonly CACHE: CacheConfig;
  readonly RATE_LIMIT: RateLimitConfig;
  readonly CORS: {
    readonly origins: readonly string[];
    readonly credentials: boolean;
    /** Of a preflight's answer. */
    readonly maxAge: number;
  };
  readonly HEALTH_CHECK: HealthCheckConfig;
  readonly EJECTION: EjectionConfig;
  readonly RETRY: RetryConfig;
  readonly DEADLINES: DeadlineConfig;
  readonly WATCH: WatchConfig;
  readonly BALANCE: BalanceConfig;
  readonly RESPONSE: { readonly normalizeErrors: boolean; readonly compress: boolean };
  readonly LOG: LogConfig;
  readonly ALERTS: AlertsConfig;
  /** Location hints of the singletons; null: where the first request comes from. */
  readonly LOCATION: { readonly registry: string | null };
}

/** One thing wrong with what was given: the field's path, what is allowed, and what came (secrets shown as `***`). */
export interface ConfigFault {
  readonly field: string;
  readonly allowed: string;
  readonly received: string;
}

export type ConfigReading =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] };
