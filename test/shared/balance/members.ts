/** Backends and settings for tests of the balance; a test says only what it is about. */
import type { Member } from "../../../src/shared/balance/member.ts";
import type { SelectRequest } from "../../../src/shared/balance/select.ts";
import type { BalanceConfig, PolicyName } from "../../../src/shared/config/config.ts";

export type MutableMember = { -readonly [Field in keyof Member]: Member[Field] };

export function member(name: string, given: Partial<Member> = {}): MutableMember {
  return {
    name,
    priority: 1,
    weight: 1,
    weightShare: 1,
    maxInFlight: null,
    operatorState: "active",
    state: "healthy",
    trialFor: given.state === "trial" ? "server" : null,
    inFlight: 0,
    openAgeMs: 0,
    load: {},
    regionMs: {},
    routes: null,
    refusedRoutes: [],
    models: null,
    modelsBinding: false,
    ...given,
  };
}

/** Named a, b, c, … */
export function membersOfWeights(weights: readonly number[]): MutableMember[] {
  return weights.map((weight, index) => member(String.fromCodePoint(97 + index), { weight }));
}

export function balanceWith(policy: PolicyName, given: Partial<BalanceConfig> = {}): BalanceConfig {
  return {
    policies: { query: policy, generate: policy, stream: policy, task: policy, usage: policy, token: policy },
    spillover: 1.4,
    panic: 0.5,
    affinityHeader: null,
    regionPreference: 0,
    ...given,
  };
}

export const generation: SelectRequest = {
  routeClass: "generate",
  routeId: "POST /v1/images/generations",
  model: null,
  affinityKey: null,
  edgeRegion: "FRA",
};

export const query: SelectRequest = { ...generation, routeClass: "query", routeId: "GET /v1/models" };

export function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
