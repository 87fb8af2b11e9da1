/** A failure that is told inside a 200: as an event of a stream, or in the text of a chat answer. */
import type { Outcome } from "../outcome.ts";
import { classifyAnswer, readErrorBody } from "./answer.ts";
import type { JsonObject } from "./json.ts";
import { asObject } from "./json.ts";

export interface ToldError {
  /** As `{"error": …}`, as a Jimeng error body, or in the text of a chunk or a message. */
  readonly form: "error_event" | "code" | "text";
  readonly code: number | null;
  /** The server's words, at most 500 UTF-16 units and an ellipsis. */
  readonly message: string;
}

const maxMessage = 500;

/** How the servers word a failure. It opens the text, so a prompt that is quoted further on is none. */
const failure =
  /^\s*(?:⚠\uFE0F?|❌)?\s*(?:生成(?:图片|图像|视频)失败|(?:图片|图像|视频)生成(?:失败|过程中(?:遇到问题|出现错误)))/u;

/** Without one of these a piece of JSON tells of no failure and need not be parsed; `\u` stands for escaped Chinese. */
const hints: readonly string[] = ['"error"', '"code"', "失败", "遇到问题", "出现错误", "\\u"];

/**
 * Whether `bytes[from, to)` can tell of a failure at all. Nearly no event does, and looking at bytes costs a tenth of
 * making text of them.
 */
export function mayTellError(bytes: Uint8Array, from: number, to: number): boolean {
  for (let index = from; index + 3 < to; index++) {
    const first = bytes[index] as number;
    if (first !== 0x22 && first !== 0x5c && first < 0xe5) continue;
    if (isHint(first, bytes[index + 1] as number, bytes[index + 2] as number, bytes[index + 3] as number)) return true;
  }
  return false;
}

/** How the hints begin: `"err`, `"cod`, `\u`, 失, 遇, 出. */
function isHint(first: number, second: number, third: number, fourth: number): boolean {
  switch (first) {
    case 0x22:
      return (
        (second === 0x65 && third === 0x72 && fourth === 0x72) || (second === 0x63 && third === 0x6f && fourth === 0x64)
      );
    case 0x5c:
      return second === 0x75;
    case 0xe5:
      return (second === 0xa4 && third === 0xb1) || (second === 0x87 && third === 0xba);
    case 0xe9:
      return second === 0x81 && third === 0x87;
    default:
      return false;
  }
}

/** The failure that the data of one event tells, or null; never throws. */
export function readToldError(data: string): ToldError | null {
  if (!hints.some((hint) => data.includes(hint))) return null;
  try {
    return toldErrorIn(JSON.parse(data));
  } catch {
    return null;
  }
}

/** The same for a parsed chunk or a whole chat answer. */
export function toldErrorIn(json: unknown): ToldError | null {
  const body = asObject(json);
  if (body === null) return null;
  const error = body["error"];
  if (error !== undefined && error !== null) {
    const message = typeof error === "string" ? error : asObject(error)?.["message"];
    return told("error_event", null, typeof message === "string" ? message : "");
  }
  const coded = readErrorBody(body);
  if (coded !== null) return told("code", coded.code, coded.message);
  const text = textOf(body);
  return failure.test(text) ? told("text", null, text.trim()) : null;
}

/**
 * What such a failure means. Without a code the words decide, as they do for -2001; the generation may have been
 * submitted in any case, since the first chunk goes out before it.
 */
export function classifyTold({ code, message }: ToldError): Outcome {
  const outcome = classifyAnswer(
    {
      status: 200,
      code: code ?? -2001,
      message,
      hasRetryAfter: false,
      isJimengBody: true,
      bodyState: "complete",
      elapsedMs: 0,
    },
    "stream",
  );
  return { ...outcome, executed: "unknown", reason: code === null ? "told_in_answer" : outcome.reason };
}

function textOf(body: JsonObject): string {
  const choices = body["choices"];
  if (!Array.isArray(choices)) return "";
  return choices
    .map((choice) => asObject(choice))
    .map((choice) => asObject(choice?.["delta"] ?? choice?.["message"])?.["content"])
    .filter((content) => typeof content === "string")
    .join("");
}

function told(form: ToldError["form"], code: number | null, message: string): ToldError {
  return { form, code, message: message.length > maxMessage ? `${message.slice(0, maxMessage)}…` : message };
}
