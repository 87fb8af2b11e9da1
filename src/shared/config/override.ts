/** Dotted paths into the configuration: laying run-time values over it, and looking values up. */
import type { Config, ConfigFault } from "./config.ts";
import { defaults } from "./defaults.ts";
import { fault, nearestName, unknownSetting } from "./fault.ts";

export type OverrideValues = Readonly<Record<string, unknown>>;
type Tree = Readonly<Record<string, unknown>>;

/** What belongs to the deployment: who is believed, and where an object lives (which counts only when it is made). */
const deploymentOnly: ReadonlyMap<string, string> = new Map([
  ["RUNTIME", "set with the deployment: it says whom to believe about a client's address"],
  [
    "TRUSTED_PROXIES",
    "set with the deployment: it says whom to believe about a client's address, an operator's included",
  ],
  ["LOCATION", "set with the deployment: it counts only when the object is first made"],
  ["BACKEND_SERVERS", "changed at /api/backends"],
  ["BACKENDS", "changed at /api/backends"],
]);

/** Objects whose keys the operator chooses: what follows them in a path is one key, dots and all. */
const mappings = ["RATE_LIMIT.clients"];

/**
 * A path as the keys that lead there; null when the configuration has no such place. A group (`RATE_LIMIT`) is a place
 * too, and `RATE_LIMIT.clients.192.0.2.7` is the client's entry.
 */
export function resolvePath(path: string): readonly string[] | null {
  const mapping = mappings.find((known) => path.startsWith(`${known}.`));
  if (mapping !== undefined) return [...mapping.split("."), path.slice(mapping.length + 1)];
  const keys = path.split(".");
  return path === "RATE_LIMIT.enabled" || hasPlace(keys) ? keys : null;
}

function hasPlace(keys: readonly string[]): boolean {
  if (keys.length === 3 && keys[0] === "RATE_LIMIT" && keys[1] === "routes")
    return Object.hasOwn(defaults.BALANCE.policies, keys[2] ?? "");
  let place: unknown = defaults;
  for (const key of keys) {
    if (!isTree(place) || !Object.hasOwn(place, key)) return false;
    place = place[key];
  }
  return true;
}

export interface LaidOver {
  readonly settings: Tree;
  readonly faults: readonly ConfigFault[];
}

/** The settings with the overrides in their places. A group's value is laid over it field by field. */
export function layOver(settings: Tree, overrides: OverrideValues): LaidOver {
  const faults: ConfigFault[] = [];
  let laid: Tree = settings;
  for (const [path, value] of Object.entries(overrides)) {
    const keys = resolvePath(path);
    const reserved = deploymentOnly.get(path.split(".")[0] ?? "");
    if (reserved !== undefined) faults.push({ field: fieldOf(path), allowed: reserved, received: "an override" });
    else if (keys === null)
      faults.push({ field: fieldOf(path), allowed: unknownSetting(nearestPath(path)), received: "an override" });
    else if (value === undefined) faults.push(fault([fieldOf(path)], "a JSON value", value));
    else laid = placed(laid, keys, value);
  }
  return { settings: laid, faults };
}

function placed(tree: Tree, keys: readonly string[], value: unknown): Tree {
  const [key = "", ...rest] = keys;
  const inner = Object.hasOwn(tree, key) ? tree[key] : undefined;
  if (rest.length > 0) return { ...tree, [key]: placed(isTree(inner) ? inner : {}, rest, value) };
  const whole = { ...tree, [key]: isTree(inner) && isTree(value) ? merged(inner, value) : value };
  return settled(whole, key);
}

function merged(under: Tree, over: Tree): Tree {
  let tree = under;
  for (const [key, value] of Object.entries(over)) tree = placed(tree, [key], value);
  return tree;
}

/** `enabled` and `mode` of the rate limit say the same thing: the one that came last is right. */
function settled(tree: Tree, key: string): Tree {
  if (!Object.hasOwn(tree, "enabled") || !Object.hasOwn(tree, "mode")) return tree;
  const { enabled, mode, ...others } = tree;
  if (key === "mode") return { ...others, mode };
  if (key === "enabled" && enabled === true && mode === "off") return { ...others, enabled };
  return tree;
}

/** The effective value at a path; undefined where there is none. */
export function valueAt(config: Config, path: string): unknown {
  if (path === "RATE_LIMIT.enabled") return config.RATE_LIMIT.mode !== "off";
  let place: unknown = config;
  for (const key of resolvePath(path) ?? []) {
    if (!isTree(place) || !Object.hasOwn(place, key)) return undefined;
    place = place[key];
  }
  return place === config ? undefined : place;
}

/** Every setting's dotted path; lists and mappings are one setting each. */
export const settingPaths: readonly string[] = leaves(defaults, "");

function leaves(tree: Tree, prefix: string): readonly string[] {
  return Object.entries(tree).flatMap(([key, value]) => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    return isTree(value) && Object.keys(value).length > 0 ? leaves(value, path) : [path];
  });
}

function nearestPath(path: string): string | null {
  return nearestName(path, settingPaths);
}

function fieldOf(path: string): string {
  return path.length > 120 ? `${path.slice(0, 120).toWellFormed()}…` : path;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
