/**
 * Messages on their way, kept with the state that made them, so that a restart between finding and sending loses none.
 * Each webhook gets its messages in their order and one at a time: "resolved" never overtakes "down". A message that a
 * crash caught between its sending and its striking-out is sent twice, with the same id.
 */
import type { Webhook } from "../config/config.ts";
import type { Rng } from "../rng.ts";
import { isKnown } from "./evaluate.ts";
import type { Notification } from "./evaluate.ts";

export interface Delivery {
  /** Grows with each message; unique in an outbox. */
  readonly number: number;
  /** Which webhook, without its secrets. */
  readonly webhook: string;
  readonly notifications: readonly Notification[];
  readonly attempts: number;
  readonly dueMs: number;
}

export interface Outbox {
  readonly next: number;
  readonly deliveries: readonly Delivery[];
  /** Messages given up or pushed out since the outbox was made. */
  readonly dropped: number;
}

export const emptyOutbox: Outbox = { next: 1, deliveries: [], dropped: 0 };

/** Attempts at one message: with the waits below, the last comes about 40 minutes after the first. */
const maxAttempts = 10;
const firstWaitMs = 5_000;
const longestWaitMs = 600_000;
/** Of all webhooks together. A receiver that is down for hours gets the newest. */
const maxDeliveries = 200;

/** One delivery for each webhook; none when there is nothing to say. */
export function enqueue(
  outbox: Outbox,
  notifications: readonly Notification[],
  webhooks: readonly Webhook[],
  nowMs: number,
): Outbox {
  if (notifications.length === 0) return outbox;
  const added = webhooks.map((webhook, index) => ({
    number: outbox.next + index,
    webhook: webhookKey(webhook),
    notifications,
    attempts: 0,
    dueMs: nowMs,
  }));
  const all = [...outbox.deliveries, ...added];
  const kept = all.slice(-maxDeliveries);
  return { next: outbox.next + added.length, deliveries: kept, dropped: outbox.dropped + all.length - kept.length };
}

export interface DueDelivery {
  readonly delivery: Delivery;
  readonly webhook: Webhook;
}

/** The first of each webhook, if its time has come. */
export function due(outbox: Outbox, webhooks: readonly Webhook[], nowMs: number): readonly DueDelivery[] {
  return heads(outbox).flatMap((delivery) => {
    const webhook = webhooks.find((known) => webhookKey(known) === delivery.webhook);
    return webhook !== undefined && isDue(delivery, nowMs) ? [{ delivery, webhook }] : [];
  });
}

/** When something is to be sent next; null when nothing waits. */
export function nextDueMs(outbox: Outbox): number | null {
  const times = heads(outbox).map((delivery) => delivery.dueMs);
  return times.length === 0 ? null : Math.min(...times);
}

export function delivered(outbox: Outbox, number: number): Outbox {
  return { ...outbox, deliveries: outbox.deliveries.filter((delivery) => delivery.number !== number) };
}

/** Waits 5 s, 10 s, 20 s … 10 min (half to all of it, by chance) before the next attempt; the last failure gives the message up. */
export function failed(outbox: Outbox, number: number, nowMs: number, rng: Rng): Outbox {
  const delivery = outbox.deliveries.find((known) => known.number === number);
  if (delivery === undefined) return outbox;
  const attempts = delivery.attempts + 1;
  if (attempts >= maxAttempts) return { ...delivered(outbox, number), dropped: outbox.dropped + 1 };
  const waitMs = Math.min(longestWaitMs, firstWaitMs * 2 ** delivery.attempts) * (0.5 + rng() / 2);
  const later = { ...delivery, attempts, dueMs: nowMs + waitMs };
  return { ...outbox, deliveries: outbox.deliveries.map((known) => (known.number === number ? later : known)) };
}

/** What storage gave back, without what this version has no words for. */
export function readOutbox(stored: Outbox | undefined): Outbox {
  if (stored === undefined) return emptyOutbox;
  const deliveries = stored.deliveries
    .map((delivery) => ({ ...delivery, notifications: delivery.notifications.filter(isKnown) }))
    .filter(({ notifications }) => notifications.length > 0);
  return { ...stored, deliveries, dropped: stored.dropped + stored.deliveries.length - deliveries.length };
}

/** Strikes out what was meant for webhooks that are no longer configured. */
export function retain(outbox: Outbox, webhooks: readonly Webhook[]): Outbox {
  const known = new Set(webhooks.map(webhookKey));
  const kept = outbox.deliveries.filter((delivery) => known.has(delivery.webhook));
  return { ...outbox, deliveries: kept, dropped: outbox.dropped + outbox.deliveries.length - kept.length };
}

function heads(outbox: Outbox): readonly Delivery[] {
  const firsts = new Map<string, Delivery>();
  for (const delivery of outbox.deliveries) if (!firsts.has(delivery.webhook)) firsts.set(delivery.webhook, delivery);
  return [...firsts.values()];
}

/** A clock set back by more than the longest wait must not hold a message. */
function isDue(delivery: Delivery, nowMs: number): boolean {
  return delivery.dueMs <= nowMs || delivery.dueMs > nowMs + longestWaitMs;
}

/** Kind, and a 64-bit FNV-1a hash of the URL: enough to tell webhooks apart in storage, useless to send with. */
export function webhookKey({ kind, url }: Pick<Webhook, "kind" | "url">): string {
  let hash = 0xcbf29ce484222325n;
  for (let index = 0; index < url.length; index += 1) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(url.charCodeAt(index))) * 0x100000001b3n);
  }
  return `${kind}:${hash.toString(16).padStart(16, "0")}`;
}
