/**
 * The one object that knows the fleet. It hears (RPC, probes, its alarm), lets `Fleet` decide, stores what has changed,
 * and answers. It contains no formula.
 */
import { DurableObject } from "cloudflare:workers";
import type {
  BackendRegistryApi,
  LedgerEvent,
  OperationsLedgerApi,
  PickReply,
  PickRequest,
  PreferenceReply,
  RenewReply,
  Report,
  ReportReply,
  Settlement,
} from "../shared/contract.ts";
import { ledgerName } from "../shared/contract.ts";
import type { ConfigReading } from "../shared/config/config.ts";
import { lastingFacts, momentaryFacts } from "../shared/fleet/backend.ts";
import { Fleet } from "../shared/fleet/fleet.ts";
import type { Effects } from "../shared/fleet/fleet.ts";
import { rankServers } from "../shared/fleet/preference.ts";
import { Records } from "../shared/fleet/records.ts";
import type { RouteClass } from "../shared/route.ts";
import { inBatches, probe, readModels } from "./prober.ts";
import type { ProbeTarget } from "./prober.ts";
import { RegistryStore } from "./registry-store.ts";
import { readSettings } from "./settings.ts";
import type { DurableEnv } from "./settings.ts";

const msPerS = 1000;

/** What changed in memory is on disk after so long; a request shorter than this costs no row. */
const writeBehindMs = 1000;
/** Figures move with every request and a minute of them may be lost: they are written less often. */
const figuresWriteMs = 60_000;
/** An alarm is never set closer than this, whatever is due: work that can't be done must not spin. */
const alarmFloorMs = 500;
/** With nothing due, the alarm still rings: expiry, retention, and the watch over itself. */
const alarmCeilingMs = 60_000;
/** The alarm's handler waits for its probes no longer than this before it arms the next. */
const alarmPatienceMs = 10_000;

export class BackendRegistry extends DurableObject<DurableEnv> implements BackendRegistryApi {
  readonly #store: RegistryStore;
  readonly #reading: ConfigReading;
  readonly #fleet: Fleet | null;
  readonly #probing = new Set<string>();
  #flushAt: number | null = null;
  #figuresWrittenMs: number;
  #alarmAtMs: number | null = null;
  #leaseSerial = 0;
  /** Lease ids of this life of the object differ from those of any other. */
  readonly #life = crypto.randomUUID();

  constructor(ctx: DurableObjectState, env: DurableEnv) {
    super(ctx, env);
    const nowMs = Date.now();
    this.#figuresWrittenMs = nowMs;
    this.#store = new RegistryStore(ctx.storage);
    this.#reading = readSettings(env);
    this.#fleet = this.#reading.ok
      ? new Fleet(this.#reading.config, this.#store.load(), Records.restore(this.#store.records()), nowMs)
      : null;
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmAtMs = await ctx.storage.getAlarm();
      if (this.#fleet !== null) await this.#arm(Date.now());
    });
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

  #misconfigured(): { kind: "misconfigured"; faults: [] | (ConfigReading & { ok: false })["faults"] } {
    return { kind: "misconfigured", faults: this.#reading.ok ? [] : this.#reading.faults };
  }

  // ── The alarm ─────────────────────────────────────────────────────────────────────────────────

  /** Nothing may escape from here: after six failed tries the platform drops an alarm for good. */
  override async alarm(): Promise<void> {
    this.#alarmAtMs = null;
    try {
      await this.#work();
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "registry_alarm_failed", message: String(error) }));
    } finally {
      await this.#arm(Date.now());
    }
  }

  async #work(): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null) return;
    const nowMs = Date.now();
    this.#heard(fleet.tick(nowMs));
    const probes = this.#probeAll(fleet.dueProbes(nowMs));
    await Promise.race([probes, new Promise((resolve) => setTimeout(resolve, alarmPatienceMs))]);
    this.#flush();
  }

  /** Sets the alarm for the next thing that is due, unless one that rings earlier is set already. */
  async #arm(nowMs: number): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null) return;
    const due = Math.max(nowMs + alarmFloorMs, Math.min(fleet.nextDueMs(), nowMs + alarmCeilingMs));
    if (this.#alarmAtMs !== null && this.#alarmAtMs <= due) return;
    this.#alarmAtMs = due;
    await this.ctx.storage.setAlarm(due);
  }

  // ── Probes ────────────────────────────────────────────────────────────────────────────────────

  #probeAll(names: readonly string[]): Promise<void> {
    const fresh = names.filter((name) => !this.#probing.has(name));
    for (const name of fresh) this.#probing.add(name);
    return inBatches(fresh, async (name) => {
      try {
        await this.#probeOne(name);
      } finally {
        this.#probing.delete(name);
      }
    });
  }

  async #probeOne(name: string): Promise<void> {
    const target = this.#target(name);
    if (target === null || this.#fleet === null) return;
    const fact = await probe(target);
    this.#heard(this.#fleet.probed(fact, Date.now()));
    if (!fact.ok || !this.#fleet.modelsDue(name, Date.now())) return;
    const models = await readModels(target);
    if (models === null) return;
    this.#fleet.modelsRead(name, models, Date.now());
    this.#changed();
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
    const ledger = this.env.OPERATIONS_LEDGER.get(
      this.env.OPERATIONS_LEDGER.idFromName(ledgerName),
    ) as unknown as OperationsLedgerApi;
    // The ledger is told as well as may be; the registry keeps its promises without it.
    this.ctx.waitUntil(ledger.record(events).catch(() => undefined));
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
    if (Date.now() - this.#figuresWrittenMs >= figuresWriteMs) this.#writeFigures(fleet);
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
    this.#store.writeFact("counters", "", fleet.counters);
    this.#store.writeRecords(fleet.records.drainChanges(nowMs, names));
    this.#store.forgetOldTasks(nowMs);
  }

  #writeHealth(fleet: Fleet): void {
    for (const backend of fleet.backends) this.#store.writeFact("health", backend.name, fleet.health(backend.name));
  }
}
