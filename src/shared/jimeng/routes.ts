/** The allow-list: which requests may reach a backend at all, and how each is treated. Everything else is a 404 of ours. */
import type { CacheConfig, Config, ExtraRoute } from "../config/config.ts";
import type { Answering, CacheRule, Route, RouteClass } from "../route.ts";
import { decodeSegment, foldPath, staysPut, withoutBase } from "./path.ts";

type Lifetime = "models" | "stats" | "never";
type Row = readonly [id: string, routeClass: RouteClass, answering: Answering, paid: "paid" | "free", cache: Lifetime];

/** Jimeng's own routes. A chat request whose body says `stream: true` becomes class `stream` (`request-body.ts`). */
const rows: readonly Row[] = [
  ["POST /v1/images/generations", "generate", "forward", "paid", "never"],
  ["POST /v1/images/compositions", "generate", "forward", "paid", "never"],
  ["POST /v1/videos/generations", "generate", "forward", "paid", "never"],
  ["POST /v1/chat/completions", "generate", "forward", "paid", "never"],
  ["GET /v1/models", "query", "models", "free", "models"],
  ["GET /ping", "query", "forward", "free", "never"],
  ["POST /token/check", "token", "forward", "free", "never"],
  ["GET /usage/stats", "usage", "usage_stats", "free", "stats"],
  ["GET /usage/range", "usage", "usage_range", "free", "stats"],
  ["GET /usage/session/:id", "usage", "usage_session", "free", "stats"],
  ["GET /usage/session/:id/history", "usage", "usage_history", "free", "stats"],
  ["POST /v1/async/images/generations", "task", "task_submit", "paid", "never"],
  ["POST /v1/async/images/compositions", "task", "task_submit", "paid", "never"],
  ["POST /v1/async/videos/generations", "task", "task_submit", "paid", "never"],
  ["GET /v1/async/tasks/:id/status", "task", "task_home", "free", "never"],
  ["GET /v1/async/tasks/:id/result", "task", "task_home", "free", "never"],
  ["DELETE /v1/async/tasks/:id", "task", "task_home", "free", "never"],
  ["DELETE /v1/async/tasks/:id/cancel", "task", "task_home", "free", "never"],
];

/**
 * What the servers offer without authentication and must not be reached from outside: their own administration, other
 * people's tasks, answers that reveal credentials. Only an entry of `ROUTES` that names the exact path opens one of
 * them; a wildcard never does. `/*` closes all that lies beneath, and the path itself.
 */
export const closedPaths: readonly string[] = [
  "/proxy/*",
  "/dashboard/*",
  "/token/points",
  "/token/receive",
  "/v1/async/tasks",
  "/v1/async/tasks/stats",
  "/usage/export",
  "/usage/cleanup",
];

/** `path`: the base path taken off, otherwise byte for byte as it was received. */
export type RouteMatch =
  | { readonly kind: "route"; readonly route: Route; readonly path: string }
  | { readonly kind: "method_not_allowed"; readonly allow: readonly string[] }
  | { readonly kind: "not_found" };

export interface RouteTable {
  /** `path` is the raw pathname, still encoded, without a query. */
  match(method: string, path: string): RouteMatch;
}

/** The methods that one exact path or one pattern knows. */
interface Methods<Found> {
  readonly byMethod: Map<string, Found>;
  allow: readonly string[];
}

interface PatternRoute {
  readonly route: Route;
  /** Folded prefixes of `CACHE.bypass` that lie beneath the pattern, so that they can only be seen in the request. */
  readonly bypassBeneath: readonly string[];
}

interface Pattern extends Methods<PatternRoute> {
  readonly prefix: string;
  /** What follows the variable part; null where the variable part is the whole rest (`/*`). */
  readonly suffix: string | null;
  /** Whether something closed or built in lies beneath a wildcard, so that every path of it must be looked up. */
  readonly guarded: boolean;
}

const notFound: RouteMatch = { kind: "not_found" };
/** As `notFound`, and no other reading of the path may be tried. */
const guardedPath: RouteMatch = { kind: "not_found" };

/** Jimeng's routes as values, for whoever lists them; caching left out. */
export const jimengRoutes: readonly Route[] = rows.map((row) => builtIn(row, "none"));

const builtInPaths: ReadonlySet<string> = new Set(rows.map(([id]) => pathOf(id)).filter((path) => !path.includes(":")));

/** Compiles the list once; `match` then costs a map look-up for an exact path and allocates only for a variable one. */
export function compileRoutes(config: Pick<Config, "ROUTES" | "CACHE" | "BASE_PATH">): RouteTable {
  const base = config.BASE_PATH;
  const bypass = config.CACHE.bypass.map((prefix) => foldPath(withoutBase(prefix, base) ?? prefix));
  const exact = new Map<string, Methods<RouteMatch>>();
  const variable: Pattern[] = [];
  const wildcard: Pattern[] = [];

  const add = (path: string, route: Route, method: string): void => {
    if (path.endsWith("/*")) return addPattern(wildcard, path, route, method, bypass);
    if (path.includes("/:")) return addPattern(variable, path, route, method, bypass);
    const match: RouteMatch = { kind: "route", route: withBypass(route, path, bypass), path };
    addMethod(exact, path, method, match);
    if (base !== "") addMethod(exact, base + path, method, match);
  };
  for (const row of rows) add(pathOf(row[0]), builtIn(row, cacheOf(row[4], config.CACHE)), methodOf(row[0]));
  for (const extra of config.ROUTES) {
    for (const method of extra.methods)
      add(extra.path, extraRoute(extra, method.toUpperCase(), config.CACHE), method.toUpperCase());
  }
  wildcard.sort((a, b) => b.prefix.length - a.prefix.length);

  const matchBeneath = (method: string, path: string): RouteMatch => matchPatterns(variable, wildcard, method, path);
  return {
    match(method, path) {
      const known = exact.get(path);
      const found = known?.byMethod.get(method);
      if (found !== undefined) return found;
      const stripped = withoutBase(path, base);
      const beneath = stripped === null ? notFound : matchBeneath(method, stripped);
      if (beneath.kind === "route" || beneath === guardedPath) return beneath;
      const plain = matchBeneath(method, path);
      if (plain.kind === "route") return plain;
      if (known !== undefined) return { kind: "method_not_allowed", allow: known.allow };
      return beneath.kind === "method_not_allowed" ? beneath : plain;
    },
  };
}

/**
 * What an operator should know about `ROUTES`: entries, or methods of them, that can never answer because the list
 * itself has the path or keeps it closed. Empty when all is well.
 */
export function routeWarnings(routes: readonly ExtraRoute[]): string[] {
  return routes.flatMap((extra) => {
    const wildcard = extra.path.endsWith("/*");
    if (wildcard && isClosed(foldPath(extra.path.slice(0, -1)))) {
      return [`ROUTES ${extra.path}: closed to wildcards; name each path exactly`];
    }
    if (!wildcard && isClosed(foldPath(extra.path))) {
      return [`ROUTES ${extra.path}: opened to every client, though the servers ask for no authentication there`];
    }
    const taken = extra.methods.filter((method) => rows.some(([id]) => id === `${method.toUpperCase()} ${extra.path}`));
    return taken.map((method) => `ROUTES ${method} ${extra.path}: built in, so this entry is not used`);
  });
}

function matchPatterns(
  variable: readonly Pattern[],
  wildcard: readonly Pattern[],
  method: string,
  path: string,
): RouteMatch {
  let allow: readonly string[] | null = null;
  for (const pattern of variable) {
    const parameter = variablePart(pattern, path);
    if (parameter === null) continue;
    const found = pattern.byMethod.get(method);
    if (found !== undefined) return { kind: "route", route: { ...atPath(found, path), parameter }, path };
    allow = allow === null ? pattern.allow : union(allow, pattern.allow);
  }
  for (const pattern of wildcard) {
    if (!path.startsWith(pattern.prefix) || !staysPut(path)) continue;
    if (pattern.guarded && isGuarded(path)) return guardedPath;
    const found = pattern.byMethod.get(method);
    if (found !== undefined) return { kind: "route", route: atPath(found, path), path };
    allow = allow === null ? pattern.allow : union(allow, pattern.allow);
  }
  return allow === null ? notFound : { kind: "method_not_allowed", allow };
}

/** The decoded `:id` of a path that a pattern fits; null where it doesn't, or where the path is closed or unsafe. */
function variablePart(pattern: Pattern, path: string): string | null {
  const suffix = pattern.suffix as string;
  if (!path.startsWith(pattern.prefix) || !path.endsWith(suffix)) return null;
  if (path.length <= pattern.prefix.length + suffix.length) return null;
  const parameter = decodeSegment(path.slice(pattern.prefix.length, path.length - suffix.length));
  if (parameter === null || !staysPut(path) || isClosed(foldPath(path))) return null;
  return parameter;
}

/**
 * Whether a wildcard must not have this path: it is closed, or it is another spelling of a path that is built in. The
 * servers take `/V1/images/generations/` for the generation that it is, so a wildcard of a cheap class would make it
 * one that is sent again.
 */
function isGuarded(path: string): boolean {
  const folded = foldPath(path);
  return isClosed(folded) || (builtInPaths.has(folded) && !builtInPaths.has(path));
}

function isClosed(folded: string): boolean {
  return closedPaths.some((closed) =>
    closed.endsWith("/*")
      ? folded === closed.slice(0, -2) || folded.startsWith(closed.slice(0, -1))
      : folded === closed,
  );
}

function addPattern(list: Pattern[], path: string, route: Route, method: string, bypass: readonly string[]): void {
  const start = path.endsWith("/*") ? path.length - 1 : path.indexOf("/:") + 1;
  const prefix = path.slice(0, start);
  const rest = path.slice(start);
  const suffix = rest === "*" ? null : rest.includes("/") ? rest.slice(rest.indexOf("/")) : "";
  const folded = foldPath(prefix);
  const above = folded === "/" ? "/" : `${folded}/`;
  const pattern = list.find((other) => other.prefix === prefix && other.suffix === suffix) ?? {
    prefix,
    suffix,
    guarded: liesBeneath(above, folded),
    byMethod: new Map<string, PatternRoute>(),
    allow: [],
  };
  if (!list.includes(pattern)) list.push(pattern);
  const found = {
    route: withBypass(route, prefix, bypass),
    bypassBeneath: bypass.filter((entry) => entry.startsWith(above)),
  };
  putMethod(pattern, method, found);
}

/** `above` is a folded prefix with its slash: something guarded starts with it, or it is itself beneath something closed. */
function liesBeneath(above: string, folded: string): boolean {
  const named = [...closedPaths.map((closed) => closed.replace(/\*$/, "")), ...builtInPaths];
  return isClosed(folded) || named.some((path) => path.startsWith(above));
}

function addMethod(map: Map<string, Methods<RouteMatch>>, path: string, method: string, match: RouteMatch): void {
  const entry = map.get(path) ?? { byMethod: new Map<string, RouteMatch>(), allow: [] };
  map.set(path, entry);
  putMethod(entry, method, match);
}

/** The first entry for a method stays, so that `ROUTES` can't redefine a paid route as a cheap one. HEAD goes where GET goes. */
function putMethod<Found>(entry: Methods<Found>, method: string, found: Found): void {
  if (!entry.byMethod.has(method)) entry.byMethod.set(method, found);
  if (method === "GET" && !entry.byMethod.has("HEAD")) entry.byMethod.set("HEAD", found);
  entry.allow = [...entry.byMethod.keys(), "OPTIONS"];
}

function builtIn([id, routeClass, answering, paid]: Row, cache: CacheRule): Route {
  const readsBody = paid === "paid";
  return { id, class: routeClass, answering, cache, paid: paid === "paid", readsBody, parameter: null };
}

/**
 * The class that the operator gives says what may be done with the route: `query`, `usage` and `token` may be sent
 * again whatever the method (RFC 9110 §9.2.2 leaves that to whoever knows the semantics), `generate`, `stream` and
 * posted tasks are paid.
 */
function extraRoute(extra: ExtraRoute, method: string, cache: CacheConfig): Route {
  const submits = extra.class === "task" && method === "POST";
  const paid = extra.class === "generate" || extra.class === "stream" || submits;
  const stored = cache.enabled && !paid && (method === "GET" || method === "HEAD");
  return {
    id: `${method} ${extra.path}`,
    class: extra.class,
    answering: submits ? "task_submit" : "forward",
    cache: stored ? positive(extra.cache) : "none",
    paid,
    readsBody: paid,
    parameter: null,
  };
}

function cacheOf(lifetime: Lifetime, cache: CacheConfig): CacheRule {
  return lifetime === "never" || !cache.enabled ? "none" : positive(cache.ttl[lifetime]);
}

function positive(rule: CacheRule): CacheRule {
  return typeof rule === "number" && rule <= 0 ? "none" : rule;
}

function withBypass(route: Route, path: string, bypass: readonly string[]): Route {
  const folded = foldPath(path);
  return route.cache !== "none" && bypass.some((prefix) => folded.startsWith(prefix))
    ? { ...route, cache: "none" }
    : route;
}

function atPath({ route, bypassBeneath }: PatternRoute, path: string): Route {
  if (bypassBeneath.length === 0 || route.cache === "none") return route;
  const folded = foldPath(path);
  return bypassBeneath.some((prefix) => folded.startsWith(prefix)) ? { ...route, cache: "none" } : route;
}

function union(a: readonly string[], b: readonly string[]): readonly string[] {
  return [...new Set([...a, ...b])];
}

function methodOf(id: string): string {
  return id.slice(0, id.indexOf(" "));
}

function pathOf(id: string): string {
  return id.slice(id.indexOf(" ") + 1);
}
