import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Webhook } from "../../../src/shared/config/config.ts";
import type { Notification } from "../../../src/shared/alerts/evaluate.ts";
import {
  delivered,
  due,
  emptyOutbox,
  enqueue,
  failed,
  nextDueMs,
  readOutbox,
  retain,
  webhookKey,
} from "../../../src/shared/alerts/outbox.ts";
import type { Outbox } from "../../../src/shared/alerts/outbox.ts";
import { seededRng } from "../../../src/shared/rng.ts";

const hook = (name: string): Webhook => ({
  kind: "json",
  url: `https://${name}.example.com/hunter2`,
  secret: "hunter2",
});
const [one, two] = [hook("one"), hook("two")] as const;
const note = (id: string): Notification => ({
  id,
  rule: "error_rate",
  subject: "",
  status: "firing",
  sinceMs: 0,
  atMs: 0,
  value: 1,
  threshold: 0.1,
});
const ids = (outbox: Outbox, webhooks: readonly Webhook[], nowMs: number) =>
  due(outbox, webhooks, nowMs).map(
    ({ delivery, webhook }) => `${new URL(webhook.url).hostname[0]}:${delivery.notifications[0]?.id}`,
  );

describe("the outbox", () => {
  test("gives each webhook its messages in their order, one at a time", () => {
    let outbox = enqueue(emptyOutbox, [note("down")], [one, two], 0);
    outbox = enqueue(outbox, [note("resolved")], [one, two], 1);
    expect(ids(outbox, [one, two], 1)).toEqual(["o:down", "t:down"]);
    outbox = delivered(outbox, due(outbox, [one, two], 1)[0]?.delivery.number ?? 0);
    expect(ids(outbox, [one, two], 1)).toEqual(["t:down", "o:resolved"]);
  });

  test("a webhook that fails holds back its own messages and nobody else's", () => {
    let outbox = enqueue(emptyOutbox, [note("down")], [one, two], 0);
    outbox = failed(outbox, 1, 0, () => 0);
    outbox = enqueue(outbox, [note("resolved")], [one, two], 100);
    expect(ids(outbox, [one, two], 100)).toEqual(["t:down"]);
    expect(ids(outbox, [one, two], 2500)).toEqual(["o:down", "t:down"]);
  });

  test("waits longer after each failure, at most ten minutes, and gives up after the tenth", () => {
    let outbox = enqueue(emptyOutbox, [note("down")], [one], 0);
    const waits: number[] = [];
    let nowMs = 0;
    for (let attempt = 1; attempt < 10; attempt += 1) {
      outbox = failed(outbox, 1, nowMs, () => 1);
      waits.push((nextDueMs(outbox) ?? Number.NaN) - nowMs);
      nowMs = nextDueMs(outbox) ?? Number.NaN;
      expect(due(outbox, [one], nowMs - 1)).toEqual([]);
      expect(due(outbox, [one], nowMs)).toHaveLength(1);
    }
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600].map((seconds) => seconds * 1000));
    outbox = failed(outbox, 1, nowMs, () => 1);
    expect(outbox).toMatchObject({ deliveries: [], dropped: 1 });
    expect(nextDueMs(outbox)).toBeNull();
  });

  test("nothing to say is nothing to send; nobody to tell neither", () => {
    expect(enqueue(emptyOutbox, [], [one], 0)).toBe(emptyOutbox);
    expect(enqueue(emptyOutbox, [note("x")], [], 0).deliveries).toEqual([]);
  });

  test("a webhook taken out of the configuration gets nothing more", () => {
    const outbox = enqueue(emptyOutbox, [note("down")], [one, two], 0);
    expect(ids(outbox, [two], 0)).toEqual(["t:down"]);
    expect(retain(outbox, [two])).toMatchObject({ deliveries: [{ webhook: webhookKey(two) }], dropped: 1 });
    expect(retain(outbox, [one, two]).deliveries).toEqual(outbox.deliveries);
  });

  test("holds no URL and no secret, so that storage holds none", () => {
    expect(JSON.stringify(enqueue(emptyOutbox, [note("down")], [one, two], 0))).not.toMatch(/hunter2|example\.com/u);
  });

  test("keeps the newest 200 while a receiver is down for hours", () => {
    let outbox = emptyOutbox;
    for (let index = 0; index < 250; index += 1) outbox = enqueue(outbox, [note(`n${index}`)], [one], index);
    expect(outbox.deliveries).toHaveLength(200);
    expect(outbox.dropped).toBe(50);
    expect(outbox.deliveries[0]?.notifications[0]?.id).toBe("n50");
  });

  test("a clock set back doesn't hold a message", () => {
    const outbox = enqueue(emptyOutbox, [note("down")], [one], 1e12);
    expect(due(outbox, [one], 0)).toHaveLength(1);
  });

  test("a number that isn't there changes nothing", () => {
    const outbox = enqueue(emptyOutbox, [note("down")], [one], 0);
    expect(failed(outbox, 99, 0, () => 0)).toBe(outbox);
    expect(delivered(outbox, 99).deliveries).toEqual(outbox.deliveries);
  });

  test("whatever fails, restarts or succeeds: each webhook hears each message once and in order, unless it was given up", () => {
    const events = fc.array(fc.constantFrom("say", "tick", "fail", "restart"), { maxLength: 200 });
    fc.assert(
      fc.property(events, fc.integer(), (steps, seed) => {
        const rng = seededRng(seed);
        let outbox = emptyOutbox;
        let [said, nowMs] = [0, 0];
        const heard = new Map<string, number[]>();
        for (const step of steps) {
          if (step === "say") outbox = enqueue(outbox, [note(String((said += 1)))], [one, two], nowMs);
          if (step === "restart") outbox = JSON.parse(JSON.stringify(outbox)) as Outbox;
          if (step === "tick") nowMs += 60_000;
          for (const { delivery, webhook } of due(outbox, [one, two], nowMs)) {
            if (step === "fail" && webhook === one) outbox = failed(outbox, delivery.number, nowMs, rng);
            else if (step === "tick") {
              heard.set(webhook.url, [...(heard.get(webhook.url) ?? []), Number(delivery.notifications[0]?.id)]);
              outbox = delivered(outbox, delivery.number);
            }
          }
        }
        for (const list of heard.values())
          expect(list).toEqual([...new Set(list)].toSorted((left, right) => left - right));
        const waiting = outbox.deliveries.length;
        const told = [...heard.values()].reduce((sum, list) => sum + list.length, 0);
        expect(told + waiting + outbox.dropped).toBe(2 * said);
      }),
    );
  });
});

test("webhooks are told apart by kind and URL", () => {
  const keys = [one, two, { ...one, kind: "slack" as const }, { ...one, url: `${one.url}x` }].map(webhookKey);
  expect(new Set(keys).size).toBe(4);
  expect(webhookKey(one)).toBe(webhookKey({ ...one }));
});

test("a message of a newer version's rule, rolled back, does not hold those behind it", () => {
  const newer = { ...note("newer"), rule: "newer" as Notification["rule"] };
  const stored = enqueue(enqueue(emptyOutbox, [newer], [one], 0), [newer, note("b")], [one], 0);
  const read = readOutbox(JSON.parse(JSON.stringify(stored)) as Outbox);
  expect([ids(read, [one], 0), read.dropped]).toEqual([["o:b"], 1]);
  expect(readOutbox(undefined)).toBe(emptyOutbox);
});
