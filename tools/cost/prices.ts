/**
 * What Cloudflare charges, in dollars. https://developers.cloudflare.com/workers/platform/pricing/ and
 * https://developers.cloudflare.com/durable-objects/platform/pricing/; what a plan includes is left out, since it is nothing
 * at the rates where the price matters.
 */
export interface Prices {
  readonly workerRequestsPerM: number;
  readonly workerCpuMsPerM: number;
  readonly objectRequestsPerM: number;
  readonly rowsWrittenPerM: number;
  readonly rowsReadPerM: number;
  /** Of objects in memory, 128 MB each. */
  readonly gbSecondsPerM: number;
}

export const listPrices: Prices = {
  workerRequestsPerM: 0.3,
  workerCpuMsPerM: 0.02,
  objectRequestsPerM: 0.15,
  rowsWrittenPerM: 1,
  rowsReadPerM: 0.001,
  gbSecondsPerM: 12.5,
};
