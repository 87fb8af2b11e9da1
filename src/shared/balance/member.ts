/** A backend as the choosers see it: the registry's live objects and the rows of a routing table both fit. */
import type { TableBackend } from "../contract.ts";

export type Member = Pick<
  TableBackend,
  | "name"
  | "priority"
  | "weight"
  | "weightShare"
  | "maxInFlight"
  | "operatorState"
  | "state"
  | "trialFor"
  | "inFlight"
  | "openAgeMs"
  | "load"
  | "regionMs"
  | "routes"
  | "refusedRoutes"
  | "models"
  | "modelsBinding"
>;

/**
 * The weight in force. A share of 0 belongs to an ejected backend, which is among the candidates only in panic,
 * where health is ignored; so it counts in full there.
 */
export function effectiveWeight(member: Member): number {
  return member.weightShare > 0 ? member.weight * member.weightShare : member.weight;
}

export function hasRoom(member: Member): boolean {
  return member.maxInFlight === null || member.inFlight < member.maxInFlight;
}
