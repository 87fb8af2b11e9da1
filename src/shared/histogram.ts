/**
 * Latencies in log-scaled buckets, as in DDSketch (Masson, Rim, Lee: VLDB 2019): each bucket is a constant factor wider than
 * the one before, so every answer is within 2 % of the truth, wherever it lies, and histograms add up without loss.
 */

/** Width of a bucket. The value in its harmonic middle is at most (γ − 1) / (γ + 1) = 1.96 % from anything in it. */
const gamma = 1.04;
const logGamma = Math.log(gamma);

/** In milliseconds. What is shorter counts as this: a ping within a data centre. */
export const shortestMs = 1;
/** In milliseconds. What is longer counts as this: the longest that any backend works on one request. */
export const longestMs = 3_600_000;

/** The highest bucket; 0 is the lowest. */
export const lastBucket = Math.ceil(Math.log(longestMs) / logGamma);

/** Bucket → count: the form on the wire and in storage. */
export type SparseCounts = Record<number, number>;

/** The bucket of a latency in milliseconds. What is no number counts as the shortest. */
export function bucketOf(ms: number): number {
  if (!(ms > shortestMs)) return 0;
  // What is exactly a power of γ must not fall into the next bucket by the logarithm's last digit.
  return Math.min(lastBucket, Math.ceil(Math.log(ms) / logGamma - 1e-9));
}

/** The latency, in milliseconds, that stands for all in a bucket. */
export function valueOf(bucket: number): number {
  if (bucket <= 0) return shortestMs;
  return Math.min(longestMs, (2 * gamma ** Math.min(bucket, lastBucket)) / (gamma + 1));
}

export class Histogram {
  /** Counts of the buckets from `#first` on, without gaps: a series' latencies lie close together. */
  #counts: number[] = [];
  #first = 0;
  #count = 0;

  /** Counts `count` requests that took `ms` milliseconds. */
  record(ms: number, count = 1): void {
    this.#add(bucketOf(ms), count);
  }

  /** Buckets outside the range count as the nearest within; a count that is not positive adds nothing. */
  addBuckets(sparse: Readonly<SparseCounts>): void {
    for (const bucket in sparse) {
      const index = Math.min(lastBucket, Math.max(0, Math.trunc(Number(bucket)) || 0));
      this.#add(index, sparse[bucket] as number);
    }
  }

  merge(other: Histogram): void {
    for (const [offset, count] of other.#counts.entries()) this.#add(other.#first + offset, count);
  }

  get count(): number {
    return this.#count;
  }

  /** Within 2 %, as every figure here: it is worked out from the buckets, so it survives the wire unchanged. */
  sumMs(): number {
    let sum = 0;
    for (const [offset, count] of this.#counts.entries()) sum += count * valueOf(this.#first + offset);
    return sum;
  }

  /** In milliseconds; null without any. */
  mean(): number | null {
    return this.#count === 0 ? null : this.sumMs() / this.#count;
  }

  /** The nearest-rank quantile in milliseconds, `q` from 0 to 1; null without any. */
  quantile(q: number): number | null {
    if (this.#count === 0) return null;
    const rank = Math.min(this.#count, Math.max(1, Math.ceil(q * this.#count)));
    let seen = 0;
    for (const [offset, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= rank) return valueOf(this.#first + offset);
    }
    return valueOf(this.#first + this.#counts.length - 1);
  }

  toSparse(): SparseCounts {
    const sparse: SparseCounts = {};
    for (const [offset, count] of this.#counts.entries()) if (count > 0) sparse[this.#first + offset] = count;
    return sparse;
  }

  static fromSparse(sparse: Readonly<SparseCounts>): Histogram {
    const histogram = new Histogram();
    histogram.addBuckets(sparse);
    return histogram;
  }

  #add(bucket: number, count: number): void {
    if (!(count > 0)) return;
    const counts = this.#counts;
    if (counts.length === 0) this.#first = bucket;
    while (bucket < this.#first) {
      counts.unshift(0);
      this.#first -= 1;
    }
    while (bucket >= this.#first + counts.length) counts.push(0);
    counts[bucket - this.#first] = (counts[bucket - this.#first] as number) + count;
    this.#count += count;
  }
}
