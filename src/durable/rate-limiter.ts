/**
 * The limits of one client. Every decision about the client is made here, one after the other; memory is the truth and
 * storage is what of it outlives the object. It loads, lets `ClientLimits` decide, stores and answers.
 */
import { DurableObject } from "cloudflare:workers";
import { ClientLimits } from "../shared/client-limits.ts";
import type { ClientLimitsRecord } from "../shared/client-limits.ts";
import type { Limit } from "../shared/config/config.ts";
import { ledgerName } from "../shared/contract.ts";
import type {
  Admission,
  AdmitRequest,
  BlockEntry,
  ClientState,
  LimitPolicy,
  OperationsLedgerApi,
  RateLimiterApi,
} from "../shared/contract.ts";
import type { DurableEnv } from "./settings.ts";

/** Counts are on disk within a second, also when the timer fires somewhat late. */
const countsWriteMs = 900;
/** How many were refused interests an operator, not the limiter; a flood must not write a row a second. */
const refusedWriteMs = 10_000;
/** An alarm that failed is tried again after so long; the runtime's own tries end after six. */
const alarmRetryMs = 60_000;
/** An alarm that would ring so much too late is set anew: storage is not kept for a window that a block has emptied. */
const alarmLateMs = 60_000;
/** Pauses before each try at telling the ledger. It shows what it was told last, so a lost word would stay lost. */
const tellPausesMs = [0, 1000, 4000] as const;

const recordKey = "client";

interface StoredClient {
  readonly clientKey: string | null;
  readonly limits: ClientLimitsRecord;
  /** When the alarm was set to ring. */
  readonly alarmMs: number;
}

export class RateLimiter extends DurableObject<DurableEnv> implements RateLimiterApi {
  #limits: ClientLimits;
  #clientKey: string | null;
  #alarmMs: number | null;
  #write: { readonly timer: ReturnType<typeof setTimeout>; readonly dueMs: number } | null = null;
  #refusedTold = 0;

  constructor(ctx: DurableObjectState, env: DurableEnv) {
    super(ctx, env);
    // The key-value interface makes its table with the first write: looking at a client leaves nothing behind.
    const stored = ctx.storage.kv.get<StoredClient>(recordKey);
    this.#limits = ClientLimits.fromRecord(stored?.limits);
    this.#clientKey = stored?.clientKey ?? ctx.id.name ?? null;
    this.#alarmMs = stored?.alarmMs ?? null;
  }

  async admit(limit: Limit, request: AdmitRequest): Promise<Admission> {
    this.#clientKey = request.clientKey;
    const nowMs = Date.now();
    const admission = this.#limits.admit(limit, request, nowMs);
    if (admission.kind === "admitted") {
      if (request.durability === "strict") this.#store(nowMs);
      else this.#storeWithin(countsWriteMs, nowMs);
    } else if (admission.started) {
      // The runtime holds the answer back until what is written here is on disk.
      this.#store(nowMs);
      this.#tellLedger();
    } else if (!request.reportOnly) {
      this.#storeWithin(refusedWriteMs, nowMs);
    }
    return admission;
  }

  async inspect(limit: Limit, policy: LimitPolicy): Promise<ClientState> {
    return this.#state(limit, policy, Date.now());
  }

  async reset(): Promise<boolean> {
    const nowMs = Date.now();
    const remembered = this.#limits.emptyAtMs(nowMs) > nowMs;
    await this.#forget();
    this.#tellLedger();
    return remembered;
  }

  async block(seconds: number, reason: string): Promise<ClientState> {
    const nowMs = Date.now();
    this.#limits.block(seconds, reason, nowMs);
    this.#store(nowMs);
    this.#tellLedger();
    return { clientKey: this.#clientKey, count: 0, remaining: 0, block: this.#blockEntry(nowMs) };
  }

  /** Deletes everything when there is nothing left to remember; else comes back when there will be nothing. */
  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    try {
      this.#alarmMs = null;
      if (this.#limits.emptyAtMs(nowMs) <= nowMs) await this.#forget();
      else this.#store(nowMs);
    } catch (error) {
      console.error(JSON.stringify({ level: "error", event: "limiter_alarm_failed", message: String(error) }));
      await this.ctx.storage.setAlarm(nowMs + alarmRetryMs);
    }
  }

  #state(limit: Limit, policy: LimitPolicy, nowMs: number): ClientState {
    const block = this.#blockEntry(nowMs);
    const count = this.#limits.count(limit, policy, nowMs);
    const remaining = block === null ? Math.max(0, limit.requests - count) : 0;
    return { clientKey: this.#clientKey, count, remaining, block };
  }

  #blockEntry(nowMs: number): BlockEntry | null {
    const block = this.#limits.blockAt(nowMs);
    return block === null ? null : { clientKey: this.#clientKey ?? this.ctx.id.toString(), ...block };
  }

  // ── Storage ───────────────────────────────────────────────────────────────────────────────────

  #storeWithin(delayMs: number, nowMs: number): void {
    const dueMs = nowMs + delayMs;
    // A clock set back must not put a write off until it has caught up.
    if (this.#write !== null && this.#write.dueMs <= dueMs && this.#write.dueMs >= nowMs - delayMs) return;
    this.#cancelWrite();
    this.#write = { dueMs, timer: setTimeout(() => this.#writeBehind(), delayMs) };
  }

  #writeBehind(): void {
    const nowMs = Date.now();
    this.#store(nowMs);
    const refused = this.#limits.blockAt(nowMs)?.refused ?? 0;
    if (refused > 0 && refused !== this.#refusedTold) this.#tellLedger();
  }

  #cancelWrite(): void {
    if (this.#write !== null) clearTimeout(this.#write.timer);
    this.#write = null;
  }

  #store(nowMs: number): void {
    this.#cancelWrite();
    const dueMs = Math.max(Math.ceil(this.#limits.emptyAtMs(nowMs)), nowMs + 1);
    // One alarm per life of the window, not one per write: it looks again when it rings too early.
    if (this.#alarmMs === null || this.#alarmMs <= nowMs || this.#alarmMs > dueMs + alarmLateMs) {
      this.#alarmMs = dueMs;
      void this.ctx.storage.setAlarm(dueMs);
    }
    const stored: StoredClient = {
      clientKey: this.#clientKey,
      limits: this.#limits.toRecord(),
      alarmMs: this.#alarmMs,
    };
    this.ctx.storage.kv.put(recordKey, stored);
  }

  /** `deleteAll` takes the alarm with it. */
  async #forget(): Promise<void> {
    this.#cancelWrite();
    this.#limits = new ClientLimits();
    this.#alarmMs = null;
    await this.ctx.storage.deleteAll();
  }

  // ── The operators' list ───────────────────────────────────────────────────────────────────────

  /** The ledger is told as well as may be; the limiter keeps its promises without it. */
  #tellLedger(): void {
    this.ctx.waitUntil(this.#tellPatiently());
  }

  /** Each try tells what holds by then, so tries that overtake each other do no harm. */
  async #tellPatiently(): Promise<void> {
    for (const pauseMs of tellPausesMs) {
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        await this.#tellOnce();
        return;
      } catch (error) {
        if (error instanceof Error && "overloaded" in error) return;
      }
    }
  }

  async #tellOnce(): Promise<void> {
    const namespace = this.env.OPERATIONS_LEDGER;
    const ledger = namespace.get(namespace.idFromName(ledgerName)) as unknown as OperationsLedgerApi;
    const entry = this.#blockEntry(Date.now());
    if (entry !== null) {
      this.#refusedTold = entry.refused;
      await ledger.blocked(entry);
    } else if (this.#clientKey !== null) {
      await ledger.unblocked(this.#clientKey);
    }
  }
}
