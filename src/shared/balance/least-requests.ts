/** Weighted least requests (Envoy): the fewest in flight for its weight. */
import { leastLoaded } from "./least-loaded.ts";

export const leastRequests = leastLoaded("least-requests", () => 1, 1);
