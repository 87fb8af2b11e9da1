/** Hashes for choosing, never for secrets. */

/** FNV-1a over UTF-16 units with murmur3's finalizer, which spreads keys that differ in their last character. */
export function hash32(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A hash as a number in the open interval (0, 1), so that its logarithm is finite and not zero. */
export function hashToUnit(text: string, seed: number): number {
  return (hash32(text, seed) + 0.5) / 2 ** 32;
}
