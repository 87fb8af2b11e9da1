import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketOf, Histogram, lastBucket, longestMs, shortestMs, valueOf } from "../../src/shared/histogram.ts";

/** What the design allows. */
const relativeError = 0.02;

/** Uniform over the orders of magnitude from 1 ms to 1 h. */
const latency = fc.double({ min: 0, max: Math.log(longestMs), noNaN: true }).map((exponent) => Math.exp(exponent));
const latencies = fc.array(latency, { minLength: 1, maxLength: 400, size: "max" });
const share = fc.double({ min: 0, max: 1, noNaN: true });

function histogramOf(samples: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const sample of samples) histogram.record(sample);
  return histogram;
}

/** The nearest-rank quantile of all samples, sorted. */
function oracleQuantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] as number;
}

function expectWithin(measured: number | null, truth: number): void {
  expect(Math.abs((measured as number) - truth) / truth).toBeLessThanOrEqual(relativeError);
}

describe("buckets", () => {
  test("every latency from 1 ms to 1 h is told within 2 %", () => {
    fc.assert(
      fc.property(latency, (ms) => {
        expectWithin(valueOf(bucketOf(ms)), ms);
      }),
      { numRuns: 20_000 },
    );
  });

  test("every whole millisecond of the first minute, and both ends of every bucket, are told within 2 %", () => {
    for (let ms = 1; ms <= 60_000; ms += 1) {
      const error = Math.abs(valueOf(bucketOf(ms)) - ms) / ms;
      if (error > relativeError) throw new Error(`${ms} ms is told as ${valueOf(bucketOf(ms))}`);
    }
    for (let bucket = 1; bucket < lastBucket; bucket += 1) {
      const edge = 1.04 ** bucket;
      for (const ms of [edge, edge * (1 + 1e-12), edge * (1 - 1e-12)]) expectWithin(valueOf(bucketOf(ms)), ms);
    }
  });

  test("a longer latency never falls into a lower bucket", () => {
    fc.assert(
      fc.property(latency, latency, (one, other) => {
        const [shorter, longer] = one < other ? [one, other] : [other, one];
        expect(bucketOf(shorter)).toBeLessThanOrEqual(bucketOf(longer));
      }),
    );
  });

  test("the value of a bucket lies in that bucket", () => {
    for (let bucket = 0; bucket <= lastBucket; bucket += 1) expect(bucketOf(valueOf(bucket))).toBe(bucket);
  });

  test.each([
    ["nothing", 0, shortestMs],
    ["a negative time", -5, shortestMs],
    ["no number", Number.NaN, shortestMs],
    ["a fraction of a millisecond", 0.2, shortestMs],
    ["two hours", 7_200_000, longestMs],
    ["forever", Number.POSITIVE_INFINITY, longestMs],
  ])("%s counts as the nearest end of the range", (_name, ms, counted) => {
    expect(valueOf(bucketOf(ms)) / counted).toBeCloseTo(1, 1);
    expect(bucketOf(ms)).toBeGreaterThanOrEqual(0);
    expect(bucketOf(ms)).toBeLessThanOrEqual(lastBucket);
  });

  test("400 buckets cover the range", () => {
    expect(lastBucket).toBeLessThan(400);
  });
});

describe("a histogram against all samples, sorted", () => {
  test("every quantile is within 2 % of the nearest-rank sample", () => {
    fc.assert(
      fc.property(latencies, share, (samples, q) => {
        const histogram = histogramOf(samples);
        for (const one of [q, 0, 0.5, 0.95, 0.99, 1]) {
          expectWithin(histogram.quantile(one), oracleQuantile(samples, one));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("sum and mean are within 2 %", () => {
    fc.assert(
      fc.property(latencies, (samples) => {
        const sum = samples.reduce((total, sample) => total + sample, 0);
        const histogram = histogramOf(samples);
        expectWithin(histogram.sumMs(), sum);
        expectWithin(histogram.mean(), sum / samples.length);
      }),
    );
  });

  test("merging two is the same as recording the union, in any order", () => {
    fc.assert(
      fc.property(latencies, latencies, (one, other) => {
        const merged = histogramOf(one);
        merged.merge(histogramOf(other));
        const reversed = histogramOf(other);
        reversed.merge(histogramOf(one));
        const union = histogramOf([...one, ...other]);
        expect(merged.toSparse()).toEqual(union.toSparse());
        expect(reversed.toSparse()).toEqual(union.toSparse());
        expect(merged.count).toBe(one.length + other.length);
      }),
    );
  });

  test("the sparse form survives JSON and gives the same answers", () => {
    fc.assert(
      fc.property(latencies, share, (samples, q) => {
        const histogram = histogramOf(samples);
        const revived = Histogram.fromSparse(
          JSON.parse(JSON.stringify(histogram.toSparse())) as Record<number, number>,
        );
        expect(revived.count).toBe(histogram.count);
        expect(revived.quantile(q)).toBe(histogram.quantile(q));
        expect(revived.sumMs()).toBe(histogram.sumMs());
      }),
    );
  });

  test("a count of many is the same as recording one many times", () => {
    const many = new Histogram();
    many.record(120, 1000);
    expect(many.toSparse()).toEqual(histogramOf(Array<number>(1000).fill(120)).toSparse());
  });
});

describe("an empty histogram", () => {
  test("knows no quantile and no mean", () => {
    const empty = new Histogram();
    expect([empty.count, empty.sumMs(), empty.mean(), empty.quantile(0.5)]).toEqual([0, 0, null, null]);
    expect(empty.toSparse()).toEqual({});
  });

  test("is what nonsense from the wire leaves: counts that are not positive add nothing", () => {
    const histogram = Histogram.fromSparse({ 5: 0, 6: -3, 7: Number.NaN });
    expect(histogram.count).toBe(0);
  });

  test("takes buckets outside the range as the nearest within", () => {
    const histogram = Histogram.fromSparse({ [-4]: 1, [lastBucket + 1000]: 2 });
    expect(histogram.toSparse()).toEqual({ 0: 1, [lastBucket]: 2 });
  });
});
