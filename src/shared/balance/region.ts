/** Regional preference by what a region of the edge measured, never by a label. */
import { hasRoom, type Member } from "./member.ts";

/**
 * Moves those that this region measured to be slower by more than `factor` behind the rest, in place and stable.
 * What is not measured yet counts as near, so that it gets measured. While the near ones are busier than the far ones by
 * the same factor, distance is the smaller evil and nobody is moved.
 * @returns how many are near.
 */
export function nearFirst<M extends Member>(members: M[], edgeRegion: string, factor: number): number {
  if (factor <= 0 || members.length < 2) return members.length;
  let fastestMs = Infinity;
  for (const member of members) fastestMs = Math.min(fastestMs, member.regionMs[edgeRegion] ?? Infinity);
  if (fastestMs === Infinity) return members.length;
  const limitMs = fastestMs * Math.max(1, factor);
  const isNear = (member: Member) => (member.regionMs[edgeRegion] ?? fastestMs) <= limitMs;
  const near = members.filter(isNear);
  if (near.length === members.length) return members.length;
  const far = members.filter((member) => !isNear(member));
  if (crowding(near) > Math.max(1, factor) * crowding(far)) return members.length;
  for (const [index, member] of [...near, ...far].entries()) members[index] = member;
  return near.length;
}

/** Requests in flight for the weight, each with the one that might come. */
function crowding(members: readonly Member[]): number {
  let requests = 0;
  let weight = 0;
  for (const member of members) {
    if (!hasRoom(member)) continue;
    requests += member.inFlight + 1;
    weight += member.weight;
  }
  return weight === 0 ? 0 : requests / weight;
}
