/**
 * What may be configured, and within which bounds. A schema's message is the `allowed` of a fault, so each of them reads
 * as an answer to "what may stand here?". Defaults are filled in here and come from `defaults.ts`.
 */
import * as v from "valibot";
import { parseRange } from "../address.ts";
import { isApiKeyName, parseClientKey } from "../client-key.ts";
import { routeClasses } from "../route.ts";
import type { CacheRule } from "../route.ts";
import { policyNames, webhookKinds } from "./config.ts";
import type { AlertName, Limit } from "./config.ts";
import { readBackendUrl } from "./backend-url.ts";
import { backendDefaults, defaults } from "./defaults.ts";
import { nearestName, unknownSetting } from "./fault.ts";

const dayS = 86_400;

export function whole(min: number, max: number) {
  const allowed = `a whole number from ${min} to ${max}`;
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed));
}

function amount(min: number, max: number, unit = "") {
  const allowed = `a number ${unit === "" ? "" : `of ${unit} `}from ${min} to ${max}`;
  return v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed));
}

const seconds = (min: number, max: number) => amount(min, max, "seconds");
const share = amount(0, 1);
const flag = v.boolean("true or false");

export function oneOf<const Options extends readonly string[]>(options: Options) {
  return v.picklist(options, `one of ${options.join(", ")}`);
}

export function text(pattern: RegExp, allowed: string) {
  return v.pipe(v.string(allowed), v.regex(pattern, allowed));
}

export function list<Item extends v.GenericSchema>(
  item: Item,
  allowed: string,
  limits: { min?: number; max?: number } = {},
) {
  const { min = 0, max = 1000 } = limits;
  return v.pipe(v.array(item, allowed), v.minLength(min, allowed), v.maxLength(max, `at most ${max} of them`));
}

function isPlainObject(input: unknown): boolean {
  return typeof input === "object" && input !== null && !Array.isArray(input);
}

/** An object whose keys the operator chooses. */
function mapping<Value extends v.GenericSchema>(key: v.GenericSchema<string, string>, value: Value, allowed: string) {
  return v.pipe(v.custom<Record<string, unknown>>(isPlainObject, allowed), v.record(key, value, allowed));
}

/** An object whose unknown keys are faults, all of them told at once and with the name that was probably meant. */
export function group<const Entries extends v.ObjectEntries>(
  entries: Entries,
): v.GenericSchema<unknown, v.InferOutput<v.ObjectSchema<Entries, undefined>>> {
  const names = Object.keys(entries);
  const schema = v.pipe(
    v.custom<Record<string, unknown>>(isPlainObject, `an object with any of ${names.join(", ")}`),
    v.looseObject(entries, "given; it has no default"),
    v.rawCheck(({ dataset, addIssue }) => {
      const value: unknown = dataset.value;
      if (typeof value !== "object" || value === null) return;
      for (const [key, given] of Object.entries(value)) {
        if (Object.hasOwn(entries, key)) continue;
        addIssue({
          message: unknownSetting(nearestName(key, names), names),
          path: [{ type: "object", origin: "key", input: value as Record<string, unknown>, key, value: given }],
        });
      }
    }),
  );
  // Unknown keys are faults, so an output has none and is no loose object.
  return schema as unknown as v.GenericSchema<unknown, v.InferOutput<v.ObjectSchema<Entries, undefined>>>;
}

/** A group that may be left out: its members' own defaults then stand. */
function part<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.optional(group(entries), {});
}

// ── Words of HTTP ────────────────────────────────────────────────────────────────────────────────

/** `OPTIONS` is CORS' and answered by the edge. */
const methodNames = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] as const;
const path = text(/^\/(?!\/)[^\s?#\\]{0,1023}$/u, "a path beginning with / (no query, no white space)");
/** https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/u;
const headerName = text(tokenPattern, "a header's name");
/** https://www.rfc-editor.org/rfc/rfc9110#section-5.5: visible ASCII, blanks inside. */
const headerValue = text(
  /^[\u0021-\u007e](?:[\u0020-\u007e]{0,8190}[\u0021-\u007e])?$/u,
  "a header's value in visible ASCII",
);

/**
 * Headers that describe this hop (RFC 9110 §7.6.1) or that the edge itself writes, and the one that carries the
 * client's own account.
 */
const reservedHeaders = [
  "authorization", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive",
  "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via",
]; // prettier-ignore
const backendHeaderName = v.pipe(
  headerName,
  v.check(
    (name) => !reservedHeaders.includes(name.toLowerCase()),
    `a header that the edge doesn't set itself (not ${reservedHeaders.join(", ")})`,
  ),
);

const cacheRule = v.custom<CacheRule>(
  (value) => value === "none" || value === "origin" || (typeof value === "number" && value >= 1 && value <= 365 * dayS),
  "none, origin, or a number of seconds from 1 to 31536000",
);

const addresses = (otherwise: readonly string[]) =>
  v.optional(
    list(
      v.custom<string>(
        (value) => typeof value === "string" && parseRange(value) !== null,
        "an IP address or a CIDR range, as 192.0.2.7 or 2001:db8::/32",
      ),
      "a list of IP addresses and CIDR ranges",
    ),
    [...otherwise],
  );

/** `*`, or what a browser sends as `Origin`: https://www.rfc-editor.org/rfc/rfc6454#section-6.2 */
const origin = v.custom<string>((value) => {
  if (value === "*") return true;
  if (typeof value !== "string") return false;
  const reading = readBackendUrl(value);
  return reading.ok && reading.url.href === value;
}, "* or an origin such as https://app.example.com (lower case, no path, no trailing slash)");

// ── Groups ───────────────────────────────────────────────────────────────────────────────────────

const d = defaults;

const limitEntries = { requests: whole(1, 10_000), window: seconds(1, dayS), blockDuration: seconds(1, 7 * dayS) };
/** Given in part; what is missing is the general limit's. */
const partialLimit = group({
  requests: v.optional(limitEntries.requests),
  window: v.optional(limitEntries.window),
  blockDuration: v.optional(limitEntries.blockDuration),
});
const clientNames = "a client key, an address (no range but an IPv6 /64) or an API key's name";
/** Another name would be a limit that holds for nobody. */
const clientName = v.pipe(
  v.string(clientNames),
  v.check((name) => parseClientKey(name) !== null || isApiKeyName(name), clientNames),
);

export type PartialLimit = { readonly [Key in keyof Limit]?: number | undefined };

/** A record over the classes, in part. */
function perClass<Value extends v.GenericSchema>(value: Value) {
  return {
    query: value, generate: value, stream: value, task: value, usage: value, token: value,
  }; // prettier-ignore
}

const policy = oneOf(policyNames);
const alertRule = (name: AlertName, threshold: v.GenericSchema<number>) =>
  part({
    enabled: v.optional(flag, d.ALERTS.rules[name].enabled),
    threshold: v.optional(threshold, d.ALERTS.rules[name].threshold),
    for: v.optional(seconds(0, dayS), d.ALERTS.rules[name].for),
  });

const webhookUrl = v.custom<string>(
  (value) => typeof value === "string" && /^https?:\/\/[^\s@/?#]+[^\s#]*$/u.test(value) && value.length <= 2048,
  "an http(s) URL without user name",
);

export const extraRouteSchema = group({
  path: text(
    /^\/(?!\/)(?!.*\/\/)(?!.*\*.)(?!.*[^/]\*)[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,512}$/u,
    "a path, or a prefix that ends in /*",
  ),
  methods: v.optional(
    list(oneOf(methodNames), `a list of ${methodNames.join(", ")}`, { min: 1, max: methodNames.length }),
    ["GET"],
  ),
  class: v.optional(oneOf(routeClasses), "query"),
  cache: v.optional(cacheRule, "none"),
});

/** Much is looked up by a backend's name: what every object has by itself must not be found there. */
export function isInherited(name: string): boolean {
  return name in Object.prototype;
}

export const backendSchema = group({
  name: v.optional(
    v.pipe(
      text(
        /^[A-Za-z0-9._:[\]-]{1,255}$/u,
        "1 to 255 characters of A–Z a–z 0–9 . _ : - (it appears in answers and labels)",
      ),
      v.check((name) => !isInherited(name), "a name that isn't a word of JavaScript's own, as constructor"),
    ),
  ),
  url: v.pipe(
    v.string("an http(s) URL"),
    v.check(
      (value) => readBackendUrl(value).ok,
      (issue) => urlRule(issue.input),
    ),
  ),
  priority: v.optional(whole(0, 1000), backendDefaults.priority),
  region: v.optional(
    text(/^[\p{L}\p{N}._ -]{1,64}$/u, "1 to 64 letters, digits, dots, dashes or blanks"),
    backendDefaults.region,
  ),
  weight: v.optional(whole(0, 1000), backendDefaults.weight),
  maxInFlight: v.optional(v.nullable(whole(1, 100_000)), backendDefaults.maxInFlight),
  dialect: v.optional(v.nullable(oneOf(["mapped", "flat-1", "flat-2"])), backendDefaults.dialect),
  healthPath: v.optional(v.nullable(path), backendDefaults.healthPath),
  routes: v.optional(
    v.nullable(
      list(
        text(/^(?:[A-Z]+ )?\/\S{0,512}$/u, "a path pattern, with its method or without: POST /v1/images/*"),
        "a list of routes, not empty",
        { min: 1 },
      ),
    ),
    backendDefaults.routes,
  ),
  models: v.optional(
    v.nullable(list(text(/^[^\s](?:.{0,126}[^\s])?$/u, "a model's id"), "a list of model ids, not empty", { min: 1 })),
    backendDefaults.models,
  ),
  headers: v.optional(mapping(backendHeaderName, headerValue, "an object of header names and values"), {
    ...backendDefaults.headers,
  }),
});

function urlRule(input: string): string {
  const reading = readBackendUrl(input);
  return reading.ok ? "an http(s) URL" : `an http(s) URL ${reading.problem}`;
}

/** Cloudflare's location hints: https://developers.cloudflare.com/durable-objects/reference/data-location/ */
const locationHints = ["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"] as const;

const configEntries = {
  RUNTIME: v.optional(oneOf(["cloudflare", "self-hosted", "local"]), d.RUNTIME),
  BASE_PATH: v.optional(
    text(
      /^$|^\/(?!\/)(?!(?:.*\/)?\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*$/u,
      "empty, or a path such as /api without a trailing slash",
    ),
    d.BASE_PATH,
  ),
  TRUSTED_PROXIES: addresses(d.TRUSTED_PROXIES),
  PICKS: v.optional(oneOf(["auto", "exact"]), d.PICKS),
  ROUTES: v.optional(list(extraRouteSchema, "a list of routes", { max: 200 }), [...d.ROUTES]),
  CACHE: part({
    enabled: v.optional(flag, d.CACHE.enabled),
    ttl: part({
      models: v.optional(seconds(0, dayS), d.CACHE.ttl.models),
      stats: v.optional(seconds(0, dayS), d.CACHE.ttl.stats),
      health: v.optional(seconds(0, dayS), d.CACHE.ttl.health),
    }),
    bypass: v.optional(list(path, "a list of path prefixes"), [...d.CACHE.bypass]),
    staleWhileRevalidate: v.optional(seconds(0, 30 * dayS), d.CACHE.staleWhileRevalidate),
    staleIfError: v.optional(seconds(0, 30 * dayS), d.CACHE.staleIfError),
  }),
  RATE_LIMIT: part({
    /** Short for `mode`; the mode alone is left in the effective configuration. */
    enabled: v.optional(flag),
    mode: v.optional(oneOf(["enforce", "report", "off"]), d.RATE_LIMIT.mode),
    requests: v.optional(limitEntries.requests, d.RATE_LIMIT.requests),
    window: v.optional(limitEntries.window, d.RATE_LIMIT.window),
    blockDuration: v.optional(limitEntries.blockDuration, d.RATE_LIMIT.blockDuration),
    durability: v.optional(oneOf(["write-behind", "strict"]), d.RATE_LIMIT.durability),
    clientKey: v.optional(oneOf(["ip", "token", "token-or-ip"]), d.RATE_LIMIT.clientKey),
    onFailure: v.optional(oneOf(["allow", "deny"]), d.RATE_LIMIT.onFailure),
    exempt: addresses(d.RATE_LIMIT.exempt),
    deny: addresses(d.RATE_LIMIT.deny),
    onlyFrom: addresses(d.RATE_LIMIT.onlyFrom),
    routes: part(perClass(v.optional(partialLimit))),
    clients: v.optional(mapping(clientName, partialLimit, "an object of client keys and limits"), {
      ...d.RATE_LIMIT.clients,
    }),
  }),
  CORS: part({
    origins: v.optional(list(origin, "a list of origins"), [...d.CORS.origins]),
    credentials: v.optional(flag, d.CORS.credentials),
    maxAge: v.optional(seconds(0, dayS), d.CORS.maxAge),
  }),
  HEALTH_CHECK: part({
    path: v.optional(path, d.HEALTH_CHECK.path),
    interval: v.optional(seconds(1, 3600), d.HEALTH_CHECK.interval),
    timeout: v.optional(seconds(0.1, 60), d.HEALTH_CHECK.timeout),
    retries: v.optional(whole(1, 10), d.HEALTH_CHECK.retries),
    unhealthyInterval: v.optional(seconds(1, 3600), d.HEALTH_CHECK.unhealthyInterval),
  }),
  EJECTION: part({
    consecutive: v.optional(whole(1, 1000), d.EJECTION.consecutive),
    base: v.optional(seconds(1, dayS), d.EJECTION.base),
    max: v.optional(seconds(1, dayS), d.EJECTION.max),
    maxShare: v.optional(share, d.EJECTION.maxShare),
    minOutcomes: v.optional(whole(1, 100_000), d.EJECTION.minOutcomes),
    window: v.optional(seconds(1, 3600), d.EJECTION.window),
    slowStart: v.optional(seconds(0, 3600), d.EJECTION.slowStart),
  }),
  RETRY: part({
    maxAttempts: v.optional(whole(1, 10), d.RETRY.maxAttempts),
    generations: v.optional(oneOf(["safe", "unsafe"]), d.RETRY.generations),
    backoffBase: v.optional(seconds(0, 10), d.RETRY.backoffBase),
    backoffCap: v.optional(seconds(0, 60), d.RETRY.backoffCap),
    attemptTimeout: v.optional(seconds(0.1, 600), d.RETRY.attemptTimeout),
    budgetRatio: v.optional(share, d.RETRY.budgetRatio),
    budgetPerSecond: v.optional(amount(0, 100_000, "retries a second"), d.RETRY.budgetPerSecond),
  }),
  DEADLINES: part({
    query: v.optional(seconds(0.1, 3600), d.DEADLINES.query),
    usage: v.optional(seconds(0.1, 3600), d.DEADLINES.usage),
    token: v.optional(seconds(0.1, 3600), d.DEADLINES.token),
    task: v.optional(seconds(0.1, 3600), d.DEADLINES.task),
    generate: v.optional(seconds(1, 2 * 3600), d.DEADLINES.generate),
    answerIdle: v.optional(seconds(0.1, 3600), d.DEADLINES.answerIdle),
    uploadIdle: v.optional(seconds(0.1, 3600), d.DEADLINES.uploadIdle),
    uploadRate: v.optional(amount(1, 1_000_000, "KiB a second"), d.DEADLINES.uploadRate),
    streamFirstByte: v.optional(seconds(0.1, 3600), d.DEADLINES.streamFirstByte),
    streamIdle: v.optional(seconds(1, 2 * 3600), d.DEADLINES.streamIdle),
    streamCeiling: v.optional(seconds(1, dayS), d.DEADLINES.streamCeiling),
  }),
  WATCH: part({
    interval: v.optional(seconds(1, 600), d.WATCH.interval),
    lostAfter: v.optional(seconds(1, 3600), d.WATCH.lostAfter),
    renew: v.optional(seconds(1, 600), d.WATCH.renew),
    leaseExpiry: v.optional(seconds(2, 3600), d.WATCH.leaseExpiry),
    proofOfLife: v.optional(seconds(0, 600), d.WATCH.proofOfLife),
    pingTimeout: v.optional(seconds(0.1, 60), d.WATCH.pingTimeout),
  }),
  BALANCE: part({
    policies: part({
      query: v.optional(policy, d.BALANCE.policies.query),
      generate: v.optional(policy, d.BALANCE.policies.generate),
      stream: v.optional(policy, d.BALANCE.policies.stream),
      task: v.optional(policy, d.BALANCE.policies.task),
      usage: v.optional(policy, d.BALANCE.policies.usage),
      token: v.optional(policy, d.BALANCE.policies.token),
    }),
    spillover: v.optional(amount(1, 10), d.BALANCE.spillover),
    panic: v.optional(share, d.BALANCE.panic),
    affinityHeader: v.optional(v.nullable(headerName), d.BALANCE.affinityHeader),
    regionPreference: v.optional(
      v.custom<number>(
        (value) => value === 0 || (typeof value === "number" && value >= 1 && value <= 100),
        "0 for off, or a factor from 1 to 100",
      ),
      d.BALANCE.regionPreference,
    ),
  }),
  RESPONSE: part({
    normalizeErrors: v.optional(flag, d.RESPONSE.normalizeErrors),
    compress: v.optional(flag, d.RESPONSE.compress),
  }),
  LOG: part({
    console: v.optional(flag, d.LOG.console),
    sample: v.optional(share, d.LOG.sample),
    retentionDays: v.optional(amount(0.01, 3650, "days"), d.LOG.retentionDays),
  }),
  ALERTS: part({
    webhooks: v.optional(
      list(
        group({
          kind: oneOf(webhookKinds),
          url: webhookUrl,
          secret: v.optional(v.nullable(text(/^.{1,1024}$/u, "1 to 1024 characters")), null),
        }),
        "a list of webhooks",
        { max: 20 },
      ),
      [...d.ALERTS.webhooks],
    ),
    rules: part({
      backend_down: alertRule("backend_down", whole(1, 1000)),
      tier_down: alertRule("tier_down", whole(0, 1000)),
      error_rate: alertRule("error_rate", share),
      latency_p95: alertRule("latency_p95", seconds(0.001, 3600)),
      request_rate: alertRule("request_rate", amount(1.1, 1000)),
      many_blocks: alertRule("many_blocks", whole(1, 1_000_000)),
      probe_late: alertRule("probe_late", seconds(1, dayS)),
    }),
  }),
  LOCATION: part({ registry: v.optional(v.nullable(oneOf(locationHints)), d.LOCATION.registry) }),
};

/** Everything but the backends, which have rules among themselves (`backends.ts`). */
export const configSchema = group(configEntries);
export type ConfigInput = v.InferOutput<typeof configSchema>;
export type BackendInput = v.InferOutput<typeof backendSchema>;
