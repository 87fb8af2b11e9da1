/**
 * Whose turn it is among equals: start-time fair queueing, one unit of service a pick. Ties rotate in proportion to the
 * weights, a backend that comes back claims nothing for its absence, and the order of the list doesn't matter.
 * Goyal, Vin, Cheng: Start-time Fair Queueing (SIGCOMM 1996).
 */
import type { Rng } from "../rng.ts";
import { hashToUnit } from "./hash.ts";
import { effectiveWeight, type Member } from "./member.ts";

export interface Rotation {
  /** By backend name: the virtual time at which its last turn ends. */
  readonly finish: Map<string, number>;
  virtualTime: number;
  readonly salt: number;
}

export function createRotation(rng: Rng): Rotation {
  return { finish: new Map(), virtualTime: 0, salt: Math.floor(rng() * 2 ** 32) };
}

/** The virtual time of a member's next turn: the lowest goes first. A newcomer starts somewhere within its first turn. */
export function turnOf(rotation: Rotation, member: Member): number {
  const finish = rotation.finish.get(member.name);
  if (finish === undefined) {
    return rotation.virtualTime + hashToUnit(member.name, rotation.salt) / effectiveWeight(member);
  }
  return Math.max(finish, rotation.virtualTime);
}

/** `ranked[0]` takes its turn; the others that are new keep the place they were given. */
export function takeTurn(rotation: Rotation, ranked: readonly Member[]): void {
  const first = ranked[0];
  if (first === undefined) return;
  const start = turnOf(rotation, first);
  for (const member of ranked) {
    if (!rotation.finish.has(member.name)) rotation.finish.set(member.name, turnOf(rotation, member));
  }
  rotation.virtualTime = Math.max(rotation.virtualTime, start);
  rotation.finish.set(first.name, start + 1 / effectiveWeight(first));
}

export function forgetTurns(rotation: Rotation, known: (name: string) => boolean): void {
  for (const name of rotation.finish.keys()) if (!known(name)) rotation.finish.delete(name);
}
