import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { applyOverrides, readConfig } from "../../../src/shared/config/read.ts";
import { settingPaths, valueAt } from "../../../src/shared/config/override.ts";
import type { Config } from "../../../src/shared/config/config.ts";
import {
  maxOverrides,
  noOverrides,
  settleOverrides,
  withOverrides,
  withoutOverride,
} from "../../../src/shared/fleet/overrides.ts";
import type { StandingOverrides } from "../../../src/shared/fleet/overrides.ts";

function source(config: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { RUNTIME: "local", BACKEND_SERVERS: [{ url: "http://127.0.0.1:1" }], CONFIG: config };
}

function standing(given: Readonly<Record<string, unknown>>, over = source()): StandingOverrides {
  const change = withOverrides(over, noOverrides, given);
  if (!change.ok) throw new Error(JSON.stringify(change.faults));
  return change.standing;
}

function effective(over: Record<string, unknown>, stored: StandingOverrides): Config {
  const { reading } = settleOverrides(over, stored);
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return reading.config;
}

describe("an override", () => {
  test("is kept with the configured value beneath it, each setting of a group by itself", () => {
    const { version, values, beneath } = standing({ RATE_LIMIT: { requests: 7, window: 10 }, "CACHE.enabled": false });
    expect(version).toBe(1);
    expect(values).toEqual({ "RATE_LIMIT.requests": 7, "RATE_LIMIT.window": 10, "CACHE.enabled": false });
    expect(beneath).toEqual({ "RATE_LIMIT.requests": 100, "RATE_LIMIT.window": 60, "CACHE.enabled": true });
  });

  test("stays while the configured value does, whatever else changes", () => {
    const stored = standing({ "RATE_LIMIT.requests": 7 });
    const { ended, standing: after } = settleOverrides(source({ RATE_LIMIT: { window: 30 } }), stored);
    expect([ended, after]).toEqual([[], stored]);
    expect(effective(source({ RATE_LIMIT: { window: 30 } }), stored).RATE_LIMIT).toMatchObject({
      requests: 7,
      window: 30,
    });
  });

  test("ends when the configured value changes: the new value wins, and it is told what was and what is", () => {
    const stored = standing({ "RATE_LIMIT.requests": 7, "CACHE.enabled": false });
    const changed = source({ RATE_LIMIT: { requests: 50 } });
    const { ended, standing: after, reading } = settleOverrides(changed, stored);
    expect(ended).toEqual([
      {
        path: "RATE_LIMIT.requests",
        value: 7,
        reason: "configured_value_changed",
        configuredThen: 100,
        configuredNow: 50,
      },
    ]);
    expect(after).toEqual({ version: 2, values: { "CACHE.enabled": false }, beneath: { "CACHE.enabled": true } });
    expect(reading.ok && [reading.config.RATE_LIMIT.requests, reading.config.CACHE.enabled]).toEqual([50, false]);
  });

  test("of an empty place ends when something is configured there", () => {
    const path = "RATE_LIMIT.clients.203.0.113.7";
    const stored = standing({ [path]: { requests: 500 } });
    expect(Object.hasOwn(stored.beneath, path)).toBe(false);
    expect(settleOverrides(source(), stored).ended).toEqual([]);
    const configured = source({ RATE_LIMIT: { clients: { "203.0.113.7": { requests: 9 } } } });
    expect(settleOverrides(configured, stored).ended.map(({ reason }) => reason)).toEqual(["configured_value_changed"]);
  });

  test("that no longer fits a changed configuration ends, and the others stay", () => {
    const stored = standing({ "WATCH.renew": 40, "CACHE.enabled": false });
    const { ended, reading } = settleOverrides(source({ WATCH: { leaseExpiry: 60 } }), stored);
    expect(ended.map(({ path, reason }) => [path, reason])).toEqual([["WATCH.renew", "no_longer_valid"]]);
    expect(reading.ok && [reading.config.WATCH.renew, reading.config.CACHE.enabled]).toEqual([30, false]);
  });

  test("outlives a deployment whose configuration can't be read at all", () => {
    const stored = standing({ "RATE_LIMIT.requests": 7 });
    const { reading, standing: after, ended } = settleOverrides({ BACKEND_SERVERS: "[" }, stored);
    expect([reading.ok, after, ended]).toEqual([false, stored, []]);
  });

  test("that came later is right where two say the same", () => {
    const first = standing({ "RATE_LIMIT.mode": "report" });
    const then = withOverrides(source(), first, { "RATE_LIMIT.enabled": false });
    expect(then.ok && then.config.RATE_LIMIT.mode).toBe("off");
    const again = then.ok ? withOverrides(source(), then.standing, { "RATE_LIMIT.mode": "report" }) : then;
    expect(again.ok && again.config.RATE_LIMIT.mode).toBe("report");
  });

  test("goes alone, with its group, or with all", () => {
    const stored = standing({ RATE_LIMIT: { requests: 7, window: 10 }, "CACHE.enabled": false });
    const left = (path: string | null): string[] => {
      const change = withoutOverride(source(), stored, path);
      return change.ok ? Object.keys(change.standing.values) : ["refused"];
    };
    expect(left("RATE_LIMIT.window")).toEqual(["RATE_LIMIT.requests", "CACHE.enabled"]);
    expect(left("RATE_LIMIT")).toEqual(["CACHE.enabled"]);
    expect(left(null)).toEqual([]);
  });

  test("on which another rests can't go before it", () => {
    const stored = standing({ "CORS.origins": ["https://a.example"], "CORS.credentials": true });
    const change = withoutOverride(source(), stored, "CORS.origins");
    expect(change.ok ? [] : change.faults.map(({ field }) => field)).toEqual(["CORS.credentials"]);
  });
});

describe("what is refused", () => {
  const faultsOf = (given: Readonly<Record<string, unknown>>): readonly string[] => {
    const change = withOverrides(source(), noOverrides, given);
    return change.ok ? [] : change.faults.map(({ field, allowed }) => `${field}: ${allowed}`);
  };

  test("webhooks, which hold secrets, alone or in their group", () => {
    const webhook = { kind: "json", url: "https://hook.example/a-secret" };
    for (const given of [
      { "ALERTS.webhooks": [webhook] },
      { ALERTS: { webhooks: [webhook] } },
      { "ALERTS.webhooks.0.url": "x" },
    ]) {
      expect(faultsOf(given).join(), JSON.stringify(given)).toContain("it holds secrets");
    }
    expect(faultsOf({ "ALERTS.rules.backend_down.for": 5 })).toEqual([]);
  });

  test("what belongs to the deployment, what there is not, and what is out of bounds, all at once", () => {
    const faults = faultsOf({ RUNTIME: "local", "RATE_LIMT.requests": 5, "RATE_LIMIT.requests": -1, __proto__x: 1 });
    expect(faults).toHaveLength(4);
    expect(faults.join()).toContain("did you mean RATE_LIMIT.requests?");
  });

  test("more overrides, or longer ones, than the table should carry", () => {
    const clients = Array.from({ length: maxOverrides + 1 }, (_, index) => [
      `RATE_LIMIT.clients.key${index}`,
      { requests: 5 },
    ]);
    expect(faultsOf(Object.fromEntries(clients)).join()).toContain("at most 200 overrides");
    const origins = Array.from({ length: 900 }, (_, index) => `https://${"a".repeat(40)}${index}.example`);
    expect(faultsOf({ "CORS.origins": origins }).join()).toContain("characters of JSON");
  });
});

test("whatever is laid over it: the configuration is as the overrides say, and without them as before", () => {
  const path = fc.constantFrom(...settingPaths);
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.integer({ min: 0, max: 500 }),
    fc.constantFrom("report", "exact", [], {}),
  );
  const changes = fc.array(fc.tuple(path, value), { maxLength: 12 });
  fc.assert(
    fc.property(changes, (given) => {
      let stored = noOverrides;
      for (const [at, to] of given) {
        const change = withOverrides(source(), stored, { [at]: to });
        if (!change.ok) continue;
        expect(change.standing.version).toBe(stored.version + 1);
        stored = change.standing;
        const reading = applyOverrides(source(), stored.values);
        expect(reading.ok && reading.config).toEqual(change.config);
        expect(settleOverrides(source(), stored).ended).toEqual([]);
      }
      const base = readConfig(source());
      for (const known of Object.keys(stored.values))
        expect(stored.beneath[known]).toEqual(base.ok ? valueAt(base.config, known) : null);
      const none = withoutOverride(source(), stored, null);
      expect(none.ok && none.config).toEqual(base.ok && base.config);
    }),
    { numRuns: 300 },
  );
});
