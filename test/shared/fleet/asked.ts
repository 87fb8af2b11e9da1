/** What an edge asks the registry, where a test doesn't say more. */
import type { PickRequest, Report } from "../../../src/shared/contract.ts";
import { noCounters } from "../../../src/shared/fleet/counters.ts";

export function asking(given: Partial<PickRequest> = {}): PickRequest {
  return {
    routeId: "POST /v1/images/generations",
    routeClass: "generate",
    model: null,
    affinityKey: null,
    taskId: null,
    edgeRegion: "local",
    ...given,
  };
}

/** Asks for the table. */
export const nothingSeen: Report = {
  isolate: "i",
  edgeRegion: "local",
  lines: [],
  inFlight: {},
  counters: noCounters,
  tableVersion: -1,
};
