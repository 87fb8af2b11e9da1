import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { alertNames, webhookKinds } from "../../../src/shared/config/config.ts";
import type { Webhook } from "../../../src/shared/config/config.ts";
import type { Notification } from "../../../src/shared/alerts/evaluate.ts";
import { accepted, draft, finish } from "../../../src/shared/alerts/webhook.ts";
import type { SigningInput, WebhookRequest } from "../../../src/shared/alerts/webhook.ts";
import { sentence } from "../../../src/shared/alerts/wording.ts";

const nowMs = 1_760_000_123_456;
const firing: Notification = {
  id: "backend_down:a@1759999000000:firing",
  rule: "backend_down",
  subject: "a",
  status: "firing",
  sinceMs: 1_759_999_000_000,
  atMs: 1_759_999_030_000,
  value: 1,
  threshold: 1,
};
const resolved: Notification = {
  ...firing,
  id: "backend_down:a@1759999000000:resolved",
  status: "resolved",
  atMs: firing.sinceMs + 7_500_000,
};

const webhook = (
  kind: Webhook["kind"],
  secret: string | null = null,
  url = `https://hooks.example.com/${kind}`,
): Webhook => ({ kind, url, secret });

async function hmac({ key, message, encoding }: SigningInput): Promise<string> {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const imported = await crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", imported, bytes(message)));
  if (encoding === "hex") return [...signature].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return btoa(String.fromCharCode(...signature));
}

async function send(to: Webhook, notifications: readonly Notification[] = [firing]): Promise<WebhookRequest> {
  const made = draft(to, notifications, nowMs);
  return finish(made, made.signing === null ? null : await hmac(made.signing));
}

const json = (request: WebhookRequest) => JSON.parse(request.body) as Record<string, unknown>;

describe("each kind gets the body it reads", () => {
  test("json: everything a program needs", async () => {
    const request = await send(webhook("json"), [firing, resolved]);
    expect(request).toMatchObject({
      method: "POST",
      url: "https://hooks.example.com/json",
      headers: { "Content-Type": "application/json; charset=utf-8" },
    });
    expect(json(request)).toEqual({
      source: "jimeng-edge",
      version: 1,
      alerts: [
        {
          id: firing.id, rule: "backend_down", subject: "a", status: "firing", since_ms: firing.sinceMs, at_ms: firing.atMs,
          value: 1, threshold: 1, summary: "[ALERT] backend a is down",
        },
        {
          id: resolved.id, rule: "backend_down", subject: "a", status: "resolved", since_ms: firing.sinceMs, at_ms: resolved.atMs,
          value: 1, threshold: 1, summary: "[RESOLVED] backend a is up again (after 2 h 5 min)",
        },
      ], // prettier-ignore
    });
  });

  test("slack: text, with its three characters escaped", async () => {
    const odd = { ...firing, subject: "<a&b>" };
    expect(json(await send(webhook("slack"), [odd]))).toEqual({
      text: "jimeng-edge\n[ALERT] backend &lt;a&amp;b&gt; is down",
    });
  });

  test("feishu, dingtalk and wecom: text in Chinese", async () => {
    expect(json(await send(webhook("feishu")))).toEqual({
      msg_type: "text",
      content: { text: "jimeng-edge\n[告警] 后端 a 不可用" },
    });
    expect(json(await send(webhook("dingtalk"), [resolved]))).toEqual({
      msgtype: "text",
      text: { content: "jimeng-edge\n[恢复] 后端 a 已恢复（持续 2 小时 5 分）" },
    });
    expect(json(await send(webhook("wecom")))).toEqual({
      msgtype: "text",
      text: { content: "jimeng-edge\n[告警] 后端 a 不可用" },
    });
  });
});

describe("a receiver that checks the signature as its documentation says believes it", () => {
  test("feishu: base64 of HMAC-SHA-256 over nothing under timestamp, line feed, secret; in the body", async () => {
    const request = await send(webhook("feishu", "s3cret"));
    const { timestamp, sign, ...message } = json(request);
    expect(timestamp).toBe("1760000123");
    expect(sign).toBe(await hmac({ key: `${String(timestamp)}\ns3cret`, message: "", encoding: "base64" }));
    expect(message).toMatchObject({ msg_type: "text" });
  });

  test("dingtalk: base64 of HMAC-SHA-256 over timestamp, line feed, secret; in the query, escaped, after the token", async () => {
    const request = await send(
      webhook("dingtalk", "SECabc", "https://oapi.dingtalk.com/robot/send?access_token=t0ken"),
    );
    const query = new URL(request.url).searchParams;
    expect(query.get("access_token")).toBe("t0ken");
    expect(query.get("timestamp")).toBe(String(nowMs));
    expect(query.get("sign")).toBe(await hmac({ key: "SECabc", message: `${nowMs}\nSECabc`, encoding: "base64" }));
    expect(new URL((await send(webhook("dingtalk", "SECabc"))).url).searchParams.get("timestamp")).toBe(String(nowMs));
  });

  test("json: hex of HMAC-SHA-256 over timestamp, dot, body; in a header", async () => {
    const request = await send(webhook("json", "s3cret"));
    const header = request.headers["X-Jimeng-Edge-Signature"] ?? "";
    const [, time = "", signature] = /^t=(\d+),v1=([0-9a-f]{64})$/u.exec(header) ?? [];
    expect(time).toBe("1760000123");
    expect(signature).toBe(await hmac({ key: "s3cret", message: `${time}.${request.body}`, encoding: "hex" }));
  });

  test("the primitive itself agrees with RFC 4231's second test case", async () => {
    const digest = await hmac({ key: "Jefe", message: "what do ya want for nothing?", encoding: "hex" });
    expect(digest).toBe("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  });

  test("without a secret, or where the kind knows none, nothing is signed", () => {
    for (const kind of webhookKinds) expect(draft(webhook(kind), [firing], nowMs).signing).toBeNull();
    expect(draft(webhook("slack", "x"), [firing], nowMs).signing).toBeNull();
    expect(draft(webhook("wecom", "x"), [firing], nowMs).signing).toBeNull();
  });

  test("the secret is in no message", async () => {
    for (const kind of webhookKinds)
      expect(JSON.stringify(await send(webhook(kind, "hunter2")))).not.toContain("hunter2");
  });
});

describe("whether it was taken", () => {
  test.each<[Webhook["kind"], number, string, boolean]>([
    ["json", 204, "", true],
    ["json", 500, "", false],
    ["json", 302, "", false],
    ["slack", 200, "ok", true],
    ["slack", 404, "no_service", false],
    ["feishu", 200, '{"code":0,"msg":"success","data":{}}', true],
    ["feishu", 200, '{"StatusCode":0,"StatusMessage":"success"}', true],
    [
      "feishu",
      200,
      '{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}',
      false,
    ],
    ["dingtalk", 200, '{"errcode":0,"errmsg":"ok"}', true],
    ["dingtalk", 200, '{"errcode":310000,"errmsg":"sign not match"}', false],
    ["dingtalk", 200, '{"errcode":130101,"errmsg":"send too fast"}', false],
    ["wecom", 200, '{"errcode":0,"errmsg":"ok"}', true],
    ["wecom", 200, '{"errcode":93000,"errmsg":"invalid webhook url"}', false],
    ["wecom", 502, '{"errcode":0}', false],
    ["feishu", 200, "<html>", false],
    ["dingtalk", 200, "null", false],
    ["wecom", 200, "", false],
  ])("%s %i %s: %s", (kind, status, body, taken) => {
    expect(accepted(kind, status, body)).toBe(taken);
  });
});

describe("what is said", () => {
  test.each(alertNames.flatMap((rule) => (["firing", "resolved"] as const).map((status) => [rule, status] as const)))(
    "%s %s, in both languages, in one line",
    (rule, status) => {
      for (const value of [0, 0.25, 12.5]) {
        for (const language of ["en", "zh"] as const) {
          const text = sentence({ ...firing, rule, status, value, threshold: 0.1 }, language);
          expect(text).toMatch(
            language === "en" ? /^\[(?:ALERT|RESOLVED)\] [\x20-\x7e]+$/u : /^\[(?:告警|恢复)\] .+$/u,
          );
          expect(text).not.toMatch(/NaN|undefined|null|\n/u);
        }
      }
    },
  );

  test("values in the unit that people read", () => {
    const say = (rule: Notification["rule"], value: number, threshold: number) =>
      sentence({ ...firing, rule, value, threshold, subject: rule === "tier_down" ? "1" : "" }, "en");
    expect(say("error_rate", 0.256, 0.1)).toBe("[ALERT] 26 % of requests fail (limit 10 %)");
    expect(say("latency_p95", 4.5, 3)).toBe("[ALERT] the p95 of cheap requests is 4.50 s (limit 3 s)");
    expect(say("request_rate", 5, 3)).toBe("[ALERT] requests are 5.0 times the usual");
    expect(say("request_rate", 0.2, 3)).toBe("[ALERT] requests have fallen to 20 % of the usual");
    expect(say("tier_down", 0, 0)).toBe("[ALERT] tier 1 has no usable backend left");
    expect(say("tier_down", 1, 1)).toBe("[ALERT] tier 1 has only 1 usable left");
    expect(say("probe_late", 200.4, 180)).toBe("[ALERT] the health probes ran 200 s late");
  });

  test("however many alerts and whatever their names: within WeCom's 2,048 bytes, and JSON", () => {
    const alert = fc.record({
      rule: fc.constantFrom(...alertNames),
      subject: fc.string({ unit: "binary", maxLength: 300 }),
      status: fc.constantFrom("firing", "resolved"),
      value: fc.double({ noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(alert, { minLength: 1, maxLength: 40 }), fc.constantFrom(...webhookKinds), (given, kind) => {
        const { body } = draft(
          webhook(kind),
          given.map((part): Notification => ({ ...firing, ...part })),
          nowMs,
        );
        const message = JSON.parse(body) as { text?: { content?: string } };
        if (kind === "wecom") expect(new TextEncoder().encode(message.text?.content).length).toBeLessThanOrEqual(2048);
      }),
    );
  });

  test("more than fifteen are counted", () => {
    const many = Array.from({ length: 40 }, (_, index) => ({ ...firing, subject: `b${index}` }));
    expect(draft(webhook("slack"), many, nowMs).body).toContain("… and 25 more");
    expect((JSON.parse(draft(webhook("json"), many, nowMs).body) as { alerts: unknown[] }).alerts).toHaveLength(40);
  });
});
