/**
 * What one isolate remembers between requests: the configuration as read, the table, what it saw and has not told yet.
 * Plain values only; nothing here belongs to a request.
 */
import type { Config, ConfigFault, ConfigReading } from "../shared/config/config.ts";
import { applyOverrides } from "../shared/config/read.ts";
import { publishedKey } from "../shared/contract.ts";
import type { BackendRegistryApi, PublishedFleet, RoutingTable } from "../shared/contract.ts";
import type { AdmitContext } from "./admit.ts";
import { readApiKeyGate } from "./api-keys.ts";
import type { ApiKeyGate } from "./api-keys.ts";
import { BlockMemory } from "./block-memory.ts";
import { ClientReader } from "./client.ts";
import { createSelectionMemory, forgetBackends } from "../shared/balance/select.ts";
import { Cooldown } from "../shared/retry/cooldown.ts";
import { compileRoutes } from "../shared/jimeng/routes.ts";
import type { RouteTable } from "../shared/jimeng/routes.ts";
import { openCache } from "./cache.ts";
import type { EdgeCache } from "./cache.ts";
import type { Env } from "./env.ts";
import { missingFeatures, readEnvConfig, registryOf, sourceOf } from "./env.ts";
import type { LogSink } from "./log/entry.ts";
import { openSinks } from "./log/sinks.ts";
import { Findbook } from "./report.ts";
import {
  freshMs,
  LocalTable,
  refreshFromMs,
  refreshPatienceMs,
  refreshPausesMs,
  serveStaleMs,
  tableOfConfiguration,
} from "./table.ts";

/** What is found in the isolate is told after so long at the latest. */
const reportEveryMs = 1000;
/** A report under way for longer than this has been lost with its maker. */
const reportLostMs = 5000;
/** After a report that failed, the next one waits for about so long, whatever comes in. */
const reportPauseMs = 1000;
/** After a refresh that did not come in time, requests don't wait for another one for so long. */
const impatientMs = 1000;
/** With the registry and KV both silent the table in hand serves; a read takes tens of milliseconds. */
const kvPatienceMs = 500;
/** KV is asked again, since the registry may stay away for long, or from here only. */
const kvPauseMs = 10_000;
/** Failures that make a suspect are told at once, at most so often in a second. */
const urgentPerSecond = 10;

export type WaitUntil = (work: Promise<unknown>) => void;

export class Edge {
  readonly env: Env;
  config: Config;
  routes: RouteTable;
  readonly table: LocalTable;
  readonly findings = new Findbook();
  readonly selection = createSelectionMemory();
  readonly cache: EdgeCache = openCache();
  clients: ClientReader;
  readonly apiKeys: ApiKeyGate | null;
  readonly admitContext: AdmitContext;
  readonly sinks: readonly LogSink[];
  /** Random name of this isolate. */
  readonly name = crypto.randomUUID();
  /** What is found is told after so many milliseconds at the latest; written only by who wants to see it told sooner. */
  reportEveryMs = reportEveryMs;
  #overridesVersion = 0;
  /** The report under way; a plain value, since its promise is its maker's. */
  #refreshing: { readonly since: number } | null = null;
  readonly #pause = new Cooldown(reportPauseMs);
  #flushDueMs: number | null = null;
  /** A report is wanted as soon as the one under way has ended. */
  #isMore = false;
  /** When the latest urgent reports were wanted, the oldest first. */
  readonly #urgentMs: number[] = [];
  #patientAgainMs = 0;
  #kvAgainMs = 0;
  secretHeaders: Readonly<Record<string, Readonly<Record<string, string>>>>;

  constructor(env: Env, config: Config, apiKeys: ApiKeyGate | null) {
    this.env = env;
    this.config = config;
    this.routes = compileRoutes(config);
    this.table = new LocalTable(tableOfConfiguration(config.BACKENDS), config.RETRY);
    this.sinks = openSinks(env, (event, error) => this.warnOncePerMinute(event, error));
    this.secretHeaders = headersByName(config);
    this.clients = new ClientReader(config);
    this.apiKeys = apiKeys;
    this.admitContext = {
      limiters: env.RATE_LIMITER,
      memory: new BlockMemory(),
      count: (what) => {
        this.findings.counters.limiter[what] += 1;
      },
      failed: (reason, message) => this.warnOncePerMinute(`limiter_${reason}`, message),
    };
  }

  get registry(): BackendRegistryApi {
    return registryOf(this.env, this.config.LOCATION.registry);
  }

  // ── The table ─────────────────────────────────────────────────────────────────────────────────

  /** Makes the table as fresh as may be without making the request wait long. null: nothing is to be waited for. */
  freshen(region: string, waitUntil: WaitUntil, nowMs: number, maxAgeMs = freshMs): Promise<void> | null {
    const age = this.table.ageMs(nowMs);
    if (age < Math.min(refreshFromMs, maxAgeMs)) return null;
    const own = this.report(region, waitUntil);
    return age < maxAgeMs || nowMs < this.#patientAgainMs ? null : this.#patientFor(own, maxAgeMs);
  }

  /** `own`: a report that this request has begun; null: another's is under way. */
  async #patientFor(own: Promise<void> | null, maxAgeMs: number): Promise<void> {
    await (own === null ? this.#others() : inTime(own, refreshPatienceMs));
    // A registry that just kept somebody waiting in vain would keep the next one waiting as well.
    if (this.table.ageMs(Date.now()) >= maxAgeMs) this.#patientAgainMs = Date.now() + impatientMs;
    if (this.table.ageMs(Date.now()) >= serveStaleMs) await this.#resortToKv();
  }

  /**
   * Waits for another request's report on timers of its own: a promise of that request would be settled in its context,
   * and perhaps when this one has ended.
   */
  async #others(): Promise<void> {
    const awaited = this.#refreshing;
    if (awaited === null) return;
    for (const pauseMs of refreshPausesMs) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      if (this.#refreshing !== awaited) return;
    }
  }

  /** KV holds the last good table for an edge that can't reach the registry. It is never waited for long. */
  async #resortToKv(): Promise<void> {
    const { CACHE } = this.env;
    const nowMs = Date.now();
    if (CACHE === undefined || nowMs < this.#kvAgainMs) return;
    this.#kvAgainMs = nowMs + kvPauseMs;
    try {
      await inTime(this.#readKv(CACHE), kvPatienceMs);
    } catch (error) {
      this.warnOncePerMinute("kv_unavailable", error);
    }
  }

  /** The registry's versions only grow, over its restarts too: what is in hand may be younger than what was published last. */
  async #readKv(namespace: KVNamespace): Promise<void> {
    const published = await namespace.get<PublishedFleet>(publishedKey, "json");
    const isNewer = published !== null && published.table.version > this.table.table.version;
    if (isNewer && this.table.ageMs(Date.now()) >= serveStaleMs) this.#adopt(published.table, "kv", 1, {});
  }

  /**
   * Tells the registry what was seen and takes its newer table, unless that is being done or has just failed: null. The
   * work runs in the maker's `waitUntil`, so that it ends even if the maker's client leaves; its promise is the maker's.
   */
  report(region: string, waitUntil: WaitUntil): Promise<void> | null {
    const nowMs = Date.now();
    if (this.#refreshing !== null && nowMs - this.#refreshing.since < reportLostMs) return null;
    if (this.#pause.leftMs(nowMs) > 0) return null;
    const own = { since: nowMs };
    this.#refreshing = own;
    const over = (): void => {
      if (this.#refreshing === own) this.#refreshing = null;
      if (this.#isMore && this.#refreshing === null) this.#tell(region, waitUntil);
    };
    const done = this.#report(region).finally(over);
    waitUntil(done);
    return done;
  }

  /** Reports now, or when the report under way has ended: it began before what is to be told was seen. */
  #tell(region: string, waitUntil: WaitUntil): void {
    this.#isMore = this.report(region, waitUntil) === null && this.#refreshing !== null;
  }

  async #report(region: string): Promise<void> {
    this.findings.counters.registryCalls.report += 1;
    for (const sink of this.sinks) this.findings.counters.logsDropped += sink.takeDropped();
    const findings = this.findings.take();
    const told = this.table.open();
    try {
      const reply = await this.registry.report({
        isolate: this.name,
        edgeRegion: region,
        lines: findings.lines,
        inFlight: told,
        counters: findings.counters,
        tableVersion: this.table.source === "registry" ? this.table.table.version : -1,
      });
      const nowMs = Date.now();
      // Two versions side by side in the middle of a deployment: what was told in vain is told again.
      if (reply.kind === "misconfigured") throw new Error("the registry has a configuration that it can't use");
      if (reply.table === null) this.table.confirm(nowMs);
      else this.#adopt(reply.table, "registry", nowMs, told);
    } catch (error) {
      this.findings.putBack(findings);
      this.#pause.begin(Date.now(), Math.random);
      this.warnOncePerMinute("registry_unavailable", error);
    }
  }

  #adopt(table: RoutingTable, source: "registry" | "kv", nowMs: number, told: Readonly<Record<string, number>>): void {
    this.table.adopt(table, source, nowMs, told);
    forgetBackends(this.selection, (name) => this.table.has(name));
    if (table.overrides.version === this.#overridesVersion) return;
    const reading = applyOverrides(sourceOf(this.env), table.overrides.values);
    if (!reading.ok) return;
    this.#overridesVersion = table.overrides.version;
    this.config = reading.config;
    this.routes = compileRoutes(reading.config);
    this.secretHeaders = headersByName(reading.config);
    this.clients = new ClientReader(reading.config);
  }

  /** Something was seen: it is told within a second. */
  reportSoon(region: string, waitUntil: WaitUntil, nowMs: number): void {
    if (this.#flushDueMs !== null && nowMs < this.#flushDueMs + reportLostMs) return;
    const inMs = Math.max(this.reportEveryMs, this.#pause.leftMs(nowMs));
    this.#flushDueMs = nowMs + inMs;
    const tell = (): void => {
      this.#flushDueMs = null;
      if (!this.findings.isEmpty) this.#tell(region, waitUntil);
    };
    waitUntil(new Promise<void>((resolve) => setTimeout(resolve, inMs)).then(tell));
  }

  /** A failure that makes a suspect: the registry probes it as soon as it knows. */
  reportUrgently(region: string, waitUntil: WaitUntil, nowMs: number): void {
    const times = this.#urgentMs;
    if (times.length === urgentPerSecond) {
      if (nowMs - (times[0] ?? 0) < 1000) return;
      times.shift();
    }
    times.push(nowMs);
    this.#tell(region, waitUntil);
  }

  // ── Warnings ──────────────────────────────────────────────────────────────────────────────────

  readonly #warned = new Map<string, number>();

  /** A fault that would repeat with every request is told once a minute. */
  warnOncePerMinute(event: string, error: unknown): void {
    const nowMs = Date.now();
    if (nowMs - (this.#warned.get(event) ?? 0) < 60_000) return;
    this.#warned.set(event, nowMs);
    console.warn(
      JSON.stringify({ level: "warn", event, message: error instanceof Error ? error.message : String(error) }),
    );
  }
}

async function inTime(work: Promise<void>, patienceMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function headersByName(config: Config): Record<string, Readonly<Record<string, string>>> {
  return Object.fromEntries(config.BACKENDS.map((backend) => [backend.name, backend.headers]));
}

export type EdgeReading =
  { readonly ok: true; readonly edge: Edge } | { readonly ok: false; readonly faults: readonly ConfigFault[] };

const edges = new WeakMap<Env, EdgeReading>();

/** The isolate's memory for this environment; the configuration is read once. */
export function edgeOf(env: Env): EdgeReading {
  const known = edges.get(env);
  if (known !== undefined) return known;
  const reading = readEnvConfig(env);
  const made = edgeFrom(env, reading);
  edges.set(env, made);
  if (!made.ok) console.error(JSON.stringify({ level: "error", event: "configuration_invalid", faults: made.faults }));
  else if (reading.ok) sayOnce(env, reading.warnings);
  return made;
}

function edgeFrom(env: Env, reading: ConfigReading): EdgeReading {
  const keys = readApiKeyGate(env.API_KEYS);
  if (reading.ok && keys.ok) return { ok: true, edge: new Edge(env, reading.config, keys.gate) };
  return { ok: false, faults: [...(reading.ok ? [] : reading.faults), ...(keys.ok ? [] : keys.faults)] };
}

function sayOnce(env: Env, warnings: readonly string[]): void {
  for (const missing of missingFeatures(env))
    console.log(JSON.stringify({ level: "info", event: "feature_off", missing }));
  for (const warning of warnings)
    console.warn(JSON.stringify({ level: "warn", event: "configuration_warning", warning }));
}
