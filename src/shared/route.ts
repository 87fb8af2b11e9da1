/** The vocabulary of routes. The list of Jimeng's routes is in `jimeng/routes.ts`; extra ones come from configuration. */

export const routeClasses = ["query", "generate", "stream", "task", "usage", "token"] as const;

/**
 * - `query`: a cheap GET (`/v1/models`, `/ping`, extra routes).
 * - `generate`: a paid generation whose answer comes as a whole.
 * - `stream`: a paid generation answered as server-sent events.
 * - `task`: the asynchronous interface; submissions are paid, look-ups are tied to one server.
 * - `usage`: counters kept per server, merged over the fleet.
 * - `token`: the check of a Jimeng token.
 */
export type RouteClass = (typeof routeClasses)[number];

/** How far a request goes: a server answers some by itself, as it answers `/ping`, whether or not it can reach Jimeng. */
export const reaches = ["server", "jimeng"] as const;
export type Reach = (typeof reaches)[number];

/**
 * Only a generation that is waited for shows that Jimeng works. A task's submission is answered before its work begins, its
 * look-ups and the counters come from the server's memory, and one dialect says `live: false` of any token while Jimeng is down.
 */
export function reachOf(routeClass: RouteClass): Reach {
  return routeClass === "generate" || routeClass === "stream" ? "jimeng" : "server";
}

/** Whether a success that went so far answers a doubt of this depth. */
export function vouchesFor(reach: Reach, doubted: Reach): boolean {
  return reach === "jimeng" || doubted === "server";
}

/** `none`: never stored. `origin`: RFC 9111, as the backend says. A number: stored for so many seconds whatever it says. */
export type CacheRule = "none" | "origin" | number;

/** How a route's answer is made. `forward`: one backend's. The others ask several and merge, or are composed by us. */
export type Answering =
  | "forward"
  | "models"
  | "usage_stats"
  | "usage_session"
  | "usage_history"
  | "usage_range"
  | "task_submit"
  | "task_home";

export interface Route {
  /** Method and pattern, `POST /v1/images/generations`: the label in logs and metrics and the key of what a backend can do. */
  readonly id: string;
  readonly class: RouteClass;
  readonly answering: Answering;
  readonly cache: CacheRule;
  /** The request spends credits when it is executed, so it is sent to one backend only. */
  readonly paid: boolean;
  /** The JSON body is looked at (`model`, `stream`), up to the buffer cap. */
  readonly readsBody: boolean;
  /** The variable part of the path (`:id`), decoded; null where the pattern has none. */
  readonly parameter: string | null;
}

/** Cheap classes are picked from the routing table; the expensive ones ask the registry one by one. */
export function picksFromTable(routeClass: RouteClass): boolean {
  return routeClass === "query" || routeClass === "usage" || routeClass === "token";
}
