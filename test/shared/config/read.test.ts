import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { routeClasses } from "../../../src/shared/route.ts";
import type { ConfigFault, Config } from "../../../src/shared/config/config.ts";
import { readBackend } from "../../../src/shared/config/backends.ts";
import { readConfig } from "../../../src/shared/config/read.ts";

const one = JSON.stringify([{ url: "https://a.example.com" }]);

function config(settings: unknown = {}, others: Record<string, unknown> = {}): Config {
  const reading = readConfig({ BACKEND_SERVERS: one, CONFIG: JSON.stringify(settings), ...others });
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return reading.config;
}

function faults(source: Record<string, unknown>): readonly ConfigFault[] {
  const reading = readConfig(source);
  return reading.ok ? [] : reading.faults;
}

const settingFaults = (settings: unknown) => faults({ BACKEND_SERVERS: one, CONFIG: JSON.stringify(settings) });
const backendFaults = (backends: unknown, runtime = "cloudflare") =>
  faults({ BACKEND_SERVERS: JSON.stringify(backends), RUNTIME: runtime });

function warnings(source: Record<string, unknown>): readonly string[] {
  const reading = readConfig(source);
  if (!reading.ok) throw new Error(JSON.stringify(reading.faults));
  return reading.warnings;
}

describe("the specification's defaults stand when nothing but a backend is given", () => {
  test("groups and numbers", () => {
    expect(config()).toMatchObject({
      CACHE: {
        enabled: true,
        ttl: { models: 300, stats: 60, health: 30 },
        bypass: ["/v1/images", "/v1/videos", "/v1/chat/completions", "/token"],
      },
      RATE_LIMIT: { mode: "enforce", requests: 100, window: 60, blockDuration: 300 },
      CORS: { origins: ["*"] },
      HEALTH_CHECK: { path: "/ping", interval: 60, timeout: 5, retries: 3, unhealthyInterval: 10 },
      RETRY: { maxAttempts: 3, backoffBase: 0.1, backoffCap: 2, budgetRatio: 0.2, budgetPerSecond: 10 },
      BALANCE: {
        policies: {
          query: "weighted-round-robin",
          usage: "weighted-round-robin",
          generate: "lowest-latency",
          stream: "lowest-latency",
        },
      },
      RESPONSE: { normalizeErrors: true },
      WATCH: { interval: 20, lostAfter: 180, renew: 30, leaseExpiry: 90, proofOfLife: 5 },
      RUNTIME: "cloudflare",
      BASE_PATH: "/api",
      PICKS: "auto",
    });
  });

  test("a backend's priority is 1, its region default, its weight 1, its name its host", () => {
    expect(config().BACKENDS).toEqual([
      {
        name: "a.example.com",
        url: "https://a.example.com",
        priority: 1,
        region: "default",
        weight: 1,
        maxInFlight: null,
        dialect: null,
        healthPath: null,
        routes: null,
        models: null,
        headers: {},
      },
    ]);
  });
});

describe("what is given is taken", () => {
  test("a group in part leaves the rest of it at its defaults", () => {
    expect(config({ RATE_LIMIT: { requests: 5 }, CACHE: { ttl: { stats: 1 } } })).toMatchObject({
      RATE_LIMIT: { requests: 5, window: 60, blockDuration: 300 },
      CACHE: { enabled: true, ttl: { models: 300, stats: 1, health: 30 } },
    });
  });

  test("JSON text and values parsed from TOML read alike", () => {
    const backends = [{ url: "https://a.example.com", weight: 3, headers: { "X-Origin-Secret": "s" } }];
    const settings = { RATE_LIMIT: { window: 2 }, ROUTES: [{ path: "/test/*" }] };
    expect(readConfig({ BACKEND_SERVERS: backends, CONFIG: settings })).toEqual(
      readConfig({ BACKEND_SERVERS: JSON.stringify(backends), CONFIG: JSON.stringify(settings) }),
    );
  });

  test("a variable wins over the key of CONFIG", () => {
    const settings = {
      RUNTIME: "local",
      BASE_PATH: "/x",
      PICKS: "exact",
      TRUSTED_PROXIES: ["192.0.2.1"],
      ROUTES: [{ path: "/x" }],
    };
    const variables = {
      RUNTIME: "self-hosted",
      BASE_PATH: "",
      PICKS: "auto",
      TRUSTED_PROXIES: "10.0.0.0/8, ::1",
      ROUTES: '[{"path":"/y"}]',
    };
    expect(config(settings)).toMatchObject({
      RUNTIME: "local",
      BASE_PATH: "/x",
      PICKS: "exact",
      TRUSTED_PROXIES: ["192.0.2.1"],
    });
    expect(config(settings, variables)).toMatchObject({
      RUNTIME: "self-hosted",
      BASE_PATH: "",
      PICKS: "auto",
      TRUSTED_PROXIES: ["10.0.0.0/8", "::1"],
      ROUTES: [{ path: "/y", methods: ["GET"], class: "query", cache: "none" }],
    });
  });

  test("bindings and secrets beside them are not looked at", () => {
    expect(faults({ BACKEND_SERVERS: one, ADMIN_TOKEN: "x", CACHE: { get() {} }, DB: null, LOG: 5 })).toEqual([]);
  });

  test("RATE_LIMIT.enabled: false is mode off, and leaves no key of its own", () => {
    expect(config({ RATE_LIMIT: { enabled: false } }).RATE_LIMIT.mode).toBe("off");
    expect(config({ RATE_LIMIT: { enabled: true, mode: "report" } }).RATE_LIMIT.mode).toBe("report");
    expect(config({ RATE_LIMIT: { enabled: true } }).RATE_LIMIT).not.toHaveProperty("enabled");
  });

  test("a limit given in part takes the rest from the general limit", () => {
    const limits = config({
      RATE_LIMIT: {
        requests: 10,
        window: 5,
        routes: { generate: { requests: 2 } },
        clients: { "192.0.2.7": { blockDuration: 9 } },
      },
    }).RATE_LIMIT;
    expect(limits.routes).toEqual({ generate: { requests: 2, window: 5, blockDuration: 300 } });
    expect(limits.clients).toEqual({ "192.0.2.7": { requests: 10, window: 5, blockDuration: 9 } });
  });

  test.each(routeClasses)("the policy of %s can be set", (name) => {
    expect(config({ BALANCE: { policies: { [name]: "hot-cold" } } }).BALANCE.policies[name]).toBe("hot-cold");
  });
});

describe("names of backends", () => {
  const names = (...backends: object[]) =>
    config({}, { BACKEND_SERVERS: backends, RUNTIME: "local" }).BACKENDS.map((backend) => backend.name);

  test("two on one host are told apart by their ports", () => {
    expect(names({ url: "http://127.0.0.1:9101" }, { url: "http://127.0.0.1" }, { url: "http://b" })).toEqual([
      "127.0.0.1:9101",
      "127.0.0.1:80",
      "b",
    ]);
  });

  test("a given name that is another's host makes that one show its port", () => {
    expect(names({ url: "http://b", name: "a" }, { url: "http://a" })).toEqual(["a", "a:80"]);
  });

  test("an IPv6 backend is named without brackets, with them where its port is needed", () => {
    expect(names({ url: "http://[::1]:1" })).toEqual(["::1"]);
    expect(names({ url: "http://[::1]:1" }, { url: "http://[::1]:2" })).toEqual(["[::1]:1", "[::1]:2"]);
  });

  test("two that only their path tells apart must be given a name", () => {
    expect(backendFaults([{ url: "https://a.com/x" }, { url: "https://a.com/y" }])).toMatchObject([
      { field: "BACKEND_SERVERS[1].name", allowed: expect.stringContaining("give this one a `name`") },
    ]);
  });
});

describe("names that every object has by itself", () => {
  const inherited = ["__proto__", "constructor", "toString", "hasOwnProperty", "__defineGetter__"];

  test("are refused, since much is looked up by a backend's name", () => {
    for (const name of inherited) {
      const found = backendFaults([{ url: "https://a.example.com", name }]);
      expect(
        found.map(({ field }) => field),
        name,
      ).toEqual(["BACKEND_SERVERS[0].name"]);
      expect(readBackend({ url: "https://b.example.com", name }, "cloudflare", []).ok, name).toBe(false);
    }
  });

  test("are not derived from a host either", () => {
    const { BACKENDS } = config({}, { RUNTIME: "local", BACKEND_SERVERS: '[{"url":"http://constructor:8000"}]' });
    expect(BACKENDS.map(({ name }) => name)).toEqual(["constructor:8000"]);
    const added = readBackend({ url: "http://constructor:8000" }, "local", []);
    expect(added.ok && added.backend.name).toBe("constructor:8000");
  });
});

describe("refused backends", () => {
  const url = "https://a.example.com";
  test.each<[string, unknown, string, string]>([
    ["no list", { url }, "BACKEND_SERVERS", "an object with url"],
    ["an empty list", [], "BACKEND_SERVERS", "a list of 0"],
    ["a list of more than 256", Array.from({ length: 257 }, () => ({ url })), "BACKEND_SERVERS", "a list of 257"],
    ["null", null, "BACKEND_SERVERS", "null"],
    ["a number", 5, "BACKEND_SERVERS", "5"],
    ["a list in a list", [[]], "BACKEND_SERVERS[0]", "a list of 0"],
    ["a bare URL", [url], "BACKEND_SERVERS[0]", `"${url}"`],
    ["no url", [{}], "BACKEND_SERVERS[0].url", "nothing"],
    ["a null url", [{ url: null }], "BACKEND_SERVERS[0].url", "null"],
    ["a negative weight", [{ url, weight: -1 }], "BACKEND_SERVERS[0].weight", "-1"],
    ["a fractional weight", [{ url, weight: 0.5 }], "BACKEND_SERVERS[0].weight", "0.5"],
    ["a weight as text", [{ url, weight: "3" }], "BACKEND_SERVERS[0].weight", '"3"'],
    ["a fractional priority", [{ url, priority: 1.5 }], "BACKEND_SERVERS[0].priority", "1.5"],
    ["no place in flight", [{ url, maxInFlight: 0 }], "BACKEND_SERVERS[0].maxInFlight", "0"],
    ["an unknown dialect", [{ url, dialect: "flat" }], "BACKEND_SERVERS[0].dialect", '"flat"'],
    ["a health path without slash", [{ url, healthPath: "ping" }], "BACKEND_SERVERS[0].healthPath", '"ping"'],
    ["no routes at all", [{ url, routes: [] }], "BACKEND_SERVERS[0].routes", "a list of 0"],
    ["models that are no texts", [{ url, models: [5] }], "BACKEND_SERVERS[0].models[0]", "5"],
    ["a name with a blank", [{ url, name: "my server" }], "BACKEND_SERVERS[0].name", '"my server"'],
    ["a name that no header can carry", [{ url, name: "北京" }], "BACKEND_SERVERS[0].name", '"北京"'],
    [
      "a name used twice",
      [
        { url, name: "x" },
        { url: "https://b.example.com", name: "x" },
      ],
      "BACKEND_SERVERS[1].name",
      '"x"',
    ],
    ["a URL used twice", [{ url }, { url: `${url}:443/`, name: "x" }], "BACKEND_SERVERS[1].url", `"${url}:443/"`],
    ["a URL of another scheme", [{ url: "ftp://a.example.com" }], "BACKEND_SERVERS[0].url", '"ftp://a.example.com"'],
    [
      "a URL with credentials",
      [{ url: "https://u:secret@a.example.com" }],
      "BACKEND_SERVERS[0].url",
      '"https://***@a.example.com"',
    ],
    [
      "a URL with a query",
      [{ url: "https://a.example.com/?key=secret" }],
      "BACKEND_SERVERS[0].url",
      '"https://a.example.com/?***"',
    ],
    ["a header that the edge sets itself", [{ url, headers: { Host: "x" } }], "BACKEND_SERVERS[0].headers.Host", "***"],
    [
      "the client's own Authorization",
      [{ url, headers: { authorization: "Bearer secret" } }],
      "BACKEND_SERVERS[0].headers.authorization",
      "***",
    ],
    [
      "a header value with a line break",
      [{ url, headers: { "X-S": "secret\r\nX: y" } }],
      "BACKEND_SERVERS[0].headers.X-S",
      "***",
    ],
    ["headers as a text", [{ url, headers: "X-S: secret" }], "BACKEND_SERVERS[0].headers", "***"],
    ["headers as a list", [{ url, headers: ["X-S: secret"] }], "BACKEND_SERVERS[0].headers", "***"],
  ])("%s", (_name, backends, field, received) => {
    const found = backendFaults(backends);
    expect(found.map((fault) => fault.field)).toEqual([field]);
    expect(found[0]?.received).toBe(received);
    expect(JSON.stringify(found)).not.toContain("secret\\r");
  });

  test.each([
    "http://127.0.0.1:9101",
    "http://2130706433",
    "http://0x7f.1",
    "http://localhost:9101",
    "http://[::1]",
    "https://192.0.2.7",
    "https://[2001:db8::1]",
  ])("%s on Cloudflare, and the message names the cure", (address) => {
    expect(backendFaults([{ url: address }])).toMatchObject([
      { field: "BACKEND_SERVERS[0].url", allowed: expect.stringContaining("DNS-only") },
    ]);
    expect(backendFaults([{ url: address }], "self-hosted")).toEqual([]);
    expect(backendFaults([{ url: address }], "local")).toEqual([]);
  });

  test("a missing list says how to set one", () => {
    for (const missing of [{}, { BACKEND_SERVERS: "" }, { BACKEND_SERVERS: "  " }]) {
      expect(faults(missing)).toMatchObject([
        {
          field: "BACKEND_SERVERS",
          allowed: expect.stringContaining("wrangler secret put BACKEND_SERVERS"),
          received: "nothing",
        },
      ]);
    }
  });
});

describe("refused settings", () => {
  test.each<[unknown, string, string]>([
    [{ RATE_LIMIT: { requests: 0 } }, "RATE_LIMIT.requests", "0"],
    [{ RATE_LIMIT: { requests: 10_001 } }, "RATE_LIMIT.requests", "10001"],
    [{ RATE_LIMIT: { window: 86_401 } }, "RATE_LIMIT.window", "86401"],
    [{ RATE_LIMIT: { enabled: "false" } }, "RATE_LIMIT.enabled", '"false"'],
    [{ RATE_LIMIT: { exempt: ["010.0.0.1"] } }, "RATE_LIMIT.exempt[0]", '"010.0.0.1"'],
    [{ RATE_LIMIT: { exempt: ["10.0.0.0/33"] } }, "RATE_LIMIT.exempt[0]", '"10.0.0.0/33"'],
    [{ RATE_LIMIT: { deny: "10.0.0.1" } }, "RATE_LIMIT.deny", '"10.0.0.1"'],
    [{ RATE_LIMIT: { routes: { generate: { requests: -1 } } } }, "RATE_LIMIT.routes.generate.requests", "-1"],
    [{ RATE_LIMIT: { clients: { x: { requests: "1" } } } }, "RATE_LIMIT.clients.x.requests", '"1"'],
    [{ RATE_LIMIT: { clients: { "10.0.0.0/8": {} } } }, "RATE_LIMIT.clients.10.0.0.0/8", '"10.0.0.0/8"'],
    [{ RATE_LIMIT: { clients: { "2001:db8::/48": {} } } }, "RATE_LIMIT.clients.2001:db8::/48", '"2001:db8::/48"'],
    [{ RATE_LIMIT: null }, "RATE_LIMIT", "null"],
    [{ CACHE: [] }, "CACHE", "a list of 0"],
    [{ CACHE: { ttl: { models: -1 } } }, "CACHE.ttl.models", "-1"],
    [{ CORS: { origins: ["https://a.example.com/"] } }, "CORS.origins[0]", '"https://a.example.com/"'],
    [{ CORS: { origins: ["*"], credentials: true } }, "CORS.credentials", "true"],
    [{ HEALTH_CHECK: { retries: 0 } }, "HEALTH_CHECK.retries", "0"],
    [{ EJECTION: { base: 60, max: 30 } }, "EJECTION.max", "30"],
    [{ RETRY: { backoffBase: 3 } }, "RETRY.backoffCap", "2"],
    [{ RETRY: { generations: "yes" } }, "RETRY.generations", '"yes"'],
    [{ WATCH: { renew: 60 } }, "WATCH.leaseExpiry", "90"],
    [{ BALANCE: { policies: { generate: "best" } } }, "BALANCE.policies.generate", '"best"'],
    [{ BALANCE: { regionPreference: 0.5 } }, "BALANCE.regionPreference", "0.5"],
    [{ RUNTIME: "node" }, "RUNTIME", '"node"'],
    [{ BASE_PATH: "/api/" }, "BASE_PATH", '"/api/"'],
    [{ BASE_PATH: "api" }, "BASE_PATH", '"api"'],
    [{ BASE_PATH: "/../x" }, "BASE_PATH", '"/../x"'],
    [{ TRUSTED_PROXIES: ["proxy.example.com"] }, "TRUSTED_PROXIES[0]", '"proxy.example.com"'],
    [{ ROUTES: [{}] }, "ROUTES[0].path", "nothing"],
    [{ ROUTES: [{ path: "/a*" }] }, "ROUTES[0].path", '"/a*"'],
    [{ ROUTES: [{ path: "/a/*/b" }] }, "ROUTES[0].path", '"/a/*/b"'],
    [{ ROUTES: [{ path: "/a", methods: ["get"] }] }, "ROUTES[0].methods[0]", '"get"'],
    [{ ROUTES: [{ path: "/a", cache: 0 }] }, "ROUTES[0].cache", "0"],
    [{ ROUTES: [{ path: "/a" }, { path: "/a", methods: ["POST", "GET"] }] }, "ROUTES[1].path", '"/a"'],
    [{ LOCATION: { registry: "china" } }, "LOCATION.registry", '"china"'],
    [
      { ALERTS: { webhooks: [{ kind: "teams", url: "https://a.example.com/secret" }] } },
      "ALERTS.webhooks[0].kind",
      '"teams"',
    ],
    [{ ALERTS: { webhooks: [{ kind: "slack", url: "hooks.example.com/secret" }] } }, "ALERTS.webhooks[0].url", "***"],
    [{ ALERTS: { webhooks: "https://hooks.example.com/secret" } }, "ALERTS.webhooks", "***"],
    [{ BACKEND_SERVERS: [] }, "BACKEND_SERVERS", "a key of CONFIG"],
    [[], "CONFIG", "a list of 0"],
    [null, "CONFIG", "null"],
    [7, "CONFIG", "7"],
  ])("%j", (settings, field, received) => {
    expect(settingFaults(settings).map((fault) => [fault.field, fault.received])).toEqual([[field, received]]);
  });

  test("an unknown key is a fault that suggests the nearest name and doesn't show its value", () => {
    expect(settingFaults({ RATELIMIT: { x: "secret" }, RATE_LIMIT: { blockduration: 3 }, CACHE: { tll: {} } })).toEqual(
      [
        { field: "CACHE.tll", allowed: "no such setting; did you mean ttl?", received: "a value, not shown" },
        {
          field: "RATE_LIMIT.blockduration",
          allowed: "no such setting; did you mean blockDuration?",
          received: "a value, not shown",
        },
        { field: "RATELIMIT", allowed: "no such setting; did you mean RATE_LIMIT?", received: "a value, not shown" },
      ],
    );
    expect(settingFaults({ CORS: { zebra: 1 } })[0]?.allowed).toBe(
      "no such setting; known are origins, credentials, maxAge",
    );
  });

  test("all faults are told at once, of the backends and of the settings alike", () => {
    const source = {
      BACKEND_SERVERS: JSON.stringify([{ url: "http://127.0.0.1", weight: -1, colour: 1 }, { url: "x" }]),
      CONFIG: JSON.stringify({ RATE_LIMIT: { requests: -1, window: "x" }, CORS: { maxAge: -1 } }),
      TRUSTED_PROXIES: "[",
      PICKS: "never",
    };
    expect(
      faults(source)
        .map((fault) => fault.field)
        .toSorted(),
    ).toEqual(
      [
        "BACKEND_SERVERS[0].colour", "BACKEND_SERVERS[0].url", "BACKEND_SERVERS[0].weight", "BACKEND_SERVERS[1].url",
        "CORS.maxAge", "PICKS", "RATE_LIMIT.requests", "RATE_LIMIT.window", "TRUSTED_PROXIES",
      ], // prettier-ignore
    );
  });
});

describe("text that is not JSON", () => {
  test("says where it breaks and never shows the text", () => {
    const text = '[{"url":"https://a.example.com","headers":{"X-S":"hunter2"},}]';
    const [fault] = faults({ BACKEND_SERVERS: text });
    expect(fault).toMatchObject({
      field: "BACKEND_SERVERS",
      received: expect.stringContaining("breaks at character 61"),
    });
    expect(JSON.stringify(fault)).not.toContain("hunter2");
  });

  test.each(["'[]'", "“[]”", "`[]`"])("quotes around it are recognised: %s", (text) => {
    expect(faults({ BACKEND_SERVERS: text })[0]?.received).toContain("take the quotes");
  });

  test("a mebibyte of junk is one fault, told in under a second", () => {
    const junk = Array.from({ length: 1024 * 1024 }, (_, index) => String.fromCharCode((index * 7919) % 0xd7ff)).join(
      "",
    );
    for (const text of [junk, `[${"[".repeat(1024 * 1024 - 1)}`, "x".repeat(3 * 1024 * 1024)]) {
      const begun = performance.now();
      const found = faults({ BACKEND_SERVERS: text });
      expect(found).toHaveLength(1);
      expect(JSON.stringify(found).length).toBeLessThan(400);
      expect(performance.now() - begun).toBeLessThan(1000);
    }
  });

  test("deep nesting is a fault like any other", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    expect(
      faults({ BACKEND_SERVERS: `[${deep}]`, CONFIG: `{"CORS":${deep}}`, ROUTES: deep }).map((fault) => fault.field),
    ).toEqual(["BACKEND_SERVERS[0]", "ROUTES[0]", "CORS"]);
  });
});

describe("whatever comes, it is a reading and never a throw", () => {
  const value = fc.oneof(
    fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true }),
    fc.json(),
    fc.string(),
  );

  test("any values under the known names", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            BACKEND_SERVERS: value,
            CONFIG: value,
            RUNTIME: value,
            BASE_PATH: value,
            TRUSTED_PROXIES: value,
            ROUTES: value,
            PICKS: value,
          },
          { requiredKeys: [] },
        ),
        (source) => {
          const reading = readConfig(source);
          if (!reading.ok) expect(reading.faults.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("any source at all", () => {
    fc.assert(fc.property(fc.anything(), (source) => void readConfig(source as Record<string, unknown>)));
  });

  test("any value in any field: a fault speaks of it in a few hundred characters", () => {
    const keys = [
      "name",
      "url",
      "priority",
      "region",
      "weight",
      "maxInFlight",
      "dialect",
      "healthPath",
      "routes",
      "models",
      "headers",
    ];
    fc.assert(
      fc.property(fc.constantFrom(...keys), value, fc.string(), (key, given, unknown) => {
        const reading = readConfig({
          BACKEND_SERVERS: [{ url: "https://a.example.com", [key]: given, [unknown]: given }],
        });
        if (reading.ok) return;
        for (const fault of reading.faults) expect(fault.received.length).toBeLessThan(400);
      }),
      { numRuns: 1000 },
    );
  });

  test("a secret in a backend's headers or a webhook is in no fault, whatever else is wrong", () => {
    const secret = "hunter2hunter2";
    const place = fc.constantFrom<(wrong: unknown) => Record<string, unknown>>(
      (wrong) => ({
        BACKEND_SERVERS: [{ url: "https://a.example.com", headers: { "X-S": [secret, wrong] }, weight: wrong }],
      }),
      (wrong) => ({ BACKEND_SERVERS: [{ url: wrong, headers: `${secret}: x` }] }),
      (wrong) => ({ BACKEND_SERVERS: [{ url: wrong, headers: { [`X-Secret: ${secret}`]: "" } }] }),
      (wrong) => ({ BACKEND_SERVERS: [{ url: `https://u:${secret}@a.example.com` }, wrong] }),
      (wrong) => ({
        BACKEND_SERVERS: one,
        CONFIG: { ALERTS: { webhooks: [{ kind: wrong, url: `ftp://h/${secret}`, secret: [secret] }, secret] } },
      }),
      (wrong) => ({ BACKEND_SERVERS: one, CONFIG: { ALERTS: { webhook: secret, rules: wrong } } }),
      () => ({ BACKEND_SERVERS: `${JSON.stringify([{ url: "https://a", headers: { "X-S": secret } }])}]` }),
    );
    fc.assert(
      fc.property(place, fc.oneof(fc.integer(), fc.constant(null), fc.constant([])), (make, wrong) => {
        const found = faults(make(wrong));
        expect(found.length).toBeGreaterThan(0);
        expect(JSON.stringify(found)).not.toContain(secret);
      }),
    );
  });

  test("reading changes nothing of what was given", () => {
    const source = Object.freeze({
      BACKEND_SERVERS: Object.freeze([Object.freeze({ url: "https://a.example.com" })]),
      CONFIG: Object.freeze({ RATE_LIMIT: Object.freeze({ enabled: false }) }),
    });
    expect(readConfig(source)).toEqual(readConfig(source));
  });

  test("what one reading gave can't change the next", () => {
    const first = config();
    (first.CORS.origins as string[]).push("https://evil.example.com");
    for (const backend of first.BACKENDS) Object.assign(backend.headers, { X: "y" });
    expect(config().CORS.origins).toEqual(["*"]);
    expect(config().BACKENDS[0]?.headers).toEqual({});
  });
});

describe("warnings", () => {
  test("above 5 KB in UTF-8, which Cloudflare takes at most", () => {
    const url = "https://a.example.com";
    expect(warnings({ BACKEND_SERVERS: JSON.stringify([{ url, region: "华东" }]) + " ".repeat(5200) })).toMatchObject([
      expect.stringContaining("5120"),
    ]);
    expect(warnings({ BACKEND_SERVERS: one, CONFIG: `{"CORS":{}}${" ".repeat(5109)}` })).toEqual([]);
    expect(warnings({ BACKEND_SERVERS: one, CONFIG: `{"CORS":{}}${" ".repeat(5110)}` })).toHaveLength(1);
  });

  test.each<[string, Record<string, unknown>, string]>([
    ["all weights 0", { BACKEND_SERVERS: [{ url: "https://a.example.com", weight: 0 }] }, "every weight is 0"],
    ["http on Cloudflare", { BACKEND_SERVERS: [{ url: "http://a.example.com" }] }, "unencrypted"],
    ["a private name on Cloudflare", { BACKEND_SERVERS: [{ url: "https://nas.local" }] }, "private network"],
    ["generations sent twice", { BACKEND_SERVERS: one, CONFIG: { RETRY: { generations: "unsafe" } } }, "twice"],
    ["trusted proxies on Cloudflare", { BACKEND_SERVERS: one, TRUSTED_PROXIES: "10.0.0.1" }, "TRUSTED_PROXIES"],
    ["a route onto the servers' administration", { BACKEND_SERVERS: one, ROUTES: [{ path: "/proxy/*" }] }, "/proxy"],
    [
      "a route onto one of them",
      { BACKEND_SERVERS: one, ROUTES: [{ path: "/proxy/config" }] },
      "opened to every client",
    ],
    [
      "a route onto a clean-up",
      { BACKEND_SERVERS: one, ROUTES: [{ path: "/usage/cleanup" }] },
      "opened to every client",
    ],
  ])("%s", (_name, source, words) => {
    expect(warnings(source)).toMatchObject([expect.stringContaining(words)]);
  });

  describe("a policy that looks for the idlest backend", () => {
    const policies = (given: Record<string, string>, more: Record<string, unknown> = {}) =>
      warnings({ BACKEND_SERVERS: one, CONFIG: { BALANCE: { policies: given }, ...more } });

    test.each(["least-requests", "lowest-latency", "hot-cold"])(
      "%s for a class that picks from the table, and which policy to take instead",
      (policy) => {
        for (const name of ["query", "usage", "token"]) {
          expect(policies({ [name]: policy })).toMatchObject([
            expect.stringMatching(new RegExp(`^BALANCE\\.policies\\.${name}: ${policy} .*; weighted-round-robin`)),
          ]);
        }
        expect(policies({ query: policy, usage: policy })).toHaveLength(2);
      },
    );

    test("is none where the registry is asked, and others are none anywhere", () => {
      for (const name of ["generate", "stream", "task"]) expect(policies({ [name]: "least-requests" })).toEqual([]);
      expect(policies({ query: "hot-cold" }, { PICKS: "exact" })).toEqual([]);
      for (const policy of ["weighted-round-robin", "power-of-two", "rendezvous"]) {
        expect(policies({ query: policy, usage: policy, token: policy })).toEqual([]);
      }
    });
  });

  test("a plain configuration has none", () => {
    expect(warnings({ BACKEND_SERVERS: one, ROUTES: [{ path: "/test/*" }, { path: "/*" }] })).toEqual([]);
  });
});

describe("one more backend at run time", () => {
  const others = config().BACKENDS;
  test("is read by the same rules, with fields named as in the request", () => {
    expect(readBackend({ url: "https://b.example.com", weight: 2 }, "cloudflare", others)).toMatchObject({
      ok: true,
      backend: { name: "b.example.com", weight: 2 },
    });
    expect(readBackend({ url: "http://127.0.0.1", weight: -1 }, "cloudflare", others)).toMatchObject({
      ok: false,
      faults: [{ field: "weight" }],
    });
    expect(readBackend({ url: "http://127.0.0.1" }, "cloudflare", others)).toMatchObject({
      ok: false,
      faults: [{ field: "url" }],
    });
    expect(readBackend({ url: "https://A.example.com/" }, "cloudflare", others)).toMatchObject({
      ok: false,
      faults: [{ field: "url" }],
    });
    expect(readBackend({ url: "https://c.example.com", name: "a.example.com" }, "cloudflare", others)).toMatchObject({
      ok: false,
      faults: [{ field: "name" }],
    });
    expect(readBackend(null, "cloudflare", others)).toMatchObject({ ok: false, faults: [{ received: "null" }] });
  });

  test("on a host that is there already it is named with its port", () => {
    expect(readBackend({ url: "https://a.example.com:8443" }, "cloudflare", others)).toMatchObject({
      ok: true,
      backend: { name: "a.example.com:8443" },
    });
  });
});
