/** How well many isolates that pick on their own keep to the weights together. */
import { createSelectionMemory, select } from "../src/shared/balance/select.ts";
import { defaults } from "../src/shared/config/defaults.ts";
import type { Rng } from "../src/shared/rng.ts";
import type { EdgeMember } from "../src/worker/table.ts";

/**
 * The largest relative deviation of a backend's share from its weight's in one second of `rps` requests, each isolate starting
 * with no memory. Smooth weighted round robin repeats itself, so only what is left after its whole cycles is played.
 */
export function balanceError(tables: readonly (readonly EdgeMember[])[], rps: number, rng: Rng): number {
  const members = tables[0]!.map((member) => Object.assign({}, member, { state: "healthy" as const, inFlight: 0 }));
  const cycle = members.reduce((sum, member) => sum + member.weight, 0);
  const counts = new Map(members.map((member) => [member.name, 0]));
  const add = (name: string, count: number): void => void counts.set(name, counts.get(name)! + count);
  for (let index = 0; index < tables.length; index += 1) {
    const requests = Math.floor(rps / tables.length + rng());
    const cycles = Math.floor(requests / cycle);
    for (const member of members) add(member.name, cycles * member.weight);
    const memory = createSelectionMemory();
    for (let left = requests - cycles * cycle; left > 0; left -= 1) {
      const request = {
        routeClass: "query",
        routeId: "GET /v1/models",
        model: null,
        affinityKey: null,
        edgeRegion: "local",
      } as const;
      const choice = select(members, request, defaults.BALANCE, memory, { nowMs: 0, rng });
      if (choice.kind === "candidates") add(choice.ordered[0]!.name, 1);
    }
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return Math.max(...members.map((member) => Math.abs(counts.get(member.name)! / total / (member.weight / cycle) - 1)));
}
