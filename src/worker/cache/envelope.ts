/**
 * A slot as bytes: four of length, that much JSON, the body. One value, so that head and body can't come from two
 * writes, and a length that doesn't fit shows that something was cut.
 */
import type { CachedAnswer, Slot } from "../../shared/cache/cached-answer.ts";

/** Raised when the shape of `Head` changes; an older one is not read. */
const version = 1;

interface Head {
  readonly version: number;
  readonly key: string;
  readonly bodyBytes: number;
  readonly slot: Omit<Slot, "answer"> & { readonly answer: Omit<CachedAnswer, "body"> };
}

export function encodeSlot(key: string, slot: Slot): Uint8Array {
  const { body, ...answer } = slot.answer;
  const head: Head = { version, key, bodyBytes: body.byteLength, slot: { ...slot, answer } };
  const text = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + text.byteLength + body.byteLength);
  new DataView(bytes.buffer).setUint32(0, text.byteLength);
  bytes.set(text, 4);
  bytes.set(body, 4 + text.byteLength);
  return bytes;
}

/** null: not ours, of another version, another key's, or cut. */
export function decodeSlot(key: string, bytes: Uint8Array): Slot | null {
  if (bytes.byteLength < 4) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (bytes.byteLength < 4 + length) return null;
  let head: Head;
  try {
    head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Head;
  } catch {
    return null;
  }
  const body = bytes.subarray(4 + length);
  if (head.version !== version || head.key !== key || head.bodyBytes !== body.byteLength) return null;
  return { ...head.slot, answer: { ...head.slot.answer, body } };
}
