/**
 * A pick, whole: membership, then tiers with spill-over and panic, then regional preference, then the policy.
 * The registry (exact) and the edge (from its table) both come through here.
 */
import type { BalanceConfig, PolicyName } from "../config/config.ts";
import type { PickRefusal } from "../contract.ts";
import { picksFromTable, type RouteClass } from "../route.ts";
import type { Rng } from "../rng.ts";
import { hasRoom, type Member } from "./member.ts";
import { isOpen, isUp, modelFit, readiness, servesRoute } from "./membership.ts";
import { policies } from "./policies.ts";
import type { RankContext } from "./policy.ts";
import { nearFirst } from "./region.ts";
import { drawTier, shareLoad, type TierShare } from "./tiers.ts";
import { createTurns, forgetTurns, takeTurn, type Turns } from "./turns.ts";

export interface SelectRequest {
  readonly routeClass: RouteClass;
  readonly routeId: string;
  readonly model: string | null;
  readonly affinityKey: string | null;
  readonly edgeRegion: string;
}

export type Selection<M extends Member> =
  | {
      readonly kind: "candidates";
      /** The pick, then every other backend that may be tried, best first (exactly so for the first 16 of a pool). Never empty. */
      readonly ordered: readonly M[];
    }
  | { readonly kind: "none"; readonly reason: Exclude<PickRefusal, "task_home_gone"> };

/**
 * What picks remember, by backend name, so that it survives changes of the list: one per registry, one per isolate. Each
 * route class has turns of its own, since a query is no generation; a policy that was switched starts afresh.
 */
export interface SelectionMemory {
  readonly byClass: Map<RouteClass, { readonly policy: PolicyName; readonly turns: Turns }>;
}

export interface SelectNow {
  readonly nowMs: number;
  readonly rng: Rng;
}

export function createSelectionMemory(): SelectionMemory {
  return { byClass: new Map() };
}

/** Drops what is remembered of backends that are gone; to be called when the fleet's list changes. */
export function forgetBackends(memory: SelectionMemory, known: (name: string) => boolean): void {
  for (const entry of memory.byClass.values()) forgetTurns(entry.turns, known);
}

/**
 * From edges with tables a backend on trial gets one request in so many of its share, since each isolate knows only its
 * own requests and a herd of first requests would be no trial.
 */
const tableTrialShare = 0.1;

/** Picks a backend for one request and says who is next. The only thing it changes is `memory`. */
export function select<M extends Member>(
  members: readonly M[],
  request: SelectRequest,
  settings: BalanceConfig,
  memory: SelectionMemory,
  now: SelectNow,
): Selection<M> {
  const found = findCapable(members, request);
  if (found.kind === "none") return found;
  const { fitting, unlisted } = found;
  const preferredIsUp = fitting.some(isUp);
  const first = preferredIsUp ? fitting : [...fitting, ...unlisted];
  const ordered = orderAcrossTiers(first, request, settings, memory, now);
  if (preferredIsUp && unlisted.length > 0) {
    const rest = unlisted.filter((member) => isUp(member) && hasRoom(member));
    if (ordered.length > 0) ordered.push(...rest.sort(byPriorityThenName));
    else ordered.push(...orderAcrossTiers(rest, request, settings, memory, now));
  }
  return ordered.length > 0 ? { kind: "candidates", ordered } : { kind: "none", reason: "no_capacity" };
}

type Capable<M extends Member> =
  | { readonly kind: "capable"; readonly fitting: readonly M[]; readonly unlisted: readonly M[] }
  | { readonly kind: "none"; readonly reason: "no_backend" | "route_unsupported" | "model_unsupported" };

/** Those that can do what is asked, whatever their health. */
function findCapable<M extends Member>(members: readonly M[], request: SelectRequest): Capable<M> {
  let open = 0;
  let routed = 0;
  const fitting: M[] = [];
  const unlisted: M[] = [];
  for (const member of members) {
    if (!isOpen(member)) continue;
    open += 1;
    if (!servesRoute(member, request.routeId)) continue;
    routed += 1;
    const fit = modelFit(member, request.model);
    if (fit === "yes") fitting.push(member);
    else if (fit === "unlisted") unlisted.push(member);
  }
  if (fitting.length > 0 || unlisted.length > 0) return { kind: "capable", fitting, unlisted };
  if (open === 0) return { kind: "none", reason: "no_backend" };
  return { kind: "none", reason: routed === 0 ? "route_unsupported" : "model_unsupported" };
}

interface Tier<M extends Member> {
  readonly priority: number;
  total: number;
  up: number;
  /** Up, with room for one more. */
  readonly ready: M[];
  /** Waiting for their one trial request. */
  readonly trials: M[];
  /** Not to be used unless in panic; with room. */
  readonly down: M[];
}

function orderAcrossTiers<M extends Member>(
  members: readonly M[],
  request: SelectRequest,
  settings: BalanceConfig,
  memory: SelectionMemory,
  now: SelectNow,
): M[] {
  if (members.length === 0) return [];
  const tiers = intoTiers(members, request.routeClass);
  const shares = shareLoad(tiers, settings.spillover, settings.panic);
  const drawn = drawTier(shares, now.rng);
  const trial = trialDue(tiers, shares, request, settings, now);
  const ordered: M[] = trial === null ? [] : [trial];
  orderTier(tiers[drawn]!, shares[drawn]!.panic, trial, ordered, request, settings, memory, now);
  for (const [index, tier] of tiers.entries()) {
    if (index !== drawn) orderTier(tier, shares[index]!.panic, trial, ordered, request, settings, memory, now);
  }
  return ordered;
}

function intoTiers<M extends Member>(members: readonly M[], routeClass: RouteClass): Tier<M>[] {
  const tiers: Tier<M>[] = [];
  for (const member of members) {
    let tier = tiers.find((one) => one.priority === member.priority);
    if (tier === undefined) {
      tier = { priority: member.priority, total: 0, up: 0, ready: [], trials: [], down: [] };
      tiers.push(tier);
    }
    const ready = readiness(member, routeClass);
    tier.total += 1;
    if (ready === "up") tier.up += 1;
    if (!hasRoom(member)) continue;
    if (ready === "up") tier.ready.push(member);
    else if (ready === "on_trial") tier.trials.push(member);
    else tier.down.push(member);
  }
  return tiers.length < 2 ? tiers : tiers.sort((a, b) => a.priority - b.priority);
}

/**
 * The one that this request tries out, if any: at once where in-flight is exact, seldom where it is not. Asked of every tier that would
 * have a share of the load if its trials succeeded: one that is down as a whole is drawn for nothing else.
 */
function trialDue<M extends Member>(
  tiers: readonly Tier<M>[],
  shares: readonly TierShare[],
  request: SelectRequest,
  settings: BalanceConfig,
  now: SelectNow,
): M | null {
  if (tiers.every(({ trials }) => trials.length === 0)) return null;
  const hoped = tiers.map(({ total, up, trials }) => ({ total, up: up + trials.length }));
  for (const [index, { load }] of shareLoad(hoped, settings.spillover, settings.panic).entries()) {
    const { trials, ready } = tiers[index]!;
    const ignored = shares[index]!.panic && shares[index]!.load > 0;
    if (trials.length === 0 || load <= 0 || ignored) continue;
    const share = (load * tableTrialShare * trials.length) / (trials.length + ready.length);
    if (picksFromTable(request.routeClass) && now.rng() >= share) continue;
    return trials[trials.length === 1 ? 0 : Math.floor(now.rng() * trials.length)] ?? null;
  }
  return null;
}

/**
 * Appends a tier's usable members, best first. The very first one of `ordered` is the pick and takes a
 * turn. In panic all are usable, but the next to try after the pick are those that are up.
 */
function orderTier<M extends Member>(
  tier: Tier<M>,
  panic: boolean,
  trial: M | null,
  ordered: M[],
  request: SelectRequest,
  settings: BalanceConfig,
  memory: SelectionMemory,
  now: SelectNow,
): void {
  const trials = tier.trials.filter((member) => member !== trial);
  const pool = panic ? [...tier.ready, ...trials, ...tier.down] : tier.ready;
  if (pool.length > 0) rankPool(pool, ordered.length === 0, request, settings, memory, now);
  if (panic) upFirst(pool);
  for (const member of pool) ordered.push(member);
  if (!panic) for (const member of trials) ordered.push(member);
}

function rankPool<M extends Member>(
  pool: M[],
  isPick: boolean,
  request: SelectRequest,
  settings: BalanceConfig,
  memory: SelectionMemory,
  now: SelectNow,
): void {
  const policy = policies[settings.policies[request.routeClass]];
  const context: RankContext = {
    routeClass: request.routeClass,
    affinityKey: request.affinityKey,
    nowMs: now.nowMs,
    rng: now.rng,
    turns: turnsFor(pool, request.routeClass, policy.name, memory, now.rng),
  };
  const nearCount = nearFirst(pool, request.edgeRegion, settings.regionPreference);
  if (nearCount === pool.length) {
    const equals = policy.rank(pool, context);
    if (isPick) takeTurn(context.turns, pool, equals);
    return;
  }
  const near = pool.slice(0, nearCount);
  const far = pool.slice(nearCount);
  const equals = policy.rank(near, context);
  policy.rank(far, context);
  if (isPick) takeTurn(context.turns, near, equals);
  for (const [index, member] of [...near, ...far].entries()) pool[index] = member;
}

function turnsFor(
  pool: readonly Member[],
  routeClass: RouteClass,
  policy: PolicyName,
  memory: SelectionMemory,
  rng: Rng,
): Turns {
  const entry = memory.byClass.get(routeClass);
  if (entry !== undefined && entry.policy === policy) return entry.turns;
  const turns = createTurns(pool, rng);
  memory.byClass.set(routeClass, { policy, turns });
  return turns;
}

/** Keeps the first and moves those that are up before those that are not. */
function upFirst<M extends Member>(ranked: M[]): void {
  const rest = ranked.splice(1);
  for (const member of rest) if (isUp(member)) ranked.push(member);
  for (const member of rest) if (!isUp(member)) ranked.push(member);
}

function byPriorityThenName(a: Member, b: Member): number {
  if (a.priority !== b.priority) return a.priority - b.priority;
  return a.name < b.name ? -1 : 1;
}
