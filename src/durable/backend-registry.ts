/**
 * The one object that knows the fleet. It hears (RPC, probes, its alarm), lets `Fleet` decide, stores what has changed,
 * and answers. It contains no formula.
 */
import { DurableObject } from "cloudflare:workers";
import type {
  BackendChange,
  BackendRegistryApi,
  BackendReply,
  BackendView,
  LedgerEvent,
  MoveReply,
  MoveRequest,
  OperationsLedgerApi,
  OperatorIdentity,
  OverridesReply,
  OverridesRequest,
  OverridesView,
  PickReply,
  PickRequest,
  PreferenceReply,
  ProbeReply,
  RegistryOperationsApi,
  RenewReply,
  Report,
  ReportReply,
  Settlement,
} from "../shared/contract.ts";
import { ledgerName } from "../shared/contract.ts";
import type { ConfigReading } from "../shared/config/config.ts";
import { lastingFacts, momentaryFacts } from "../shared/fleet/backend.ts";
import { Fleet } from "../shared/fleet/fleet.ts";
import type { Effects, ProbeFact } from "../shared/fleet/fleet.ts";
import { metricsOf, observe } from "../shared/fleet/observation.ts";
import type { Overlay } from "../shared/fleet/overlay.ts";
import { noOverrides, settleOverrides } from "../shared/fleet/overrides.ts";
import type { SettledOverrides, StandingOverrides } from "../shared/fleet/overrides.ts";
import { rankServers } from "../shared/fleet/preference.ts";
import { Records } from "../shared/fleet/records.ts";
import type { FleetMetrics } from "../shared/metrics/fleet-metrics.ts";
import type { RouteClass } from "../shared/route.ts";
import { AlertDesk } from "./alert-desk.ts";
import { Connections, connectionsAtOnce } from "./connections.ts";
import { EventQueue } from "./event-queue.ts";
import { probe, readModels } from "./prober.ts";
import type { ProbeTarget } from "./prober.ts";
import { Publication } from "./publication.ts";
import { RegistryOperations } from "./registry-operations.ts";
import { RegistryStore } from "./registry-store.ts";
import { sourceOf } from "./settings.ts";
import type { DurableEnv } from "./settings.ts";
import { Warnings } from "./warnings.ts";

const msPerS = 1000;

/** What changed in memory is on disk after so long; a request shorter than this costs no row. */
const writeBehindMs = 1000;
/** Figures move with every request and a minute of them may be lost: they are written less often. */
const figuresWriteMs = 60_000;
/** Once so long without a change: an object that nobody calls leaves memory after ten seconds, and takes with it what is not on disk. */
const figuresQuietMs = 3000;
/** An alarm is never set closer than this, whatever is due: work that can't be done must not spin. */
const alarmFloorMs = 500;
/** With nothing due, the alarm still rings: expiry, retention, and the watch over itself. */
const alarmCeilingMs = 60_000;
/** The alarm's handler waits for its probes no longer than this before it arms the next. */
const alarmPatienceMs = 10_000;
/** The number of blocked clients is worth no longer wait. */
const ledgerPatienceMs = 1000;

export class BackendRegistry extends DurableObject<DurableEnv> implements BackendRegistryApi, RegistryOperationsApi {
  readonly #store: RegistryStore;
  readonly #warnings = new Warnings();
  readonly #events: EventQueue;
  readonly #alerts: AlertDesk;
  readonly #publication: Publication;
  readonly #operations: RegistryOperations;
  #alarmLateMs = 0;
  readonly #reading: ConfigReading;
  readonly #fleet: Fleet | null;
  readonly #connections = new Connections(connectionsAtOnce);
  readonly #probing = new Set<string>();
  #flushAt: number | null = null;
  #figuresWrittenMs: number;
  #quiet: ReturnType<typeof setTimeout> | null = null;
  #alarmAtMs: number | null = null;
  /** While the alarm is at work, what is due is being done; the next ring is set at its end. */
  #ringing = false;
  #leaseSerial = 0;
  /** Lease ids of this life of the object differ from those of any other. */
  readonly #life = crypto.randomUUID();

  constructor(ctx: DurableObjectState, env: DurableEnv) {
    super(ctx, env);
    const nowMs = Date.now();
    this.#figuresWrittenMs = nowMs;
    this.#store = new RegistryStore(ctx.storage);
    const memory = this.#store.load();
    const settled = settleOverrides(sourceOf(env), this.#store.fact<StandingOverrides>("overrides") ?? noOverrides);
    const { version, values } = settled.standing;
    this.#reading = settled.reading;
    this.#fleet = this.#reading.ok
      ? new Fleet(
          this.#reading.config,
          { ...memory, overrides: { version, values } },
          Records.restore(this.#store.records()),
          nowMs,
        )
      : null;
    this.#events = new EventQueue(this.#store, () => this.#ledger(), this.#warnings);
    this.#alerts = new AlertDesk(this.#store, this.#warnings, this.#connections);
    this.#publication = new Publication(this.#store, env.CACHE, this.#warnings);
    this.#operations = this.#openOperations(settled, nowMs);
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmAtMs = await ctx.storage.getAlarm();
      if (this.#fleet !== null) await this.#arm(Date.now());
    });
  }

  #openOperations({ standing, ended }: SettledOverrides, nowMs: number): RegistryOperations {
    const host = {
      fleet: this.#fleet,
      reading: this.#reading,
      store: this.#store,
      source: sourceOf(this.env),
      tell: (events: readonly LedgerEvent[]) => this.#tell(events),
      reformed: (effects: Effects) => this.#reformed(effects),
      probe: (name: string) => this.#connections.run(() => this.#probeOne(name)),
    };
    const operations = new RegistryOperations(host, standing);
    operations.settle(ended, nowMs);
    return operations;
  }

  // ── The edge asks ─────────────────────────────────────────────────────────────────────────────

  async pick(request: PickRequest): Promise<PickReply> {
    const fleet = this.#fleet;
    if (fleet === null) return this.#misconfigured();
    const home = request.taskId === null ? null : this.#store.taskHome(request.taskId);
    this.#leaseSerial += 1;
    const leaseId = `${this.#life}/${this.#leaseSerial}`;
    const reply = fleet.pick(request, leaseId, home, { nowMs: Date.now(), rng: Math.random });
    this.#changed();
    return reply;
  }

  async settle(settlement: Settlement): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null) return;
    this.#heard(fleet.settle(settlement, Date.now()));
  }

  async move(request: MoveRequest): Promise<MoveReply> {
    // Without a configuration nothing is bounded.
    if (this.#fleet === null) return { kind: "moved", backend: request.candidates[0] ?? "" };
    const { effects, ...reply } = this.#fleet.move(request, Date.now());
    this.#heard(effects);
    return reply;
  }

  async renew(leaseId: string, backend: string, routeClass: RouteClass): Promise<RenewReply> {
    const reply = this.#fleet?.renew(leaseId, backend, routeClass, Date.now()) ?? { known: false, lost: false };
    this.#changed();
    return reply;
  }

  async report(report: Report): Promise<ReportReply> {
    const fleet = this.#fleet;
    if (fleet === null) return this.#misconfigured();
    const nowMs = Date.now();
    this.#heard(fleet.report(report, nowMs));
    const table = fleet.table(nowMs);
    return { kind: "ok", table: table.version === report.tableVersion ? null : table };
  }

  async rememberTask(taskId: string, backend: string): Promise<void> {
    this.#store.rememberTask(taskId, backend, Date.now());
  }

  async preference(region: string | null): Promise<PreferenceReply> {
    if (this.#fleet === null) return { region, regions: [], servers: [] };
    return rankServers(this.#fleet, region, Date.now());
  }

  async wake(): Promise<boolean> {
    if (this.#fleet === null) return false;
    const armed = await this.ctx.storage.getAlarm();
    if (armed !== null) return false;
    this.#alarmAtMs = null;
    await this.#arm(Date.now());
    return true;
  }

  // ── Operators ask ─────────────────────────────────────────────────────────────────────────────

  async listBackends(): Promise<readonly BackendView[]> {
    return this.#operations.listBackends();
  }

  async changeBackend(change: BackendChange, by: OperatorIdentity): Promise<BackendReply> {
    return this.#operations.changeBackend(change, by, Date.now());
  }

  async probeBackend(name: string, by: OperatorIdentity): Promise<ProbeReply> {
    return this.#operations.probeBackend(name, by);
  }

  async overrides(): Promise<OverridesView> {
    return this.#operations.overrides();
  }

  async overlay(): Promise<Overlay> {
    return this.#operations.overlay();
  }

  async changeOverrides(request: OverridesRequest, by: OperatorIdentity): Promise<OverridesReply> {
    return this.#operations.changeOverrides(request, by, Date.now());
  }

  async purgeCache(paths: readonly string[] | null, by: OperatorIdentity): Promise<Readonly<Record<string, number>>> {
    return this.#operations.purgeCache(paths, by, Date.now());
  }

  async keepEvents(events: readonly LedgerEvent[]): Promise<void> {
    this.#tell(events);
  }

  /** null: there is no configuration to measure anything under. */
  async metrics(): Promise<FleetMetrics | null> {
    const blockedClients = await this.#blockedClients();
    if (this.#fleet === null) return null;
    const around = { blockedClients, alarmLateMs: this.#alarmLateMs };
    return metricsOf(this.#fleet, around, this.#alerts.figures, Date.now());
  }

  /** null where the ledger doesn't say. */
  async #blockedClients(): Promise<number | null> {
    const silence = new Promise<null>((resolve) => setTimeout(() => resolve(null), ledgerPatienceMs));
    const answer = this.#ledger()
      .blockCount()
      .catch(() => null);
    return Promise.race([answer, silence]);
  }

  #ledger(): OperationsLedgerApi {
    const namespace = this.env.OPERATIONS_LEDGER;
    return namespace.get(namespace.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
  }

  #tell(events: readonly LedgerEvent[]): void {
    if (events.length === 0) return;
    this.#events.add(events);
    this.ctx.waitUntil(this.#events.deliver(Date.now()));
    void this.#arm(Date.now());
  }

  #reformed(effects: Effects): void {
    this.#publication.stir();
    this.#alerts.stir();
    this.#heard(effects);
  }

  #misconfigured(): { kind: "misconfigured"; faults: [] | (ConfigReading & { ok: false })["faults"] } {
    return { kind: "misconfigured", faults: this.#reading.ok ? [] : this.#reading.faults };
  }

  // ── The alarm ─────────────────────────────────────────────────────────────────────────────────

  /** Nothing may escape from here: after six failed tries the platform drops an alarm for good. */
  override async alarm(): Promise<void> {
    this.#alarmAtMs = null;
    this.#ringing = true;
    try {
      await this.#work();
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "registry_alarm_failed", message: String(error) }));
    } finally {
      this.#ringing = false;
      await this.#arm(Date.now());
    }
  }

  async #work(): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null) return;
    const nowMs = Date.now();
    this.#alarmLateMs = fleet.overdueMs(this.#probing, nowMs);
    this.#heard(fleet.tick(nowMs));
    const work = Promise.all([this.#probeAll(fleet.dueProbes(nowMs)), this.#lookForAlerts(fleet)]);
    await Promise.race([work, new Promise((resolve) => setTimeout(resolve, alarmPatienceMs))]);
    this.#flush();
    // After the probes, which share its connections; and nothing waits for these.
    this.ctx.waitUntil(this.#sendAll(fleet));
  }

  async #lookForAlerts(fleet: Fleet): Promise<void> {
    if (!this.#alerts.isDue(Date.now())) return;
    const blockedClients = await this.#blockedClients();
    const around = { blockedClients, alarmLateMs: this.#alarmLateMs };
    const nowMs = Date.now();
    this.#alerts.look(fleet.config.ALERTS, observe(fleet, around, nowMs), nowMs);
  }

  async #sendAll(fleet: Fleet): Promise<void> {
    const nowMs = Date.now();
    const { config } = fleet;
    await Promise.all([
      this.#alerts.send(config.ALERTS, nowMs),
      this.#publication.publish(fleet.table(nowMs), config, nowMs),
      this.#events.deliver(nowMs),
    ]);
    await this.#arm(Date.now());
  }

  /** Sets the alarm for the next thing that is due, unless one that rings earlier is set already. */
  async #arm(nowMs: number): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null || this.#ringing) return;
    const wanted = [
      fleet.nextDueMs(this.#probing),
      this.#alerts.nextDueMs(),
      this.#publication.nextDueMs(),
      this.#events.nextDueMs(),
    ];
    const earliest = Math.min(...wanted.map((dueMs) => dueMs ?? Infinity), nowMs + alarmCeilingMs);
    const due = Math.max(nowMs + alarmFloorMs, earliest);
    if (this.#alarmAtMs !== null && this.#alarmAtMs <= due) return;
    this.#alarmAtMs = due;
    try {
      await this.ctx.storage.setAlarm(due);
    } catch (error) {
      // Unknown rather than believed to be set: whatever comes next tries again.
      this.#alarmAtMs = null;
      this.#warnings.warn("alarm_not_set", error);
    }
  }

  // ── Probes ────────────────────────────────────────────────────────────────────────────────────

  async #probeAll(names: readonly string[]): Promise<void> {
    const fresh = names.filter((name) => !this.#probing.has(name));
    for (const name of fresh) this.#probing.add(name);
    await Promise.all(fresh.map((name) => this.#connections.run(() => this.#probeOnce(name))));
  }

  /** While it runs nothing of this backend is due; after it the next probe is. */
  async #probeOnce(name: string): Promise<void> {
    try {
      await this.#probeOne(name);
    } finally {
      this.#probing.delete(name);
      void this.#arm(Date.now());
    }
  }

  /** null: there is no such backend. */
  async #probeOne(name: string): Promise<ProbeFact | null> {
    const target = this.#target(name);
    if (target === null || this.#fleet === null) return null;
    const fact = await probe(target);
    this.#heard(this.#fleet.probed(fact, Date.now()));
    if (!fact.ok || !this.#fleet.modelsDue(name, Date.now())) return fact;
    const models = await readModels(target);
    if (models === null) return fact;
    this.#fleet.modelsRead(name, models, Date.now());
    this.#publication.stir();
    this.#changed();
    return fact;
  }

  #target(name: string): ProbeTarget | null {
    const backend = this.#fleet?.backend(name);
    if (this.#fleet === null || backend === null || backend === undefined) return null;
    const { HEALTH_CHECK } = this.#fleet.config;
    return {
      name,
      url: backend.url,
      path: backend.config.healthPath ?? HEALTH_CHECK.path,
      headers: backend.config.headers,
      timeoutMs: HEALTH_CHECK.timeout * msPerS,
      tries: HEALTH_CHECK.retries,
    };
  }

  // ── What follows ──────────────────────────────────────────────────────────────────────────────

  #heard(effects: Effects): void {
    if (effects.probeNow.length > 0) this.ctx.waitUntil(this.#probeAll(effects.probeNow));
    if (effects.transitions.length > 0) {
      // An ejection must outlive the object: it is stored before the answer goes out.
      if (this.#fleet !== null) this.#writeHealth(this.#fleet);
      this.#publication.stir();
      this.#alerts.stir();
      this.#tellLedger(effects);
    }
    this.#changed();
  }

  #tellLedger(effects: Effects): void {
    const atMs = Date.now();
    const events: LedgerEvent[] = effects.transitions.map((transition) => ({
      kind: "backend_state",
      atMs,
      subject: transition.backend,
      actor: "system",
      detail: { from: transition.from, to: transition.to, reason: transition.reason },
    }));
    // The ledger is told as well as may be; the registry keeps its promises without it.
    this.ctx.waitUntil(
      this.#ledger()
        .record(events)
        .catch(() => undefined),
    );
  }

  /** Memory has changed: it is on disk within `writeBehindMs`, and the alarm stands where it must. */
  #changed(): void {
    const nowMs = Date.now();
    void this.#arm(nowMs);
    if (this.#flushAt !== null && this.#flushAt > nowMs - 5 * writeBehindMs) return;
    this.#flushAt = nowMs + writeBehindMs;
    setTimeout(() => this.#flush(), writeBehindMs);
  }

  #flush(): void {
    this.#flushAt = null;
    const fleet = this.#fleet;
    if (fleet === null) return;
    for (const backend of fleet.backends) this.#store.writeFact("learned", backend.name, lastingFacts(backend.learned));
    this.#store.writeLeases(fleet.leases.drainChanges());
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    if (Date.now() - this.#figuresWrittenMs >= figuresWriteMs) this.#writeFigures(fleet);
    else this.#quiet = setTimeout(() => this.#writeFigures(fleet), figuresQuietMs);
  }

  /** What moves with every request, and what has left. */
  #writeFigures(fleet: Fleet): void {
    const nowMs = Date.now();
    this.#figuresWrittenMs = nowMs;
    const names = new Set(fleet.backends.map((backend) => backend.name));
    for (const backend of fleet.backends)
      this.#store.writeFact("moment", backend.name, momentaryFacts(backend.learned));
    this.#writeHealth(fleet);
    for (const kind of ["learned", "moment", "health"] as const) this.#store.forgetOthers(kind, names);
    this.#store.writeRecords(fleet.records.drainChanges(nowMs, names));
    this.#store.forgetOldTasks(nowMs);
  }

  #writeHealth(fleet: Fleet): void {
    for (const { name } of fleet.backends) {
      const health = fleet.health(name);
      if (health !== null) this.#store.writeFact("health", name, health);
    }
  }
}
