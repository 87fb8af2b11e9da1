/** The Worker as it is, before a limiter whose answers take as long as those of an object on another continent. */
import { RateLimiter as Limiter } from "../../../src/durable/rate-limiter.ts";
import type { Limit } from "../../../src/shared/config/config.ts";
import type { Admission, AdmitRequest } from "../../../src/shared/contract.ts";

export { BackendRegistry, default, OperationsLedger } from "../../../src/worker/index.ts";

const farMs = 60;

export class RateLimiter extends Limiter {
  override async admit(limit: Limit, request: AdmitRequest): Promise<Admission> {
    await new Promise((resolve) => setTimeout(resolve, farMs));
    return super.admit(limit, request);
  }
}
