/**
 * Data points for Workers Analytics Engine, which samples and keeps them for three months:
 * https://developers.cloudflare.com/analytics/analytics-engine/
 *
 * | field | holds |
 * |---|---|
 * | index1 | route |
 * | blob1 … blob8 | route, method, outcome, reason, backend, cache, region, API key's name |
 * | double1 … double3 | status, latency in ms, attempts |
 *
 * No address, client key, URL or user agent is in it.
 */
import type { LogEntry, LogSink } from "./entry.ts";

/** https://developers.cloudflare.com/analytics/analytics-engine/limits/ */
const indexBytes = 96;
const unrouted = "none";

export class AnalyticsSink implements LogSink {
  readonly name = "analytics";
  readonly #dataset: AnalyticsEngineDataset;
  readonly #warn: (event: string, error: unknown) => void;
  #dropped = 0;

  /** `warn` tells at most once a minute. */
  constructor(dataset: AnalyticsEngineDataset, warn: (event: string, error: unknown) => void) {
    this.#dataset = dataset;
    this.#warn = warn;
  }

  /** The runtime sends it by itself, after the answer. */
  write(entry: LogEntry): void {
    const { route, method, outcome, reason, backend, cache, region, api_key: apiKey } = entry;
    try {
      this.#dataset.writeDataPoint({
        indexes: [fitting(route ?? unrouted)],
        blobs: [route, method, outcome, reason, backend, cache, region, apiKey],
        doubles: [entry.status, entry.latency, entry.attempts],
      });
    } catch (error) {
      this.#dropped += 1;
      this.#warn("analytics_unavailable", error);
    }
  }

  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}

function fitting(text: string): string {
  const bytes = new TextEncoder().encode(text);
  // A character that is cut in two is left out.
  return bytes.length <= indexBytes
    ? text
    : new TextDecoder().decode(bytes.slice(0, indexBytes)).replace(/\ufffd+$/u, "");
}
