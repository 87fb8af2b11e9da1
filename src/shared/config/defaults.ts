/**
 * Every default of the configuration, and nothing else is one. Times are in seconds. The groups and numbers that the
 * specification names are marked "specification"; the others say what they were chosen from.
 */
import type { RouteClass } from "../route.ts";
import type { AlertName, AlertRule, BackendConfig, Config, PolicyName } from "./config.ts";

/** What a backend is when only its `url` is given. `name` is derived from the url. */
export const backendDefaults = {
  /** Specification. The lower number is tried first, so a fleet without priorities is one tier. */
  priority: 1,
  /** Specification. */
  region: "default",
  /** Specification. Equal shares. */
  weight: 1,
  /** No bound: only the operator knows how many generations a server bears. */
  maxInFlight: null,
  /** Detected from the answers, so that nobody must know the word "dialect". */
  dialect: null,
  healthPath: null,
  routes: null,
  models: null,
  headers: {},
} as const satisfies Omit<BackendConfig, "name" | "url">;

const policies = {
  /** Specification. Short and alike: the weights are all there is to say. */
  query: "weighted-round-robin",
  usage: "weighted-round-robin",
  token: "weighted-round-robin",
  /** A submission answers at once while the work goes on unseen: requests in flight say nothing about it. */
  task: "weighted-round-robin",
  /** Specification. Minutes long and uneven: where the work stands counts. */
  generate: "lowest-latency",
  stream: "lowest-latency",
} as const satisfies Record<RouteClass, PolicyName>;

const alertRules = {
  /** Backends down at once. Half a minute spares the page for a restart. */
  backend_down: { enabled: true, threshold: 1, for: 30 },
  /** Usable backends left in a tier, at or below which it fires. None left is urgent. */
  tier_down: { enabled: true, threshold: 0, for: 10 },
  /** Share of the last minute's requests that failed by a backend's fault or unknown. */
  error_rate: { enabled: true, threshold: 0.1, for: 120 },
  /** Seconds, of the cheap classes: a third of their deadline. Generations take what Jimeng takes. */
  latency_p95: { enabled: true, threshold: 3, for: 300 },
  /** Factor above or below the usual rate. */
  request_rate: { enabled: true, threshold: 3, for: 600 },
  /** Clients blocked at once: one misbehaving script is no alert, twenty are an attack or a limit set too low. */
  many_blocks: { enabled: true, threshold: 20, for: 60 },
  /** Seconds that the registry's alarm is late: three cron ticks, each of which should have re-armed it. */
  probe_late: { enabled: true, threshold: 180, for: 0 },
} as const satisfies Record<AlertName, AlertRule>;

export const defaults = {
  /** The strictest: it believes nothing a client sends. `npm start` says `local`, `npm run serve` says `self-hosted`. */
  RUNTIME: "cloudflare",
  /** The form users have: `your-domain.com/api/*`. */
  BASE_PATH: "/api",
  TRUSTED_PROXIES: [],
  /** Exact where it pays, table where it is cheap. */
  PICKS: "auto",
  ROUTES: [],
  CACHE: {
    enabled: true,
    /** Specification: models change with a deployment, counters by the minute, health by the probe. */
    ttl: { models: 300, stats: 60, health: 30 },
    /** Specification: what spends credits or speaks of a credential is never stored. */
    bypass: ["/v1/images", "/v1/videos", "/v1/chat/completions", "/token"],
    /** One more minute hides the refresh. */
    staleWhileRevalidate: 60,
    /** A day-old list of models is better than none while every backend is down. */
    staleIfError: 86_400,
  },
  RATE_LIMIT: {
    mode: "enforce",
    /** Specification. */
    requests: 100,
    window: 60,
    blockDuration: 300,
    /** At most the last second is lost in a crash, for a hundredth of the rows written. */
    durability: "write-behind",
    clientKey: "ip",
    /** A limiter in trouble must not become an outage. */
    onFailure: "allow",
    exempt: [],
    deny: [],
    onlyFrom: [],
    routes: {},
    clients: {},
  },
  CORS: {
    /** Specification. Browsers' tools call these APIs from anywhere; authority is in the bearer token, never in a cookie. */
    origins: ["*"],
    credentials: false,
    /** Chromium's cap is 7,200 s; asking for more changes nothing. */
    maxAge: 7200,
  },
  HEALTH_CHECK: {
    /** Specification. */
    path: "/ping",
    interval: 60,
    timeout: 5,
    retries: 3,
    /** Down and up again within 15 s leaves this much between probes. */
    unhealthyInterval: 10,
  },
  EJECTION: {
    /** Envoy's `consecutive_gateway_failure`. */
    consecutive: 5,
    /** Envoy's `base_ejection_time` and `max_ejection_time`. */
    base: 30,
    max: 300,
    /** Answers alone never take out more than half: a fault common to all is not theirs. */
    maxShare: 0.5,
    /** Fewer say nothing about a rate. */
    minOutcomes: 20,
    /** At five requests a second, 20 s of failures outweigh what came before. */
    window: 30,
    /** A server just back has cold caches and a queue of its own. */
    slowStart: 30,
  },
  RETRY: {
    /** Specification. */
    maxAttempts: 3,
    /** A generation that may have been executed is never sent again. */
    generations: "safe",
    /** Full jitter between 0 and base · 2^attempt, at most the cap. */
    backoffBase: 0.1,
    backoffCap: 2,
    /** Three attempts fit into a query's deadline. */
    attemptTimeout: 3,
    /** Finagle's budget, over 10 s. */
    budgetRatio: 0.2,
    budgetPerSecond: 10,
  },
  DEADLINES: {
    query: 10,
    /** Asks several backends, each within a query's time. */
    usage: 10,
    /** One dialect takes 15 s to say that it can't reach Jimeng. */
    token: 30,
    /** Submissions and look-ups answer at once, but an upload may come first. */
    task: 60,
    /** The slowest backends give up after 20 min; one more, so that their answer is heard. */
    generate: 21 * 60,
    /** Longer than a mobile network's usual pauses; a body that never comes must not hold a place in the meantime. */
    uploadIdle: 30,
    /** A tenth of a poor mobile line: 50 MB may take 50 min. */
    uploadRate: 16,
    /** A server sends an answer in one go once it has it: in the middle of one, this is longer than a network's usual pauses. */
    answerIdle: 30,
    /** A stream's first chunk comes after ~5 ms. */
    streamFirstByte: 30,
    /** Pictures stay silent for up to 15 min. */
    streamIdle: 16 * 60,
    /** Videos take up to an hour on one dialect. */
    streamCeiling: 2 * 3600,
  },
  WATCH: {
    interval: 20,
    /** A frozen server answers nothing for 21 min; three minutes is beyond any pause of a living one. */
    lostAfter: 180,
    renew: 30,
    /** Two renewals may be lost. */
    leaseExpiry: 90,
    /** Servers close idle connections after 5 s: an older sign of life proves nothing about the next request. */
    proofOfLife: 5,
    pingTimeout: 2,
  },
  BALANCE: {
    policies,
    /** Envoy's overprovisioning factor. */
    spillover: 1.4,
    /** Envoy's panic threshold. */
    panic: 0.5,
    affinityHeader: null,
    /** Off: the weights are honoured everywhere until the operator wants otherwise. */
    regionPreference: 0,
  },
  RESPONSE: {
    /** An SDK must see an error as an error, and two dialects say 200. */
    normalizeErrors: true,
    compress: true,
  },
  LOG: {
    console: true,
    sample: 1,
    /** A month of rows: what a complaint reaches back. */
    retentionDays: 30,
  },
  ALERTS: { webhooks: [], rules: alertRules },
  LOCATION: { registry: null },
} as const satisfies Omit<Config, "BACKENDS">;
