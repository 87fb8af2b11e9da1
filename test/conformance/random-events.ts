/**
 * A fleet to which anything may happen, and what must hold after every pick. The oracle is written from the rules, without the
 * code under test. Run with many events by the verification, with fewer by the tests.
 */
import { createSelectionMemory, forgetBackends, select, type SelectRequest } from "../../src/shared/balance/select.ts";
import { policyNames, type PolicyName } from "../../src/shared/config/config.ts";
import { healthStates, operatorStates } from "../../src/shared/contract.ts";
import { seededRng, type Rng } from "../../src/shared/rng.ts";
import { routeClasses, type RouteClass } from "../../src/shared/route.ts";
import { balanceWith, member, type MutableMember } from "../shared/balance/members.ts";

export interface EventCounts {
  readonly events: number;
  readonly picks: number;
  readonly refusals: number;
}

const routeIds = ["POST /v1/images/generations", "POST /v1/videos/generations", "GET /v1/models"];
const models = ["jimeng-3.0", "jimeng-4.5", "jimeng-video-3.0"];
const maxBackends = 12;

/** @throws Error that names the seed, the event and the rule that was broken. */
export function playRandomEvents(events: number, seed: number): EventCounts {
  const rng = seededRng(seed);
  const game = new Game(rng);
  for (let event = 0; event < events; event += 1) {
    const broken = game.next();
    if (broken !== null) throw new Error(`seed ${seed}, event ${event}: ${broken}`);
  }
  return { events, picks: game.picks, refusals: game.refusals };
}

class Game {
  picks = 0;
  refusals = 0;
  readonly #rng: Rng;
  readonly #memory = createSelectionMemory();
  #members: MutableMember[] = [];
  #open: MutableMember[] = [];
  #policy: PolicyName = "weighted-round-robin";
  #born = 0;
  #nowMs = 0;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** @returns the rule that was broken, or null. */
  next(): string | null {
    this.#nowMs += this.#below(400);
    const dice = this.#rng();
    if (dice < 0.5) return this.#pick();
    if (dice < 0.8) this.#finish();
    else if (dice < 0.96) this.#change();
    else if (dice < 0.97) this.#policy = this.#one(policyNames);
    else if (dice < 0.985) this.#join();
    else this.#leave();
    return null;
  }

  #below(limit: number): number {
    return Math.floor(this.#rng() * limit);
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #join(): void {
    if (this.#members.length >= maxBackends) return;
    this.#born += 1;
    const fresh = member(`b${this.#born}`, { priority: 1 + this.#below(3), weight: this.#below(6) });
    this.#members.splice(this.#below(this.#members.length + 1), 0, fresh);
  }

  #leave(): void {
    const gone = this.#one(this.#members);
    this.#members = this.#members.filter((one) => one !== gone);
    this.#open = this.#open.filter((one) => one !== gone);
    forgetBackends(this.#memory, (name) => this.#members.some((one) => one.name === name));
  }

  #finish(): void {
    const [done] = this.#open.splice(this.#below(Math.max(1, this.#open.length)), 1);
    if (done !== undefined) {
      done.inFlight -= 1;
      done.load = { ...done.load, generate: { costMs: this.#below(60_000), atMs: this.#nowMs } };
    }
  }

  #change(): void {
    const one = this.#members.length === 0 ? undefined : this.#one(this.#members);
    if (one === undefined) return;
    const changes: readonly (() => void)[] = [
      () => (one.state = this.#one(healthStates)),
      () => (one.state = "healthy"),
      () => (one.trialFor = this.#one(["server", "jimeng", null])),
      () => (one.weightShare = one.state === "recovering" ? 0.1 + 0.9 * this.#rng() : 1),
      () => (one.operatorState = this.#one([...operatorStates, "active", "active"])),
      () => (one.weight = this.#below(6)),
      () => (one.maxInFlight = this.#rng() < 0.5 ? null : 1 + this.#below(4)),
      () =>
        (one.routes = this.#rng() < 0.6 ? null : this.#one([["/v1/images/*"], routeIds.slice(1), ["GET /v1/models"]])),
      () => (one.refusedRoutes = this.#rng() < 0.7 ? [] : [this.#one(routeIds)]),
      () => (one.models = this.#rng() < 0.4 ? null : models.filter(() => this.#rng() < 0.5)),
      () => (one.modelsBinding = this.#rng() < 0.5),
      () => (one.regionMs = this.#rng() < 0.5 ? {} : { FRA: 10 + this.#below(300) }),
      () => (one.openAgeMs = this.#below(100_000)),
    ];
    this.#one(changes)();
  }

  #pick(): string | null {
    const request: SelectRequest = {
      routeClass: this.#one(routeClasses),
      routeId: this.#one(routeIds),
      model: this.#rng() < 0.4 ? null : this.#one([...models, "nobody-lists-this"]),
      affinityKey: this.#rng() < 0.5 ? null : `client-${this.#below(50)}`,
      edgeRegion: this.#one(["FRA", "NRT"]),
    };
    const settings = balanceWith(this.#policy, { regionPreference: this.#one([0, 1.5]) });
    const before = JSON.stringify(this.#members);
    const selection = select(this.#members, request, settings, this.#memory, { nowMs: this.#nowMs, rng: this.#rng });
    if (JSON.stringify(this.#members) !== before) return "a pick changed a backend";
    const broken =
      selection.kind === "none"
        ? brokenRefusal(this.#members, request, selection.reason)
        : brokenChoice(this.#members, request, selection.ordered);
    if (broken !== null) return broken;
    if (selection.kind === "none") this.refusals += 1;
    else this.#assign(selection.ordered[0]!);
    return this.#brokenTurns();
  }

  #assign(picked: MutableMember): void {
    this.picks += 1;
    picked.inFlight += 1;
    this.#open.push(picked);
  }

  /** What is remembered stays within the fleet and finite. */
  #brokenTurns(): string | null {
    for (const { turns } of this.#memory.byClass.values()) {
      for (const [name, claim] of turns) {
        if (!this.#members.some((one) => one.name === name)) return `turns remember ${name}, which is gone`;
        if (!Number.isFinite(claim) || Math.abs(claim) > 1000) return `the claim of ${name} is ${claim}`;
      }
    }
    return null;
  }
}

// ── The rules, once more ─────────────────────────────────────────────────────────────────────────

const isOpen = (one: MutableMember): boolean => one.operatorState === "active" && one.weight > 0;
const isUp = (one: MutableMember): boolean => ["healthy", "suspect", "recovering"].includes(one.state);
const hasRoom = (one: MutableMember): boolean => one.maxInFlight === null || one.inFlight < one.maxInFlight;

function hasRoute(one: MutableMember, routeId: string): boolean {
  if (one.refusedRoutes.includes(routeId)) return false;
  const path = routeId.split(" ")[1]!;
  return (
    one.routes === null ||
    one.routes.some((entry) => entry === routeId || (entry.endsWith("*") && path.startsWith(entry.slice(0, -1))))
  );
}

const deniesModel = (one: MutableMember, model: string | null): boolean =>
  model !== null && one.modelsBinding && one.models !== null && !one.models.includes(model);

const lists = (one: MutableMember, model: string | null): boolean =>
  model === null || one.models === null || one.models.includes(model);

function capable(members: readonly MutableMember[], request: SelectRequest): MutableMember[] {
  return members.filter((one) => isOpen(one) && hasRoute(one, request.routeId) && !deniesModel(one, request.model));
}

function brokenChoice(
  members: readonly MutableMember[],
  request: SelectRequest,
  ordered: readonly MutableMember[],
): string | null {
  const allowed = capable(members, request);
  if (ordered.length === 0) return "an empty list of candidates";
  if (new Set(ordered).size !== ordered.length) return "a candidate is named twice";
  for (const one of ordered) {
    if (!allowed.includes(one)) return `${one.name} can't or mustn't serve this`;
    if (!hasRoom(one)) return `${one.name} is full`;
  }
  const pool = allowed.filter((one) => lists(one, request.model));
  const chosenFrom = pool.some(isUp) ? pool : allowed;
  return brokenHealth(chosenFrom, allowed, ordered, request.routeClass);
}

/** A trial that is free, and a request that can end it. */
function isOnTrial({ state, trialFor }: MutableMember, routeClass: RouteClass): boolean {
  const paid = routeClass === "generate" || routeClass === "stream";
  return state === "trial" && (trialFor === "server" || (trialFor === "jimeng" && paid));
}

/** Nobody who is down unless in panic; nobody who is up is left out. */
function brokenHealth(
  pool: readonly MutableMember[],
  allowed: readonly MutableMember[],
  ordered: readonly MutableMember[],
  routeClass: RouteClass,
): string | null {
  const tiers = Map.groupBy(pool, (one) => one.priority);
  const upShare = (tier: readonly MutableMember[]): number => tier.filter(isUp).length / tier.length;
  const enough = [...tiers.values()].reduce((sum, tier) => sum + Math.min(1, 1.4 * upShare(tier)), 0) >= 1;
  const inPanic = (one: MutableMember): boolean => {
    const tier = tiers.get(one.priority);
    return tier !== undefined && !enough && (upShare(tier) === 0 || upShare(tier) < 0.5);
  };
  for (const one of ordered) {
    if (!isUp(one) && !isOnTrial(one, routeClass) && !inPanic(one))
      return `${one.name} is ${one.state} and there is no panic`;
  }
  for (const one of allowed) if (isUp(one) && hasRoom(one) && !ordered.includes(one)) return `${one.name} was left out`;
  return null;
}

function brokenRefusal(members: readonly MutableMember[], request: SelectRequest, reason: string): string | null {
  const open = members.filter(isOpen);
  const routed = open.filter((one) => hasRoute(one, request.routeId));
  const allowed = capable(members, request);
  const expected =
    open.length === 0
      ? "no_backend"
      : routed.length === 0
        ? "route_unsupported"
        : allowed.length === 0
          ? "model_unsupported"
          : "no_capacity";
  if (reason !== expected) return `refused with ${reason}, expected ${expected}`;
  const usable = allowed.find((one) => isUp(one) && hasRoom(one));
  return usable === undefined ? null : `refused although ${usable.name} is up and has room`;
}
