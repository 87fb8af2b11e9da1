/** UTF-8 without a platform's decoder, for the few lines that are read. */

const replacement = 0xfffd;

/** Code points gathered before they become text, well below what engines take as arguments of one call. */
const batch = 4096;

/** Decodes `bytes[from, to)`; what isn't valid UTF-8 becomes U+FFFD, one for each byte that fits nothing. */
export function decodeUtf8(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  let points: number[] = [];
  let index = from;
  while (index < to) {
    const lead = bytes[index] as number;
    const length = lead < 0x80 ? 1 : sequenceLength(lead);
    const point =
      lead < 0x80 ? lead : length === 0 || index + length > to ? null : readSequence(bytes, index, lead, length);
    points.push(point ?? replacement);
    index += point === null ? 1 : length;
    if (points.length === batch) {
      text += String.fromCodePoint.apply(null, points);
      points = [];
    }
  }
  return text + String.fromCodePoint.apply(null, points);
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
