/** What `--policy` may name: one of the product's policies and what it knows, or something to compare with. */
import { policyNames, type PolicyName } from "../src/shared/config/config.ts";

/**
 * `exact`: one registry for all edges, asked for every request. `table`: its table, a second old. `local`: every edge keeps
 * counters of its own. `probing`: Prequal's client.
 */
export type Knowledge = "exact" | "table" | "local" | "probing";

export interface SimPolicy {
  readonly label: string;
  readonly policy: PolicyName;
  readonly knowledge: Knowledge;
  /** Without a key, rendezvous hashing is a draw in proportion to the weights. */
  readonly useAffinity: boolean;
}

const comparisons: readonly SimPolicy[] = [
  { label: "round-robin", policy: "weighted-round-robin", knowledge: "local", useAffinity: false },
  { label: "random", policy: "rendezvous", knowledge: "local", useAffinity: false },
  { label: "prequal", policy: "hot-cold", knowledge: "probing", useAffinity: false },
];

export function parsePolicy(label: string): SimPolicy {
  const compared = comparisons.find((one) => one.label === label);
  if (compared !== undefined) return compared;
  const [, name, suffix] = /^(.*?)(?:-(local|table))?$/.exec(label) ?? [];
  const policy = policyNames.find((one) => one === name);
  if (policy === undefined) {
    throw new RangeError(`policy: expected ${policyLabels.join(", ")}, received ${JSON.stringify(label)}`);
  }
  return { label, policy, knowledge: suffix === "local" || suffix === "table" ? suffix : "exact", useAffinity: true };
}

export const policyLabels: readonly string[] = [
  ...policyNames,
  ...policyNames.map((name) => `${name}-table`),
  ...policyNames.map((name) => `${name}-local`),
  ...comparisons.map((one) => one.label),
];
