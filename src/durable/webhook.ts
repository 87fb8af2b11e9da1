/** Sends one message to one webhook, signed where its kind knows a signature. */
import { accepted, draft, finish } from "../shared/alerts/webhook.ts";
import type { SigningInput } from "../shared/alerts/webhook.ts";
import type { Notification } from "../shared/alerts/evaluate.ts";
import type { Webhook } from "../shared/config/config.ts";
import { boundedText } from "./bounded-text.ts";

/** Chats answer within a second; one that takes longer is tried again. */
const timeoutMs = 10_000;
/** The chats' answers are a line; one that is longer says nothing that is understood. */
const answerBytes = 65_536;

export type Sending = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Never throws; the reason names neither the URL nor the secret. */
export async function sendMessage(
  webhook: Webhook,
  notifications: readonly Notification[],
  nowMs: number,
): Promise<Sending> {
  const drafted = draft(webhook, notifications, nowMs);
  try {
    const signature = drafted.signing === null ? null : await sign(drafted.signing);
    const { url, method, headers, body } = finish(drafted, signature);
    // A redirect would carry the message to who knows whom.
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { method, headers: { ...headers }, body, redirect: "manual", signal });
    const answer = (await boundedText(response, answerBytes)) ?? "";
    if (accepted(webhook.kind, response.status, answer)) return { ok: true };
    return { ok: false, reason: `${webhook.kind} webhook answered ${response.status} and did not take the message` };
  } catch (error) {
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    return { ok: false, reason: `${webhook.kind} webhook ${timedOut ? "gave no answer in time" : "can't be reached"}` };
  }
}

const encoder = new TextEncoder();

async function sign({ key, message, encoding }: SigningInput): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", encoder.encode(key), algorithm, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(message)));
  if (encoding === "hex") return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return btoa(String.fromCharCode(...mac));
}
