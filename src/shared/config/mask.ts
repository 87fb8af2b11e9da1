/** The effective configuration as it may be shown to an operator: no secret in it, and where each value came from. */
import type { BackendConfig, Config, Webhook } from "./config.ts";
import { maskUrl } from "./fault.ts";
import { settingPaths } from "./override.ts";
import type { OverrideValues } from "./override.ts";
import { readSource } from "./source.ts";
import type { Source } from "./source.ts";

export type Origin = "default" | "CONFIG" | "variable" | "override";

export interface ShownConfig {
  /** As `Config`, with `***` for backends' header values, webhooks' secrets and their URLs beyond the host. */
  readonly values: Config;
  /** By dotted path. A list or mapping is one value; a backend's fields are not told apart. */
  readonly origins: Readonly<Record<string, Origin>>;
}

export function showConfig(config: Config, source: Source, overrides: OverrideValues = {}): ShownConfig {
  return { values: maskConfig(config), origins: configOrigins(source, overrides) };
}

export function maskConfig(config: Config): Config {
  return {
    ...config,
    BACKENDS: config.BACKENDS.map(maskBackend),
    ALERTS: { ...config.ALERTS, webhooks: config.ALERTS.webhooks.map(maskWebhook) },
  };
}

export function maskBackend(backend: BackendConfig): BackendConfig {
  const headers = Object.fromEntries(Object.keys(backend.headers).map((name) => [name, "***"]));
  return { ...backend, url: maskUrl(backend.url), headers };
}

/** A chat's token is in its path or its query. */
function maskWebhook(webhook: Webhook): Webhook {
  const place = /^https?:\/\/[^/?#]+/u.exec(webhook.url)?.[0] ?? "";
  return { kind: webhook.kind, url: `${place}/***`, secret: webhook.secret === null ? null : "***" };
}

export function configOrigins(source: Source, overrides: OverrideValues = {}): Readonly<Record<string, Origin>> {
  const raw = readSource(source);
  const origins: Record<string, Origin> = { BACKEND_SERVERS: "variable" };
  for (const path of settingPaths) origins[path] = origin(path, raw, overrides);
  return origins;
}

function origin(path: string, raw: ReturnType<typeof readSource>, overrides: OverrideValues): Origin {
  if (Object.entries(overrides).some(([over, value]) => covers(over, value, path))) return "override";
  if (raw.variables.some((name) => name === path)) return "variable";
  return reachesInto(raw.fromConfig, path.split(".")) ? "CONFIG" : "default";
}

/** Whether an override at `over` decides the value at `path`: it is that path, lies below it, or is a group that names it. */
function covers(over: string, value: unknown, path: string): boolean {
  if (over === path || over.startsWith(`${path}.`)) return true;
  if (over === "RATE_LIMIT.enabled") return path === "RATE_LIMIT.mode";
  return path.startsWith(`${over}.`) && reachesInto(value, path.slice(over.length + 1).split("."));
}

function reachesInto(tree: unknown, keys: readonly string[]): boolean {
  let place = tree;
  for (const [index, key] of keys.entries()) {
    if (typeof place !== "object" || place === null) return false;
    if (Object.hasOwn(place, key)) place = (place as Readonly<Record<string, unknown>>)[key];
    else return index === keys.length - 1 && key === "mode" && Object.hasOwn(place, "enabled");
  }
  return true;
}
