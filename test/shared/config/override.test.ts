import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Config } from "../../../src/shared/config/config.ts";
import { defaults } from "../../../src/shared/config/defaults.ts";
import { configOrigins, maskConfig, showConfig } from "../../../src/shared/config/mask.ts";
import { resolvePath, settingPaths, valueAt } from "../../../src/shared/config/override.ts";
import { applyOverrides, readConfig } from "../../../src/shared/config/read.ts";

const source = {
  BACKEND_SERVERS: JSON.stringify([{ url: "https://a.example.com", headers: { "X-Origin-Secret": "hunter2" } }]),
  CONFIG: JSON.stringify({ RATE_LIMIT: { enabled: false, requests: 7 }, PICKS: "exact" }),
};

function overridden(overrides: Record<string, unknown>, base: Record<string, unknown> = source): Config {
  const reading = applyOverrides(base, overrides);
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return reading.config;
}

function refusedFields(overrides: Record<string, unknown>): readonly string[] {
  const reading = applyOverrides(source, overrides);
  return reading.ok ? [] : reading.faults.map((fault) => fault.field);
}

describe("an override", () => {
  test("without any, the reading is the plain one", () => {
    expect(applyOverrides(source, {})).toEqual(readConfig(source));
  });

  test("replaces one field and leaves its neighbours", () => {
    expect(overridden({ "RATE_LIMIT.window": 5, "CACHE.ttl.stats": 0 })).toMatchObject({
      RATE_LIMIT: { requests: 7, window: 5 },
      CACHE: { ttl: { models: 300, stats: 0 } },
    });
  });

  test("of a group is laid over it field by field", () => {
    expect(overridden({ RATE_LIMIT: { window: 5 }, CACHE: { ttl: { stats: 0 } } })).toEqual(
      overridden({ "RATE_LIMIT.window": 5, "CACHE.ttl.stats": 0 }),
    );
  });

  test("of a variable's setting wins over the variable", () => {
    expect(overridden({ PICKS: "auto" }, { ...source, PICKS: "exact" }).PICKS).toBe("auto");
  });

  test("of one client keeps the dots of its address, and the other clients", () => {
    const clients = { RATE_LIMIT: { clients: { "2001:db8::1": { requests: 1 } } } };
    const config = overridden({ "RATE_LIMIT.clients.192.0.2.7": { requests: 3 } }, { ...source, CONFIG: clients });
    expect(config.RATE_LIMIT.clients).toMatchObject({ "192.0.2.7": { requests: 3 }, "2001:db8::1": { requests: 1 } });
  });

  test("of a route class' limit is filled from the general limit", () => {
    expect(overridden({ "RATE_LIMIT.routes.generate": { requests: 1 } }).RATE_LIMIT.routes).toEqual({
      generate: { requests: 1, window: 60, blockDuration: 300 },
    });
  });

  test("of enabled or mode: the one that was overridden is right", () => {
    expect(overridden({}).RATE_LIMIT.mode).toBe("off");
    expect(overridden({ "RATE_LIMIT.mode": "report" }).RATE_LIMIT.mode).toBe("report");
    expect(overridden({ "RATE_LIMIT.enabled": true }).RATE_LIMIT.mode).toBe("enforce");
    const modeOff = { ...source, CONFIG: { RATE_LIMIT: { mode: "off" } } };
    expect(overridden({ "RATE_LIMIT.enabled": true }, modeOff).RATE_LIMIT.mode).toBe("enforce");
    expect(overridden({ "RATE_LIMIT.enabled": false }, { ...source, CONFIG: {} }).RATE_LIMIT.mode).toBe("off");
  });

  test.each([
    ["RATE_LIMIT.requets", 5],
    ["RATE_LIMIT.requests.x", 5],
    ["RATE_LIMIT.routes.nothing", {}],
    ["__proto__.polluted", 1],
    ["constructor.prototype", 1],
    ["constructor", 1],
    ["toString", 1],
    ["RATE_LIMIT.__proto__", 1],
    ["", 1],
    [".", 1],
    ["RUNTIME", "local"],
    ["TRUSTED_PROXIES", ["0.0.0.0/0"]],
    ["LOCATION.registry", "weur"],
    ["BACKEND_SERVERS", []],
    ["BACKENDS", []],
  ])("of %j is refused, in words", (path, value) => {
    expect(refusedFields({ [path]: value })).toEqual([path]);
    const reading = applyOverrides(source, { [path]: value });
    expect(reading.ok ? [] : reading.faults.map(({ allowed }) => typeof allowed)).toEqual(["string"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test.each([
    ["RATE_LIMIT.requests", 0],
    ["RATE_LIMIT.requests", "5"],
    ["RATE_LIMIT", 5],
    ["CORS.origins", "x"],
    ["ALERTS.rules.error_rate.threshold", 2],
  ])("of %s by %j is held to the same bounds", (path, value) => {
    expect(refusedFields({ [path]: value })).toEqual([path]);
  });

  test("that breaks a rule between fields is refused", () => {
    expect(refusedFields({ "WATCH.renew": 600 })).toEqual(["WATCH.leaseExpiry"]);
  });

  test("an unknown path is told the nearest", () => {
    const reading = applyOverrides(source, { "RATE_LIMIT.requets": 5 });
    expect(reading.ok ? [] : reading.faults).toMatchObject([
      { allowed: "no such setting; did you mean RATE_LIMIT.requests?" },
    ]);
  });

  test("any overrides at all: a reading, never a throw, and the prototype stays clean", () => {
    const path = fc.oneof(fc.constantFrom(...settingPaths, "RATE_LIMIT", "__proto__", "CORS.__proto__.x"), fc.string());
    fc.assert(fc.property(fc.dictionary(path, fc.anything()), (overrides) => void applyOverrides(source, overrides)));
    expect(Object.keys({})).toEqual([]);
    expect(readConfig(source).ok).toBe(true);
  });
});

describe("paths", () => {
  test("every setting has one, every one leads to its default", () => {
    const reading = readConfig({ BACKEND_SERVERS: source.BACKEND_SERVERS });
    if (!reading.ok) throw new Error("unreadable");
    for (const path of settingPaths) {
      const wanted = path.split(".").reduce<unknown>((place, key) => (place as Record<string, unknown>)[key], defaults);
      expect(valueAt(reading.config, path), path).toEqual(wanted);
      expect(resolvePath(path), path).not.toBeNull();
    }
    expect(settingPaths.length).toBeGreaterThan(80);
  });

  test("every setting but the deployment's own can be overridden by its own value", () => {
    const reading = readConfig(source);
    if (!reading.ok) throw new Error("unreadable");
    const deployment = new Set(["RUNTIME", "TRUSTED_PROXIES", "LOCATION.registry"]);
    const paths = settingPaths.filter((path) => !deployment.has(path));
    const same = Object.fromEntries(paths.map((path) => [path, valueAt(reading.config, path)]));
    expect(overridden(same)).toEqual(reading.config);
  });

  test("a place that isn't there has no value", () => {
    const config = overridden({});
    for (const path of ["", "NOTHING", "RATE_LIMIT.nothing", "__proto__", "toString", "RATE_LIMIT.clients.nobody"])
      expect(valueAt(config, path)).toBeUndefined();
    expect(valueAt(config, "RATE_LIMIT.enabled")).toBe(false);
  });
});

describe("what an operator is shown", () => {
  const webhooks = [
    { kind: "feishu", url: "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2?x=hunter2", secret: "hunter2" },
  ];

  test("holds no secret, and changes nothing else", () => {
    const config = overridden({ "ALERTS.webhooks": webhooks });
    const shown = maskConfig(config);
    expect(JSON.stringify(config)).toContain("hunter2");
    expect(JSON.stringify(shown)).not.toContain("hunter2");
    expect(shown.BACKENDS[0]?.headers).toEqual({ "X-Origin-Secret": "***" });
    expect(shown.ALERTS.webhooks).toEqual([{ kind: "feishu", url: "https://open.feishu.cn/***", secret: "***" }]);
    expect({ ...shown, BACKENDS: config.BACKENDS, ALERTS: config.ALERTS }).toEqual(config);
  });

  test("says of each value where it came from", () => {
    const origins = configOrigins(
      { ...source, BASE_PATH: "", RUNTIME: "cloudflare" },
      { "RATE_LIMIT.window": 5, CACHE: { ttl: { stats: 1 } } },
    );
    expect(origins).toMatchObject({
      "RATE_LIMIT.requests": "CONFIG",
      "RATE_LIMIT.mode": "CONFIG",
      "RATE_LIMIT.window": "override",
      "RATE_LIMIT.blockDuration": "default",
      "CACHE.ttl.stats": "override",
      "CACHE.ttl.models": "default",
      PICKS: "CONFIG",
      BASE_PATH: "variable",
      RUNTIME: "variable",
      BACKEND_SERVERS: "variable",
    });
  });

  test("a value that differs from its default is never said to be the default", () => {
    const setting = fc.constantFrom(
      "RATE_LIMIT.requests",
      "CACHE.staleIfError",
      "WATCH.proofOfLife",
      "LOG.retentionDays",
    );
    fc.assert(
      fc.property(
        fc.dictionary(setting, fc.integer({ min: 1, max: 500 })),
        fc.dictionary(setting, fc.integer({ min: 1, max: 500 })),
        (given, overrides) => {
          const settings: Record<string, Record<string, number>> = {};
          for (const [path, value] of Object.entries(given)) {
            const [group = "", field = ""] = path.split(".");
            settings[group] = { ...settings[group], [field]: value };
          }
          const from = { BACKEND_SERVERS: source.BACKEND_SERVERS, CONFIG: settings };
          const { values, origins } = showConfig(overridden(overrides, from), from, overrides);
          for (const path of settingPaths) {
            const wanted = Object.hasOwn(overrides, path)
              ? "override"
              : Object.hasOwn(given, path)
                ? "CONFIG"
                : "default";
            expect(origins[path], path).toBe(wanted);
            if (wanted !== "default") expect(valueAt(values, path)).toBe(overrides[path] ?? given[path]);
          }
        },
      ),
    );
  });
});
