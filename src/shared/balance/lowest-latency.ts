/** Peak EWMA × (in flight + 1) / weight, with the age of the open requests: Finagle's load, made fit for minutes. */
import { leastLoaded } from "./least-loaded.ts";
import { expectedLatencyMs } from "./load-score.ts";

/** Latencies within a tenth of each other are one latency: their order is noise, and following it undoes the weights. */
const latencyTolerance = 1.1;

export const lowestLatency = leastLoaded("lowest-latency", expectedLatencyMs, latencyTolerance);
