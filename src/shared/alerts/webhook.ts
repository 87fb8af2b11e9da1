/**
 * What is sent to a webhook, by its kind. Signing is an HMAC, which is the caller's: `draft` says what to sign with which
 * key, `finish` puts the signature where the kind wants it, `accepted` reads the answer.
 *
 * - slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/
 * - feishu: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
 * - dingtalk: https://open.dingtalk.com/document/robots/custom-robot-access and …/customize-robot-security-settings
 * - wecom: https://developer.work.weixin.qq.com/document/path/91770
 */
import type { Webhook } from "../config/config.ts";
import type { Notification } from "./evaluate.ts";
import { sentence } from "./wording.ts";
import type { Language } from "./wording.ts";

/** HMAC-SHA-256 of `message` under `key`, both UTF-8, in the encoding named. */
export interface SigningInput {
  readonly key: string;
  readonly message: string;
  readonly encoding: "base64" | "hex";
}

export interface Draft {
  readonly webhook: Webhook;
  readonly timestamp: string;
  readonly body: string;
  /** null: the kind or the webhook knows no signature. */
  readonly signing: SigningInput | null;
}

export interface WebhookRequest {
  readonly method: "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Lines of a chat message; WeCom takes 2,048 bytes, and nobody reads more at night. */
const maxLines = 15;
const maxLineCharacters = 200;

const languages: Readonly<Record<Webhook["kind"], Language>> = {
  json: "en",
  slack: "en",
  feishu: "zh",
  dingtalk: "zh",
  wecom: "zh",
};

/** One message about everything that one evaluation found. `nowMs` is the time of sending: signatures expire with it. */
export function draft(webhook: Webhook, notifications: readonly Notification[], nowMs: number): Draft {
  const text = chatText(notifications, languages[webhook.kind]);
  const seconds = String(Math.floor(nowMs / 1000));
  switch (webhook.kind) {
    case "json": {
      const body = JSON.stringify(jsonMessage(notifications));
      return signed(webhook, seconds, body, (secret) => ({
        key: secret,
        message: `${seconds}.${body}`,
        encoding: "hex",
      }));
    }
    case "slack":
      return signed(webhook, seconds, JSON.stringify({ text: escapeSlack(text) }), null);
    case "feishu": {
      const body = JSON.stringify({ msg_type: "text", content: { text } });
      // Feishu signs nothing under a key made of the time and the secret.
      return signed(webhook, seconds, body, (secret) => ({
        key: `${seconds}\n${secret}`,
        message: "",
        encoding: "base64",
      }));
    }
    case "dingtalk": {
      const milliseconds = String(Math.floor(nowMs));
      const body = JSON.stringify({ msgtype: "text", text: { content: text } });
      return signed(webhook, milliseconds, body, (secret) => ({
        key: secret,
        message: `${milliseconds}\n${secret}`,
        encoding: "base64",
      }));
    }
    case "wecom":
      return signed(webhook, seconds, JSON.stringify({ msgtype: "text", text: { content: text } }), null);
  }
}

function signed(
  webhook: Webhook,
  timestamp: string,
  body: string,
  input: ((secret: string) => SigningInput) | null,
): Draft {
  const signing = webhook.secret === null || input === null ? null : input(webhook.secret);
  return { webhook, timestamp, body, signing };
}

/** `signature` in the encoding that the draft asked for; null when it asked for none. */
export function finish({ webhook, timestamp, body }: Draft, signature: string | null): WebhookRequest {
  const request: WebhookRequest = {
    method: "POST",
    url: webhook.url,
    headers: { "Content-Type": "application/json; charset=utf-8", "User-Agent": "jimeng-edge" },
    body,
  };
  if (signature === null) return request;
  switch (webhook.kind) {
    case "json":
      return {
        ...request,
        headers: { ...request.headers, "X-Jimeng-Edge-Signature": `t=${timestamp},v1=${signature}` },
      };
    case "feishu":
      return { ...request, body: JSON.stringify({ timestamp, sign: signature, ...(JSON.parse(body) as object) }) };
    case "dingtalk": {
      const separator = webhook.url.includes("?") ? "&" : "?";
      return {
        ...request,
        url: `${webhook.url}${separator}timestamp=${timestamp}&sign=${encodeURIComponent(signature)}`,
      };
    }
    case "slack":
    case "wecom":
      return request;
  }
}

/** Whether the receiver took the message. The Chinese chats say 200 to everything and tell in the body. */
export function accepted(kind: Webhook["kind"], status: number, body: string): boolean {
  if (status < 200 || status > 299) return false;
  if (kind === "json" || kind === "slack") return true;
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return false;
  }
  if (typeof answer !== "object" || answer === null) return false;
  const codes: Readonly<Record<string, unknown>> = { ...answer };
  // Feishu has written `StatusCode` and writes `code`.
  const code = kind === "feishu" ? (codes["code"] ?? codes["StatusCode"]) : codes["errcode"];
  return code === 0;
}

// ── Messages ─────────────────────────────────────────────────────────────────────────────────────

/** For programs. Times are epoch milliseconds; `status` is `firing` or `resolved`. */
function jsonMessage(notifications: readonly Notification[]): object {
  const alerts = notifications.map((alert) => ({
    id: alert.id,
    rule: alert.rule,
    subject: alert.subject,
    status: alert.status,
    since_ms: alert.sinceMs,
    at_ms: alert.atMs,
    value: alert.value,
    threshold: alert.threshold,
    summary: sentence(alert, "en"),
  }));
  return { source: "jimeng-edge", version: 1, alerts };
}

function chatText(notifications: readonly Notification[], language: Language): string {
  const lines = notifications
    .slice(0, maxLines)
    .map((alert) => sentence(alert, language).slice(0, maxLineCharacters).toWellFormed());
  const more = notifications.length - lines.length;
  if (more > 0) lines.push(language === "zh" ? `……另有 ${more} 条` : `… and ${more} more`);
  return fitted(`jimeng-edge\n${lines.join("\n")}`);
}

/** WeCom's limit of 2,048 bytes, counting three for each character that isn't ASCII. */
function fitted(text: string): string {
  let bytes = 0;
  let length = 0;
  for (const character of text) {
    bytes += (character.codePointAt(0) ?? 0) < 0x80 ? 1 : 4;
    if (bytes > 2040) return `${text.slice(0, length)}…`;
    length += character.length;
  }
  return text;
}

/** https://docs.slack.dev/messaging/formatting-message-text/#escaping */
function escapeSlack(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
