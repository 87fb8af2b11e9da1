/** Who may be asked at all: by the operator's word, by what a backend can do, and by its health. */
import { reachOf, vouchesFor, type RouteClass } from "../route.ts";
import type { Member } from "./member.ts";

/** Active and with a weight: 0 takes no new requests, in panic neither. */
export function isOpen(member: Member): boolean {
  return member.operatorState === "active" && member.weight > 0;
}

/**
 * Whether a backend has the route: configured `routes` bind, otherwise whatever it has not refused.
 * @param routeId as `POST /v1/images/generations`.
 */
export function servesRoute(member: Member, routeId: string): boolean {
  if (member.refusedRoutes.length > 0 && member.refusedRoutes.includes(routeId)) return false;
  return member.routes === null || member.routes.some((entry) => routeMatches(entry, routeId));
}

/** An entry is a route id, a path, or either of them ending in `/*`. */
function routeMatches(entry: string, routeId: string): boolean {
  if (entry === routeId) return true;
  const subject = entry.startsWith("/") ? routeId.slice(routeId.indexOf(" ") + 1) : routeId;
  return entry.endsWith("/*") ? subject.startsWith(entry.slice(0, -1)) : subject === entry;
}

/**
 * `no`: the operator's list denies the model. `unlisted`: a learned list doesn't name it, but servers accept ids they
 * don't list and fall back to another model. `yes`: named, or nothing is known, or nothing is asked.
 */
export type ModelFit = "yes" | "unlisted" | "no";

export function modelFit(member: Member, model: string | null): ModelFit {
  if (model === null || member.models === null || member.models.includes(model)) return "yes";
  return member.modelsBinding ? "no" : "unlisted";
}

/**
 * How health lets a backend be used. One on trial is free for one request, if that can tell what is to be known; otherwise it
 * is as closed as an ejected one.
 */
export type Readiness = "up" | "on_trial" | "down";

export function readiness(member: Member, routeClass: RouteClass): Readiness {
  switch (member.state) {
    case "healthy":
    case "suspect":
    case "recovering":
      return "up";
    case "trial":
      return member.trialFor !== null && vouchesFor(reachOf(routeClass), member.trialFor) ? "on_trial" : "down";
    case "ejected":
      return "down";
  }
}

export function isUp(member: Member): boolean {
  return member.state !== "ejected" && member.state !== "trial";
}
