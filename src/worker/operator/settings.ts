/** The configuration in force, operators' values over it, and the cache's contents. */
import { maskConfig, configOrigins } from "../../shared/config/mask.ts";
import { applyOverrides } from "../../shared/config/read.ts";
import type { OverridesRequest } from "../../shared/contract.ts";
import { backendOrigins, backendsInForce } from "../../shared/fleet/in-force.ts";
import { withoutBase } from "../../shared/jimeng/path.ts";
import { sourceOf } from "../env.ts";
import { askRegistry, refusal, showSoon } from "./asking.ts";
import { described, list, mapping, object, optional, pathText, someOf, text, whole, wholeText, yes } from "./field.ts";
import { define, failed, nothing, told } from "./route.ts";
import type { Asked, OperatorRoute, Told } from "./route.ts";

const dotted = described(
  text(/^[^\p{Cc}]{1,300}$/u, "a setting's dotted path, as RATE_LIMIT.requests"),
  "Dotted path, as RATE_LIMIT.requests.",
);
const newest = Number.MAX_SAFE_INTEGER;
const version = "Only if the overrides are at this version; 409 otherwise.";

async function override({ exchange, by }: Asked<unknown, unknown, unknown>, wanted: OverridesRequest): Promise<Told> {
  const reply = await askRegistry(exchange, (registry) => registry.changeOverrides(wanted, by));
  if (reply.kind !== "ok") return refusal(reply, "This override");
  showSoon(exchange);
  return told(reply.overrides);
}

/** Paths as clients use them, with the base path or without. */
/** A path as clients' requests carry it: what a person writes as it reads, a URL holds encoded. */
function asSent(path: string): string {
  return new URL(path, "http://any.invalid").pathname;
}

const cachedPath = pathText("a path beginning with /, without a query");

export const settingRoutes: readonly OperatorRoute[] = [
  define({
    method: "GET",
    path: "/api/config",
    role: "viewer",
    name: "readConfig",
    summary: "The configuration in force, secrets masked, and where each value came from.",
    parameters: nothing,
    query: nothing,
    body: null,
    status: 200,
    answer: "Config",
    failures: ["registry_unavailable"],
    async run({ exchange }) {
      const [overrides, overlay] = await askRegistry(exchange, (registry) =>
        Promise.all([registry.overrides(), registry.overlay()]),
      );
      const source = sourceOf(exchange.edge.env);
      const reading = applyOverrides(source, overrides.values);
      if (!reading.ok)
        return failed({
          code: "configuration_invalid",
          message: "This deployment's configuration and the registry's overrides don't fit together.",
          details: reading.faults,
        });
      const backends = backendsInForce(reading.config.BACKENDS, overlay);
      const origins = { ...configOrigins(source, overrides.values), ...backendOrigins(backends, overlay) };
      const values = { ...maskConfig(reading.config), BACKENDS: backends };
      return told({ values, origins, overrides, warnings: reading.warnings });
    },
  }),
  define({
    method: "PUT",
    path: "/api/config/overrides",
    role: "operator",
    name: "setOverrides",
    summary: "Lays values over the configuration; other overrides stay. All of them, or none, come into force.",
    parameters: nothing,
    query: nothing,
    body: object({
      values: described(
        mapping("an object of dotted paths and values, not empty", 1),
        "Dotted paths, or groups, to values.",
      ),
      version: optional(described(whole(0, newest), version)),
    }),
    status: 200,
    answer: "Overrides",
    failures: ["conflict", "registry_unavailable"],
    run: (asked) => override(asked, { kind: "set", values: asked.body.values, version: asked.body.version ?? null }),
  }),
  define({
    method: "DELETE",
    path: "/api/config/overrides",
    role: "operator",
    name: "removeOverrides",
    summary: "Takes all overrides of the configuration away.",
    parameters: nothing,
    query: { version: optional(described(wholeText(0, newest), version)) },
    body: null,
    status: 200,
    answer: "Overrides",
    failures: ["conflict", "registry_unavailable"],
    run: (asked) => override(asked, { kind: "remove", path: null, version: asked.query.version ?? null }),
  }),
  define({
    method: "DELETE",
    path: "/api/config/overrides/:path",
    role: "operator",
    name: "removeOverride",
    summary: "Takes one override, or those of a group, away.",
    parameters: { path: dotted },
    query: { version: optional(described(wholeText(0, newest), version)) },
    body: null,
    status: 200,
    answer: "Overrides",
    failures: ["not_found", "conflict", "registry_unavailable"],
    run: (asked) => override(asked, { kind: "remove", path: asked.path.path, version: asked.query.version ?? null }),
  }),
  define({
    method: "POST",
    path: "/api/cache/purge",
    role: "operator",
    name: "purgeCache",
    summary: "What is cached of these paths, or of all, is not used again.",
    parameters: nothing,
    query: nothing,
    body: someOf({
      all: optional(yes()),
      paths: optional(list(cachedPath, "a list of 1 to 100 paths", { min: 1, max: 100 })),
    }),
    status: 200,
    answer: "Purged",
    failures: ["registry_unavailable"],
    async run({ exchange, by, body }) {
      const base = exchange.edge.config.BASE_PATH;
      const paths = (body.paths ?? []).map(asSent).map((path) => withoutBase(path, base) ?? path);
      const purged = body.all === true ? null : [...new Set(paths)];
      const generations = await askRegistry(exchange, (registry) => registry.purgeCache(purged, by));
      showSoon(exchange);
      return told({ purged: purged ?? ["*"], generations });
    },
  }),
];
