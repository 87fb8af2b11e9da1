/**
 * What crosses the border between the Worker and the Durable Objects: the RPC interfaces and their values.
 * Everything here survives a structured clone; errors are values of a union, since an error's own properties are lost on the way.
 * Times that end in `Ms` are milliseconds, as epoch times by the clock of whoever made the value.
 */
import type { BackendConfig, Config, ConfigFault, Dialect, Limit, PolicyName } from "./config/config.ts";
import type { Overlay } from "./fleet/overlay.ts";
import type { FleetMetrics } from "./metrics/fleet-metrics.ts";
import type { Outcome, OutcomeKind } from "./outcome.ts";
import type { Reach, RouteClass } from "./route.ts";

// ── Backends as the edge sees them ───────────────────────────────────────────────────────────────

export const healthStates = ["healthy", "suspect", "ejected", "trial", "recovering"] as const;
export type HealthState = (typeof healthStates)[number];

export const operatorStates = ["active", "draining", "disabled"] as const;
/** `draining`: no new requests, those in flight end. `disabled`: neither requests nor probes. */
export type OperatorState = (typeof operatorStates)[number];

/** Exponentially weighted peak latency and when it was last fed. */
export interface LoadSample {
  readonly costMs: number;
  readonly atMs: number;
}

export interface TableBackend {
  readonly name: string;
  readonly url: string;
  readonly priority: number;
  readonly region: string;
  /** As configured or overridden. */
  readonly weight: number;
  /** Share of its weight that slow start grants, 0–1. */
  readonly weightShare: number;
  readonly maxInFlight: number | null;
  readonly operatorState: OperatorState;
  readonly state: HealthState;
  /** On trial and free: how far the one request must go that ends it. null: not on trial, or its request is out. */
  readonly trialFor: Reach | null;
  /** May be picked, as `/health` shows it: by health and operator's state. */
  readonly healthy: boolean;
  readonly inFlight: number;
  /** Mean age of the requests in flight, in milliseconds. */
  readonly openAgeMs: number;
  /** By route class; a class without history is absent. */
  readonly load: Readonly<Partial<Record<RouteClass, LoadSample>>>;
  /** Median latency of the last hour by region of the edge, in milliseconds; at most `maxRegions` entries. */
  readonly regionMs: Readonly<Record<string, number>>;
  readonly dialect: Dialect | null;
  /** Route ids or path patterns it is configured to serve; null: whatever it has not refused. */
  readonly routes: readonly string[] | null;
  /** Route ids it refused as unknown within the last hour. */
  readonly refusedRoutes: readonly string[];
  /** Ids of the models it serves; null: not read yet. */
  readonly models: readonly string[] | null;
  /** `models` is the operator's and binds; a learned list is a preference, since servers accept ids they don't list. */
  readonly modelsBinding: boolean;
  readonly lastCheckMs: number | null;
  readonly lastSignOfLifeMs: number | null;
  readonly consecutiveFailures: number;
}

/** A snapshot of the fleet that an isolate may hold for a moment. `version` grows whenever the registry makes a new one. */
export interface RoutingTable {
  readonly version: number;
  /** By the registry's clock. */
  readonly madeAtMs: number;
  readonly backends: readonly TableBackend[];
  /** Shares of the fleet-wide retry budget: what one isolate may spend until the next table. */
  readonly retryAllowance: number;
  /** Generations of the cache: an entry made under an older one is gone. `*` for everything, others by path. */
  readonly cacheGenerations: Readonly<Record<string, number>>;
  /** The merged list of `/v1/models`, and when its youngest part was read; null while nothing has been read. */
  readonly models: { readonly entries: readonly ModelEntry[]; readonly readAtMs: number } | null;
  /** Operators' changes to the configuration, applied over the edge's own reading of it. */
  readonly overrides: ConfigOverrides;
}

export interface ModelEntry {
  readonly id: string;
  readonly object: string;
  readonly owned_by: string;
  readonly [field: string]: unknown;
}

/** Dotted configuration paths to JSON values, as `RATE_LIMIT.requests`. */
export type ConfigOverrides = { readonly version: number; readonly values: Readonly<Record<string, unknown>> };

// ── Picks and leases ─────────────────────────────────────────────────────────────────────────────

export interface PickRequest {
  readonly routeId: string;
  readonly routeClass: RouteClass;
  /** null where the request names none, or its body was too large to look at. */
  readonly model: string | null;
  readonly affinityKey: string | null;
  /** Of a look-up that must go to the task's home. */
  readonly taskId: string | null;
  /** The region of the edge that asks (a data centre's code, `local` elsewhere). */
  readonly edgeRegion: string;
}

export interface PickedBackend {
  readonly name: string;
  readonly url: string;
  readonly dialect: Dialect | null;
  /** No sign of life for `WATCH.proofOfLife`: ping before sending something expensive. */
  readonly needsProof: boolean;
}

export const pickRefusals = [
  "no_backend",
  "no_capacity",
  "route_unsupported",
  "model_unsupported",
  "task_home_gone",
] as const;
export type PickRefusal = (typeof pickRefusals)[number];

export type PickReply =
  | {
      readonly kind: "picked";
      /** Holds one request in flight on `candidates[0]` until it is settled or expires. */
      readonly leaseId: string;
      /** Best first; never empty. */
      readonly candidates: readonly PickedBackend[];
    }
  | { readonly kind: "none"; readonly reason: PickRefusal; readonly retryAfterS: number }
  | { readonly kind: "misconfigured"; readonly faults: readonly ConfigFault[] };

/** One attempt's end, as it feeds health, load and the statistics. */
export interface AttemptReport {
  readonly backend: string;
  readonly routeClass: RouteClass;
  readonly edgeRegion: string;
  readonly outcome: Outcome;
  /** To the end of the answer for generations, to its first byte for streams; null where nothing was measured. */
  readonly latencyMs: number | null;
  readonly responseBytes: number;
  /** What the attempt taught: the dialect, a route that the backend doesn't have. */
  readonly learned: Learned | null;
}

export interface Learned {
  readonly dialect: Dialect | null;
  readonly refusedRouteId: string | null;
}

/** Ends a lease. Idempotent. */
export interface Settlement {
  readonly leaseId: string;
  readonly report: AttemptReport;
  /** The client has gone and the backend is still busy: counted until the class's p95 on that backend has passed. */
  readonly orphaned: boolean;
}

/** An attempt has ended and its request goes on: its lease moves to the first of `candidates` that has room. */
export interface MoveRequest {
  readonly leaseId: string;
  readonly routeClass: RouteClass;
  /** null: told already. */
  readonly report: AttemptReport | null;
  /** Best first; never empty. Where the lease is, there is room for it. */
  readonly candidates: readonly string[];
  /** The request did not wait to be answered: it is at the first of them and counts there, full or not. */
  readonly gone: boolean;
}

export type MoveReply =
  | { readonly kind: "moved"; readonly backend: string }
  /** The lease has ended. */
  | {
      readonly kind: "none";
      readonly reason: Extract<PickRefusal, "no_backend" | "no_capacity">;
      readonly retryAfterS: number;
    };

export interface RenewReply {
  /** False: the lease had expired or was never known; it has been granted anew if its backend still exists. */
  readonly known: boolean;
  /** The backend has given no sign of life for `WATCH.lostAfter`. */
  readonly lost: boolean;
}

/** What an isolate saw of one backend × route class since its last report. Merged, never a list of requests. */
export interface ReportLine {
  readonly backend: string;
  readonly routeClass: RouteClass;
  readonly outcomes: Readonly<Partial<Record<OutcomeKind, number>>>;
  /** Backend faults at the end of the period with no success after them. */
  readonly trailingFailures: number;
  /** Whether the last backend fault could be seen by a probe, and its reason. */
  readonly lastFailure: { readonly seenByProbe: boolean; readonly reason: string } | null;
  /** Sparse histogram of latencies: bucket index to count (`histogram.ts`). */
  readonly latencies: Readonly<Record<number, number>>;
  readonly responseBytes: number;
  readonly learned: Learned | null;
}

export interface EdgeCounters {
  readonly requests: number;
  readonly retries: number;
  readonly retriesDenied: number;
  readonly limiter: Readonly<
    Partial<Record<"admitted" | "refused" | "remembered" | "failed_open" | "failed_closed" | "reported", number>>
  >;
  readonly cache: Readonly<Partial<Record<"hit" | "miss" | "stale" | "collapsed" | "bypass", number>>>;
  readonly registryCalls: Readonly<Partial<Record<"pick" | "settle" | "move" | "report" | "renew", number>>>;
  readonly logsDropped: number;
}

export interface Report {
  /** Random name of the isolate, to count isolates and to keep its in-flight figures apart. */
  readonly isolate: string;
  readonly edgeRegion: string;
  readonly lines: readonly ReportLine[];
  /** Cheap requests in flight by backend, as they stand now in this isolate. */
  readonly inFlight: Readonly<Record<string, number>>;
  readonly counters: EdgeCounters;
  /** The newest table the isolate has; the reply carries a newer one, or null. */
  readonly tableVersion: number;
}

export type ReportReply =
  | { readonly kind: "ok"; readonly table: RoutingTable | null }
  | { readonly kind: "misconfigured"; readonly faults: readonly ConfigFault[] };

// ── Objects ──────────────────────────────────────────────────────────────────────────────────────

/** The one object that knows the fleet. Its name is `registryName`. */
export interface BackendRegistryApi {
  pick(request: PickRequest): Promise<PickReply>;
  settle(settlement: Settlement): Promise<void>;
  move(request: MoveRequest): Promise<MoveReply>;
  renew(leaseId: string, backend: string, routeClass: RouteClass): Promise<RenewReply>;
  /** Takes what an isolate saw and answers with the table, if the isolate's is not the newest. An empty report is a plain question. */
  report(report: Report): Promise<ReportReply>;
  /** Written before it answers. */
  rememberTask(taskId: string, backend: string): Promise<void>;
  preference(region: string | null): Promise<PreferenceReply>;
  /** Re-arms the alarm if it is missing; the cron trigger calls it. Returns whether it had to. */
  wake(): Promise<boolean>;
}

export const registryName = "main";
export const ledgerName = "main";

export interface LatencySummary {
  readonly requests: number;
  /** Share of requests that neither failed by the backend's fault nor stay unknown; null without any. */
  readonly successRate: number | null;
  readonly avgMs: number | null;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

export interface PreferenceServer {
  readonly name: string;
  readonly url: string;
  readonly region: string;
  readonly priority: number;
  readonly weight: number;
  readonly healthy: boolean;
  readonly state: HealthState;
  readonly operatorState: OperatorState;
  readonly inFlight: number;
  readonly maxInFlight: number | null;
  readonly consecutiveFailures: number;
  readonly lastCheckMs: number | null;
  readonly dialect: Dialect | null;
  readonly lastMinute: LatencySummary;
  readonly lastHour: LatencySummary;
  readonly lastDay: LatencySummary;
}

/** Ordered by health, then by measured latency (of the region asked for, where there is one). */
export interface PreferenceReply {
  readonly region: string | null;
  readonly regions: readonly string[];
  readonly servers: readonly PreferenceServer[];
}

/** One per client; its name is the client key. */
export interface RateLimiterApi {
  admit(limit: Limit, request: AdmitRequest): Promise<Admission>;
  inspect(limit: Limit, policy: LimitPolicy): Promise<ClientState>;
  /** Forgets the block and the windows; false when there was neither. */
  reset(): Promise<boolean>;
  block(seconds: number, reason: string): Promise<ClientState>;
}

/** Which of a client's limits: a route class that has a limit of its own is counted, and blocked, apart from the rest. */
export type LimitPolicy = "default" | RouteClass;

export interface AdmitRequest {
  /** The object learns its own key from the first caller, for the ledger. */
  readonly clientKey: string;
  readonly policy: LimitPolicy;
  readonly durability: "write-behind" | "strict";
  /** Count and decide but never start a block (`RATE_LIMIT.mode: "report"`). */
  readonly reportOnly: boolean;
  /** Requests of this client that the isolate refused from memory since it last asked, for the operators' count. */
  readonly refusedFromMemory: number;
}

export type Admission =
  /** `resetMs`: from now until the oldest counted request leaves the window, so until `remaining` can grow. */
  | { readonly kind: "admitted"; readonly remaining: number; readonly resetMs: number }
  /** `untilMs` by the object's clock; `retryAfterMs` from now. */
  | { readonly kind: "blocked"; readonly retryAfterMs: number; readonly untilMs: number; readonly started: boolean };

export interface ClientState {
  readonly clientKey: string | null;
  readonly count: number;
  readonly remaining: number;
  readonly block: BlockEntry | null;
}

export interface BlockEntry {
  readonly clientKey: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly reason: string;
  readonly refused: number;
  /** An operator's block, not the limiter's. */
  readonly byHand: boolean;
}

/** One thing that happened, for the timeline an operator reads at night. */
export interface LedgerEvent {
  readonly kind: string;
  readonly atMs: number;
  /** Backend name, client key, configuration path. */
  readonly subject: string;
  /** `system`, or the operator's name; whence they came is in `detail.from`. */
  readonly actor: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** The one object that remembers what happened; no request waits for it. Its name is `ledgerName`. */
export interface OperationsLedgerApi {
  record(events: readonly LedgerEvent[]): Promise<void>;
  blocked(entry: BlockEntry): Promise<void>;
  unblocked(clientKey: string): Promise<void>;
  blocks(
    cursor: string | null,
    limit: number,
  ): Promise<{ readonly blocks: readonly BlockEntry[]; readonly cursor: string | null }>;
  events(query: {
    readonly sinceMs: number;
    readonly kind: string | null;
    readonly limit: number;
  }): Promise<readonly LedgerEvent[]>;
  /** Blocks in force now. */
  blockCount(): Promise<number>;
}

// ── Operators ────────────────────────────────────────────────────────────────────────────────────

/** Who changes something, for the ledger. */
export interface OperatorIdentity {
  readonly name: string;
  /** Address they came from; null where nothing vouches for one. */
  readonly from: string | null;
}

/** A backend as operators see it. Secret headers by name only. */
export interface BackendView {
  readonly name: string;
  readonly url: string;
  readonly priority: number;
  readonly region: string;
  readonly weight: number;
  readonly weightShare: number;
  readonly maxInFlight: number | null;
  readonly dialect: Dialect | null;
  readonly healthPath: string | null;
  readonly routes: readonly string[] | null;
  readonly models: readonly string[] | null;
  readonly headerNames: readonly string[];
  /** `configured`: by BACKEND_SERVERS. `added`: by an operator at run time. */
  readonly origin: "configured" | "added";
  /** Fields changed at run time, with the value beneath. */
  readonly overridden: Readonly<Record<string, { readonly value: unknown; readonly configured: unknown }>>;
  readonly operatorState: OperatorState;
  readonly state: HealthState;
  readonly healthy: boolean;
  readonly consecutiveFailures: number;
  readonly lastCheckMs: number | null;
  readonly lastSignOfLifeMs: number | null;
  /** Requests that are still on it, of the whole edge; a drain waits for 0. */
  readonly inFlight: number;
  /** The expensive ones among them; orphaned: the client has gone, the server is still busy. */
  readonly leases: { readonly active: number; readonly orphaned: number };
}

export type BackendChange =
  | { readonly kind: "add"; readonly backend: Readonly<Record<string, unknown>> }
  | { readonly kind: "patch"; readonly name: string; readonly values: Readonly<Record<string, unknown>> }
  | { readonly kind: "state"; readonly name: string; readonly state: OperatorState }
  | { readonly kind: "remove"; readonly name: string };

/** Why an operator's request changed nothing. */
export type ChangeRefusal =
  | { readonly kind: "unknown"; readonly known: readonly string[] }
  | { readonly kind: "conflict"; readonly message: string }
  | { readonly kind: "invalid"; readonly faults: readonly ConfigFault[] }
  | { readonly kind: "misconfigured"; readonly faults: readonly ConfigFault[] };

export type BackendReply = { readonly kind: "ok"; readonly backend: BackendView } | ChangeRefusal;

export interface ProbeResult {
  readonly ok: boolean;
  /** `ok`, `timeout`, `unreachable`, `http_503`, … */
  readonly reason: string;
  readonly latencyMs: number | null;
}

export type ProbeReply =
  { readonly kind: "ok"; readonly result: ProbeResult; readonly backend: BackendView } | ChangeRefusal;

export interface OverridesView {
  readonly version: number;
  /** Dotted paths to the value in force, and to the configured one beneath (null where the place is empty). */
  readonly values: Readonly<Record<string, unknown>>;
  readonly configured: Readonly<Record<string, unknown>>;
}

export type OverridesReply = { readonly kind: "ok"; readonly overrides: OverridesView } | ChangeRefusal;

/** `version`: that the operator saw last; null: whatever it is. */
export type OverridesRequest =
  | { readonly kind: "set"; readonly values: Readonly<Record<string, unknown>>; readonly version: number | null }
  | { readonly kind: "remove"; readonly path: string | null; readonly version: number | null };

/** The registry, for operators. Every change is in the ledger's queue before it is answered. */
export interface RegistryOperationsApi {
  listBackends(): Promise<readonly BackendView[]>;
  changeBackend(change: BackendChange, by: OperatorIdentity): Promise<BackendReply>;
  probeBackend(name: string, by: OperatorIdentity): Promise<ProbeReply>;
  overrides(): Promise<OverridesView>;
  /** What was changed of the servers. */
  overlay(): Promise<Overlay>;
  changeOverrides(request: OverridesRequest, by: OperatorIdentity): Promise<OverridesReply>;
  /** null purges everything. The reply has the generations now. */
  purgeCache(paths: readonly string[] | null, by: OperatorIdentity): Promise<Readonly<Record<string, number>>>;
  /** null while the configuration is broken. */
  metrics(): Promise<FleetMetrics | null>;
  /** Takes events over for the ledger, which couldn't be reached. */
  keepEvents(events: readonly LedgerEvent[]): Promise<void>;
}

/** What the registry writes to KV, under `publishedKey`, for an edge that can't reach it. */
export interface PublishedFleet {
  readonly publishedAtMs: number;
  readonly table: RoutingTable;
  /** Effective, secrets masked. */
  readonly config: Config;
}

export const publishedKey = "fleet";

/** What the objects and the edge both read from the environment. */
export type Settings = {
  readonly config: Config;
  readonly backends: readonly BackendConfig[];
  readonly policies: Readonly<Record<RouteClass, PolicyName>>;
};
