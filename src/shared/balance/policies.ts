/** Every policy by its name. A new one is a file, a name in `policyNames` and a row here; a missing row doesn't compile. */
import type { PolicyName } from "../config/config.ts";
import { hotCold } from "./hot-cold.ts";
import { leastRequests } from "./least-requests.ts";
import { lowestLatency } from "./lowest-latency.ts";
import type { Policy } from "./policy.ts";
import { powerOfTwo } from "./power-of-two.ts";
import { rendezvous } from "./rendezvous.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

export const policies: Readonly<Record<PolicyName, Policy>> = {
  "weighted-round-robin": weightedRoundRobin,
  "lowest-latency": lowestLatency,
  "least-requests": leastRequests,
  "power-of-two": powerOfTwo,
  "hot-cold": hotCold,
  rendezvous,
};
