/** From what the operator gave to the effective configuration, or to everything that is wrong with it. */
import * as v from "valibot";
import { readBackends } from "./backends.ts";
import { defaults } from "./defaults.ts";
import type { Config, ConfigFault, ConfigReading, ExtraRoute, Limit, PolicyName, Runtime } from "./config.ts";
import { fault } from "./fault.ts";
import { issueFaults } from "./issue.ts";
import { layOver } from "./override.ts";
import type { OverrideValues } from "./override.ts";
import { routeWarnings } from "../jimeng/routes.ts";
import { picksFromTable, routeClasses } from "../route.ts";
import { configSchema } from "./schema.ts";
import type { ConfigInput, PartialLimit } from "./schema.ts";
import { readSource } from "./source.ts";
import type { RawConfig, Source } from "./source.ts";

/**
 * Reads an environment: `BACKEND_SERVERS`, `CONFIG`, and the variables that may stand beside it. Other keys (bindings,
 * secrets) are not looked at. All faults are told at once; it never throws.
 */
export function readConfig(source: Source): ConfigReading {
  return applyOverrides(source, {});
}

/** The same reading with an operator's run-time values laid over it: dotted paths (`RATE_LIMIT.requests`) to JSON values. */
export function applyOverrides(source: Source, overrides: OverrideValues): ConfigReading {
  const raw = readSource(source);
  const laid = layOver(raw.settings, overrides);
  const parsed = v.safeParse(configSchema, laid.settings);
  const runtime = parsed.success ? parsed.output.RUNTIME : givenRuntime(laid.settings["RUNTIME"]);
  const backends = readBackends(raw.backends, runtime);
  const faults = [
    ...raw.faults,
    ...laid.faults,
    ...(raw.backendsBroken ? [] : backends.faults),
    ...(parsed.success ? ruleFaults(parsed.output) : issueFaults(parsed.issues, [])),
  ];
  if (!parsed.success || faults.length > 0) return { ok: false, faults };
  const config = toConfig(parsed.output, backends.backends);
  return { ok: true, config, warnings: [...raw.warnings, ...backends.warnings, ...configWarnings(config, raw)] };
}

/** So that a fault elsewhere doesn't change what is said about the backends. */
function givenRuntime(value: unknown): Runtime {
  return value === "self-hosted" || value === "local" ? value : defaults.RUNTIME;
}

function toConfig(input: ConfigInput, backends: Config["BACKENDS"]): Config {
  const { enabled, routes, clients, ...limit } = input.RATE_LIMIT;
  return {
    ...input,
    BACKENDS: backends,
    RATE_LIMIT: {
      ...limit,
      mode: enabled === false ? "off" : limit.mode,
      routes: filled(routes, limit),
      clients: filled(clients, limit),
    },
  };
}

/** Limits given in part take the rest from the general one. */
function filled<Key extends string>(
  given: Readonly<Partial<Record<Key, PartialLimit | undefined>>>,
  general: Limit,
): Record<Key, Limit> {
  const limits: [string, Limit][] = [];
  for (const [key, limit] of Object.entries<PartialLimit | undefined>(given)) {
    if (limit === undefined) continue;
    limits.push([
      key,
      {
        requests: limit.requests ?? general.requests,
        window: limit.window ?? general.window,
        blockDuration: limit.blockDuration ?? general.blockDuration,
      },
    ]);
  }
  return Object.fromEntries(limits) as Record<Key, Limit>;
}

/** Rules between fields that are each right by themselves. */
function ruleFaults(input: ConfigInput): readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const atLeast = (
    group: "EJECTION" | "RETRY" | "WATCH" | "DEADLINES",
    field: string,
    value: number,
    bound: number,
    reason: string,
  ) => {
    if (value < bound) faults.push(fault([group, field], `at least ${bound}: ${reason}`, value));
  };
  const { EJECTION, RETRY, WATCH, DEADLINES, CORS } = input;
  atLeast("EJECTION", "max", EJECTION.max, EJECTION.base, "no shorter than the first ejection, EJECTION.base");
  atLeast("RETRY", "backoffCap", RETRY.backoffCap, RETRY.backoffBase, "no less than RETRY.backoffBase");
  atLeast(
    "WATCH",
    "leaseExpiry",
    WATCH.leaseExpiry,
    2 * WATCH.renew,
    "a lease must outlive one lost renewal, twice WATCH.renew",
  );
  atLeast("WATCH", "lostAfter", WATCH.lostAfter, 2 * WATCH.interval, "one lost ping is no death, twice WATCH.interval");
  atLeast(
    "DEADLINES",
    "streamCeiling",
    DEADLINES.streamCeiling,
    DEADLINES.streamIdle,
    "no shorter than DEADLINES.streamIdle",
  );
  if (CORS.credentials && CORS.origins.includes("*")) {
    // https://fetch.spec.whatwg.org/#cors-protocol-and-credentials
    faults.push(fault(["CORS", "credentials"], "false while CORS.origins holds *: browsers refuse that pair", true));
  }
  faults.push(...routeFaults(input.ROUTES));
  return faults;
}

function routeFaults(routes: readonly ExtraRoute[]): readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const seen = new Map<string, number>();
  for (const [index, route] of routes.entries()) {
    for (const method of new Set(route.methods)) {
      const id = `${method} ${route.path}`;
      const first = seen.get(id);
      if (first === undefined) seen.set(id, index);
      else
        faults.push(
          fault(
            ["ROUTES", index, "path"],
            `a route of its own (ROUTES[${first}] has ${method} on this path)`,
            route.path,
          ),
        );
    }
  }
  return faults;
}

/** By a table a second old they send every isolate to whoever looked idle then: docs/balancing.md has what it costs. */
const herding: ReadonlySet<PolicyName> = new Set(["least-requests", "lowest-latency", "hot-cold"]);

function policyWarnings({ BALANCE, PICKS }: Config): readonly string[] {
  if (PICKS === "exact") return [];
  const herded = routeClasses.filter((name) => picksFromTable(name) && herding.has(BALANCE.policies[name]));
  return herded.map(
    (name) =>
      `BALANCE.policies.${name}: ${BALANCE.policies[name]} picks from a table about a second old here, so that every isolate sends to the same backend; ` +
      "weighted-round-robin does not, nor do power-of-two and rendezvous (or PICKS: exact, at the price of a registry call a request)",
  );
}

function configWarnings(config: Config, raw: RawConfig): readonly string[] {
  const warnings: string[] = [...routeWarnings(config.ROUTES), ...policyWarnings(config)];
  if (config.RETRY.generations === "unsafe") {
    warnings.push(
      "RETRY.generations: unsafe sends a generation again that may already have been executed; credits may be spent twice",
    );
  }
  if (config.RUNTIME === "cloudflare" && config.TRUSTED_PROXIES.length > 0) {
    warnings.push("TRUSTED_PROXIES: not looked at on Cloudflare, where the client is CF-Connecting-IP");
  }
  if (!raw.variables.includes("RUNTIME") && config.RUNTIME === "local") {
    warnings.push("RUNTIME: local believes the client's own CF-Connecting-IP; it is for development only");
  }
  return warnings;
}
