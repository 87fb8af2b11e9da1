/** UTF-8 without a platform's decoder, for the few lines that are read. */

const replacement = 0xfffd;

/** Arguments of one call: engines bound their number at some ten thousand. */
const runLength = 4096;

/** Decodes `bytes[from, to)`; what isn't valid UTF-8 becomes U+FFFD, one for each byte that fits nothing. */
export function decodeUtf8(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  let index = from;
  while (index < to) {
    const run = endOfAscii(bytes, index, Math.min(to, index + runLength));
    if (run > index) {
      text += String.fromCharCode(...bytes.subarray(index, run));
      index = run;
      continue;
    }
    const lead = bytes[index] as number;
    const length = sequenceLength(lead);
    const point = length === 0 || index + length > to ? null : readSequence(bytes, index, lead, length);
    text += String.fromCodePoint(point ?? replacement);
    index += point === null ? 1 : length;
  }
  return text;
}

function endOfAscii(bytes: Uint8Array, from: number, to: number): number {
  let index = from;
  while (index < to && (bytes[index] as number) < 0x80) index++;
  return index;
}

/** Of a byte beyond ASCII, RFC 3629 §3; 0 for one that can't begin a sequence. */
function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/** Least code point of each length: a smaller one is overlong, RFC 3629 §3. */
const least = [0, 0, 0x80, 0x800, 0x10000] as const;

function readSequence(bytes: Uint8Array, index: number, lead: number, length: number): number | null {
  let point = lead & (0x7f >> length);
  for (let offset = 1; offset < length; offset++) {
    const byte = bytes[index + offset] as number;
    if ((byte & 0xc0) !== 0x80) return null;
    point = (point << 6) | (byte & 0x3f);
  }
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  return point < (least[length] as number) || point > 0x10ffff || surrogate ? null : point;
}
