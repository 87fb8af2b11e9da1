/**
 * Looks at the fleet from time to time, remembers which alerts stand, and sends what there is to say. State and outbox are
 * one row, so that a message is queued if and only if it counts as told.
 */
import { delivered, due, enqueue, failed, nextDueMs, readOutbox, retain } from "../shared/alerts/outbox.ts";
import type { DueDelivery, Outbox } from "../shared/alerts/outbox.ts";
import { evaluate, firingByRule, readAlertState } from "../shared/alerts/evaluate.ts";
import type { AlertState } from "../shared/alerts/evaluate.ts";
import type { FleetObservation } from "../shared/alerts/conditions.ts";
import type { AlertsConfig } from "../shared/config/config.ts";
import type { AlertFigures } from "../shared/fleet/observation.ts";
import { Connections } from "./connections.ts";
import type { RegistryStore } from "./registry-store.ts";
import type { Warnings } from "./warnings.ts";
import { sendMessage } from "./webhook.ts";

/** Between looks while somebody is to be told; the shortest `for` of a rule by default is 10 s. */
const watchedPauseMs = 15_000;
/** Of the object's few connections the messages leave most to the probes. */
const messagesAtOnce = 2;
/** With nobody to tell, the alerts stand in the metrics alone. */
const unwatchedPauseMs = 60_000;

interface Stored {
  readonly state: AlertState;
  readonly outbox: Outbox;
}

export class AlertDesk {
  readonly #store: RegistryStore;
  readonly #warnings: Warnings;
  readonly #connections: Connections;
  readonly #messages = new Connections(messagesAtOnce);
  readonly #sending = new Set<number>();
  #state: AlertState;
  #outbox: Outbox;
  #lookMs = 0;
  #waitingMs: number | null = null;

  constructor(store: RegistryStore, warnings: Warnings, connections: Connections) {
    this.#store = store;
    this.#connections = connections;
    this.#warnings = warnings;
    const stored = store.fact<Stored>("alerts");
    this.#state = readAlertState(stored?.state);
    this.#outbox = readOutbox(stored?.outbox);
  }

  get figures(): AlertFigures {
    return { alertsFiring: firingByRule(this.#state), alertMessagesDropped: this.#outbox.dropped };
  }

  /** Something has happened that a rule may look at. */
  stir(): void {
    this.#lookMs = 0;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= Math.min(this.#lookMs, this.#waitingMs ?? Infinity);
  }

  /** When to look or to send next, in epoch milliseconds. */
  nextDueMs(): number {
    const sends = this.#sending.size > 0 ? null : nextDueMs(this.#outbox);
    return Math.min(this.#lookMs, this.#waitingMs ?? Infinity, sends ?? Infinity);
  }

  look(config: AlertsConfig, seen: FleetObservation, nowMs: number): void {
    const { state, notifications, dueMs } = evaluate(config.rules, seen, this.#state, nowMs);
    this.#state = state;
    this.#waitingMs = dueMs;
    this.#lookMs = nowMs + (config.webhooks.length > 0 ? watchedPauseMs : unwatchedPauseMs);
    this.#outbox = enqueue(retain(this.#outbox, config.webhooks), notifications, config.webhooks, nowMs);
    this.#save();
  }

  /** Sends what is due; settles when each has answered or was given up for now. */
  async send({ webhooks }: AlertsConfig, nowMs: number): Promise<void> {
    const ready = due(this.#outbox, webhooks, nowMs).filter(({ delivery }) => !this.#sending.has(delivery.number));
    for (const { delivery } of ready) this.#sending.add(delivery.number);
    const send = (one: DueDelivery) => this.#connections.run(() => this.#sendOne(one, nowMs));
    await Promise.all(ready.map((one) => this.#messages.run(() => send(one))));
  }

  async #sendOne({ delivery, webhook }: DueDelivery, nowMs: number): Promise<void> {
    try {
      const sending = await sendMessage(webhook, delivery.notifications, nowMs);
      if (sending.ok) this.#outbox = delivered(this.#outbox, delivery.number);
      else {
        this.#warnings.warn("webhook_failed", sending.reason);
        this.#outbox = failed(this.#outbox, delivery.number, Date.now(), Math.random);
      }
      this.#save();
    } finally {
      this.#sending.delete(delivery.number);
    }
  }

  #save(): void {
    const stored: Stored = { state: this.#state, outbox: this.#outbox };
    this.#store.writeFact("alerts", "", stored);
  }
}
