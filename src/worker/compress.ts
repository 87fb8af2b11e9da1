/** Which encoding an identity answer goes out in. https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3 */

/** Below this, the frame of an encoding eats what it saves. */
const worthwhileBytes = 1024;

/** Beyond this (pictures in base64, mostly) the length is kept: it is how a client sees that an answer was cut. */
const lengthKeptBytes = 1_048_576;

/** What the runtime encodes by itself when the header says so; it would send `zstd` as it is. */
const encodings = ["br", "gzip"] as const;
export type Encoding = (typeof encodings)[number];

const compressible =
  /^(?:text\/(?!event-stream)|application\/(?:json|javascript|xml|[\w.+-]+\+(?:json|xml))|image\/svg\+xml)/i;

export interface Compressible {
  readonly status: number;
  readonly headers: Headers;
  /** null: unknown, as in a chunked answer. */
  readonly bytes: number | null;
}

/** The encoding to set, or null: leave it as it is. */
export function encodingFor(acceptEncoding: string | null, answer: Compressible): Encoding | null {
  if (acceptEncoding === null || !mayCompress(answer)) return null;
  return preferred(acceptEncoding);
}

/** Whether this answer's form depends on `Accept-Encoding`, so that `Vary` must say so. */
export function mayCompress({ status, headers, bytes }: Compressible): boolean {
  if (status !== 200 || bytes === null || bytes < worthwhileBytes || bytes > lengthKeptBytes) return false;
  if (headers.has("content-encoding") || headers.has("content-range")) return false;
  if (/\bno-transform\b/i.test(headers.get("cache-control") ?? "")) return false;
  return compressible.test(headers.get("content-type") ?? "");
}

/** The client's favourite among those at hand; of equals the denser one. */
function preferred(acceptEncoding: string): Encoding | null {
  const weights = qualities(acceptEncoding);
  const others = weights.get("*") ?? 0;
  let best: Encoding | null = null;
  let bestWeight = 0;
  for (const encoding of encodings) {
    const weight = weights.get(encoding) ?? others;
    if (weight > bestWeight) {
      best = encoding;
      bestWeight = weight;
    }
  }
  const identity = weights.get("identity") ?? 0;
  return identity > bestWeight ? null : best;
}

/** A member that can't be read counts as refused. */
function qualities(acceptEncoding: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const member of acceptEncoding.split(",")) {
    const [name = "", ...parameters] = member.split(";");
    const coding = name.trim().toLowerCase();
    if (coding === "") continue;
    const q = parameters
      .map((parameter) => /^\s*q\s*=\s*([\d.]+)\s*$/i.exec(parameter)?.[1])
      .find((value) => value !== undefined);
    const weight = parameters.length === 0 ? 1 : Number(q ?? NaN);
    weights.set(coding === "x-gzip" ? "gzip" : coding, weight >= 0 && weight <= 1 ? weight : 0);
  }
  return weights;
}
