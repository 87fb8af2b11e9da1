import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ExtraRoute } from "../../../src/shared/config/config.ts";
import { closedPaths, compileRoutes, jimengRoutes, routeWarnings } from "../../../src/shared/jimeng/routes.ts";
import type { RouteMatch } from "../../../src/shared/jimeng/routes.ts";

const cache = {
  enabled: true,
  ttl: { models: 300, stats: 60, health: 30 },
  bypass: ["/v1/images", "/v1/videos", "/v1/chat/completions", "/token"],
  staleWhileRevalidate: 60,
  staleIfError: 86_400,
};

function table(routes: readonly ExtraRoute[] = [], changed: Partial<typeof cache> = {}, base = "/api") {
  return compileRoutes({ ROUTES: routes, CACHE: { ...cache, ...changed }, BASE_PATH: base });
}

function extra(path: string, more: Partial<ExtraRoute> = {}): ExtraRoute {
  return { path, methods: ["GET"], class: "query", cache: "origin", ...more };
}

function routeOf(match: RouteMatch) {
  if (match.kind !== "route") throw new Error(`expected a route, got ${match.kind}`);
  return match;
}

describe("the allow-list", () => {
  const expected: readonly (readonly [
    method: string,
    path: string,
    id: string,
    routeClass: string,
    answering: string,
    paid: boolean,
    cache: string | number,
  ])[] = [
    ["POST", "/v1/images/generations", "POST /v1/images/generations", "generate", "forward", true, "none"],
    ["POST", "/v1/images/compositions", "POST /v1/images/compositions", "generate", "forward", true, "none"],
    ["POST", "/v1/videos/generations", "POST /v1/videos/generations", "generate", "forward", true, "none"],
    ["POST", "/v1/chat/completions", "POST /v1/chat/completions", "generate", "forward", true, "none"],
    ["GET", "/v1/models", "GET /v1/models", "query", "models", false, 300],
    ["GET", "/ping", "GET /ping", "query", "forward", false, "none"],
    ["HEAD", "/ping", "GET /ping", "query", "forward", false, "none"],
    ["POST", "/token/check", "POST /token/check", "token", "forward", false, "none"],
    ["GET", "/usage/stats", "GET /usage/stats", "usage", "usage_stats", false, 60],
    ["GET", "/usage/range", "GET /usage/range", "usage", "usage_range", false, 60],
    ["GET", "/usage/session/abc", "GET /usage/session/:id", "usage", "usage_session", false, 60],
    ["GET", "/usage/session/abc/history", "GET /usage/session/:id/history", "usage", "usage_history", false, 60],
    ["POST", "/v1/async/images/generations", "POST /v1/async/images/generations", "task", "task_submit", true, "none"],
    [
      "POST",
      "/v1/async/images/compositions",
      "POST /v1/async/images/compositions",
      "task",
      "task_submit",
      true,
      "none",
    ],
    ["POST", "/v1/async/videos/generations", "POST /v1/async/videos/generations", "task", "task_submit", true, "none"],
    ["GET", "/v1/async/tasks/t1/status", "GET /v1/async/tasks/:id/status", "task", "task_home", false, "none"],
    ["GET", "/v1/async/tasks/t1/result", "GET /v1/async/tasks/:id/result", "task", "task_home", false, "none"],
    ["DELETE", "/v1/async/tasks/t1", "DELETE /v1/async/tasks/:id", "task", "task_home", false, "none"],
    ["DELETE", "/v1/async/tasks/t1/cancel", "DELETE /v1/async/tasks/:id/cancel", "task", "task_home", false, "none"],
  ];

  test.each(expected)("%s %s is %s", (method, path, id, routeClass, answering, paid, rule) => {
    for (const prefix of ["", "/api"]) {
      const match = routeOf(table().match(method, prefix + path));
      expect(match.path).toBe(path);
      expect(match.route).toMatchObject({ id, class: routeClass, answering, paid, cache: rule, readsBody: paid });
    }
  });

  test("the table above names every route that is built in", () => {
    expect(new Set(expected.map((row) => row[2]))).toEqual(new Set(jimengRoutes.map((route) => route.id)));
  });

  test("the variable part is decoded and the path is not", () => {
    const match = routeOf(table().match("GET", "/usage/session/a%20%E5%8D%B3%2Bb/history"));
    expect(match.route.parameter).toBe("a 即+b");
    expect(match.path).toBe("/usage/session/a%20%E5%8D%B3%2Bb/history");
  });

  test.each(["a%2Fb", "a%5Cb", "%2e%2e", "%2e", "..", "%E5%8D", "%zz", "a%00", "a/b", "", "%25252525252e"])(
    "%j is no variable part",
    (part) => {
      for (const path of [
        `/usage/session/${part}`,
        `/usage/session/${part}/history`,
        `/v1/async/tasks/${part}/status`,
      ]) {
        expect(table().match("GET", path)).toEqual({ kind: "not_found" });
      }
    },
  );

  test("a wrong method is told which ones there are", () => {
    expect(table().match("POST", "/v1/models")).toEqual({
      kind: "method_not_allowed",
      allow: ["GET", "HEAD", "OPTIONS"],
    });
    expect(table().match("GET", "/api/v1/images/generations")).toEqual({
      kind: "method_not_allowed",
      allow: ["POST", "OPTIONS"],
    });
    expect(table().match("PUT", "/v1/async/tasks/t1/status")).toMatchObject({
      kind: "method_not_allowed",
      allow: ["GET", "HEAD", "OPTIONS"],
    });
  });

  test.each([
    "/",
    "",
    "/v1",
    "/v1/",
    "/health",
    "/api/health",
    "/api",
    "/api/ip-preference",
    "/v1/models/",
    "/V1/models",
    "/v1/model",
    "/pin",
    "/ping/x",
    "*",
    "v1/models",
  ])("%j is not on it", (path) => {
    expect(table().match("GET", path)).toEqual({ kind: "not_found" });
  });

  test("the base path is taken off once, and only where it is configured", () => {
    expect(table().match("GET", "/api/api/ping").kind).toBe("not_found");
    expect(table([], {}, "").match("GET", "/api/ping").kind).toBe("not_found");
    expect(table([], {}, "/gate/way").match("GET", "/gate/way/usage/session/x")).toMatchObject({
      path: "/usage/session/x",
    });
    expect(table([], {}, "/ap").match("GET", "/api/ping").kind).toBe("not_found");
  });
});

describe("closed routes", () => {
  const closed = [
    "/proxy/config",
    "/proxy/test",
    "/proxy/enable",
    "/proxy",
    "/dashboard",
    "/dashboard/index.html",
    "/token/points",
    "/token/receive",
    "/v1/async/tasks",
    "/v1/async/tasks/stats",
    "/usage/export",
    "/usage/cleanup",
  ];
  const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
  const wildcards = [
    "/*",
    "/v1/*",
    "/v1/async/*",
    "/v1/async/tasks/*",
    "/usage/*",
    "/token/*",
    "/proxy/*",
    "/dashboard/*",
  ].map((path) => extra(path, { methods }));
  const disguises: readonly ((path: string) => string)[] = [
    (path) => path,
    (path) => `${path}/`,
    (path) => path.toUpperCase(),
    (path) => path.replace("o", "%6f").replace("s", "%73"),
    (path) => path.replace("s", "%2573"),
    (path) => `/x/..${path}`,
    (path) => `/x/%2e%2E${path}`,
    (path) => `/x/%252e%252e${path}`,
    (path) => `/x%2f..${path}`,
    (path) => `/x/..;y${path}`,
    (path) => `/x\\..${path}`,
    (path) => `/x%5c..${path}`,
    (path) => `/${path}`,
    (path) => `/%2f${path}`,
    (path) => `/.${path}`,
    (path) => path.replace("/", "/%2f"),
    (path) => `${path}%00`,
    (path) => `${path}?x`,
    (path) => `${path}#x`,
    (path) => `/usage/session/..%2f..${path}`,
    (path) => `/v1/async/tasks/%2e%2e%2f..%2f..%2f..${path}/status`,
  ];

  test.each(closed)("%s is reached by no wildcard and in no disguise", (path) => {
    const open = table(wildcards);
    for (const disguise of disguises) {
      for (const method of methods) {
        for (const prefix of ["", "/api"]) {
          expect(open.match(method, prefix + disguise(path)), `${method} ${prefix}${disguise(path)}`).not.toMatchObject(
            { kind: "route" },
          );
        }
      }
    }
  });

  test.each(closed)("%s is opened by an entry that names it exactly, and by nothing else", (path) => {
    expect(table().match("GET", path).kind).toBe("not_found");
    const match = routeOf(table([extra(path, { cache: "none" })]).match("GET", `/api${path}`));
    expect(match).toMatchObject({ path, route: { id: `GET ${path}`, class: "query", paid: false, cache: "none" } });
  });

  test("a task called stats does not exist", () => {
    expect(table().match("DELETE", "/v1/async/tasks/stats")).toEqual({ kind: "not_found" });
    expect(table().match("DELETE", "/v1/async/tasks/%53tats")).toEqual({ kind: "not_found" });
  });

  test("no wildcard reaches what is closed, whatever the path", () => {
    const open = table([extra("/*", { methods })]);
    const piece = fc.constantFrom(
      "/",
      "//",
      "\\",
      "%2f",
      "%5C",
      "%2e",
      ".",
      "..",
      "%252e",
      "proxy",
      "Proxy",
      "%70roxy",
      "config",
      "dashboard",
      "token",
      "points",
      "v1",
      "async",
      "tasks",
      "stats",
      "x",
      ";",
      "%00",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), fc.constantFrom(...methods), (pieces, method) => {
        const path = `/${pieces.join("")}`;
        const match = open.match(method, path);
        if (match.kind !== "route") return;
        const reached = normalised(match.path);
        const isClosed = closedPaths.some((entry) =>
          entry.endsWith("/*") ? `${reached}/`.startsWith(entry.slice(0, -1)) : reached === entry,
        );
        expect(isClosed, path).toBe(false);
      }),
      { numRuns: 20_000 },
    );
  });
});

/** What a forgiving server makes of a path: decodes until nothing changes, turns backslashes, resolves dots, folds case. */
function normalised(path: string): string {
  let text = path;
  for (let before = ""; before !== text;) {
    before = text;
    text = text.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  const stack: string[] = [];
  for (const segment of text.replaceAll("\\", "/").split("/")) {
    const name = segment.split(";")[0] ?? "";
    if (name === "..") stack.pop();
    else if (name !== "." && name !== "") stack.push(name);
  }
  return `/${stack.join("/")}`.toLowerCase();
}

describe("extra routes", () => {
  test("an exact path and a wildcard are found, the exact one first, the longer wildcard before the shorter", () => {
    const found = table([extra("/test/*"), extra("/test/a"), extra("/test/deep/*")]);
    expect(routeOf(found.match("GET", "/test/a")).route.id).toBe("GET /test/a");
    expect(routeOf(found.match("GET", "/api/test/b/c")).route.id).toBe("GET /test/*");
    expect(routeOf(found.match("HEAD", "/test/deep/x")).route.id).toBe("GET /test/deep/*");
    expect(found.match("GET", "/test").kind).toBe("not_found");
    expect(found.match("GET", "/tester").kind).toBe("not_found");
    expect(found.match("POST", "/test/a")).toEqual({ kind: "method_not_allowed", allow: ["GET", "HEAD", "OPTIONS"] });
  });

  test("the path under a wildcard stays as it came, odd encodings and all", () => {
    for (const path of [
      "/test/a%2Fb",
      "/test/%E5%8D%B3",
      "/test/100%",
      "/test/a;b=c",
      "/test/即梦",
      "/test/a+b%20c/",
      "/test/.well-known",
      "/test/...",
      "/test/a..b",
    ]) {
      expect(routeOf(table([extra("/test/*")]).match("GET", `/api${path}`)).path).toBe(path);
    }
  });

  test.each([
    "/test//a",
    "/test/../v1/models",
    "/test/%2e%2e/v1/models",
    "/test/.%2E/x",
    "/test/%252e%252e/x",
    "/test/./a",
    "/test/a/..",
    "/test\\a",
    "/test/%5C..%5Cx",
    "/test/a%2f%2e%2e%2fb",
    "/test/%2f/x",
    "/test/..;/x",
  ])("%s does not get out", (path) => {
    expect(table([extra("/test/*"), extra("/*")]).match("GET", path)).toEqual({ kind: "not_found" });
  });

  test("a wildcard of a cheap class never gets a generation in another spelling, which a server would carry out", () => {
    const open = table([extra("/*", { methods: ["GET", "POST"] })]);
    for (const path of [
      "/v1/images/generations/",
      "/V1/Images/Generations",
      "/v1/images/%67enerations",
      "/v1/chat/completions/",
      "/v1/async/videos/generations/",
    ]) {
      expect(open.match("POST", path)).toEqual({ kind: "not_found" });
    }
    expect(routeOf(open.match("POST", "/v1/images/generations")).route).toMatchObject({
      class: "generate",
      paid: true,
    });
  });

  test("an entry can't redefine a route that is built in, and the operator is told so", () => {
    const routes = [extra("/v1/images/generations", { methods: ["POST", "GET"] })];
    const match = routeOf(table(routes).match("POST", "/v1/images/generations"));
    expect(match.route).toMatchObject({ class: "generate", paid: true });
    expect(routeOf(table(routes).match("GET", "/v1/images/generations")).route.class).toBe("query");
    expect(routeWarnings(routes)).toEqual([expect.stringContaining("POST /v1/images/generations")]);
    expect(routeWarnings([extra("/proxy/*")])).toEqual([expect.stringContaining("/proxy/*")]);
    expect(routeWarnings([extra("/proxy/config")])).toEqual([expect.stringContaining("opened to every client")]);
    expect(routeWarnings([extra("/test/*"), extra("/proxied/x")])).toEqual([]);
  });

  test("what the class says about money is kept", () => {
    const paid = (routeClass: ExtraRoute["class"], method: string) =>
      routeOf(table([extra("/x", { class: routeClass, methods: [method] })]).match(method, "/x")).route;
    expect(paid("generate", "POST")).toMatchObject({ paid: true, readsBody: true, cache: "none" });
    expect(paid("stream", "GET")).toMatchObject({ paid: true, cache: "none" });
    expect(paid("task", "POST")).toMatchObject({ paid: true, answering: "task_submit" });
    expect(paid("task", "GET")).toMatchObject({ paid: false, answering: "forward" });
    expect(paid("query", "POST")).toMatchObject({ paid: false, cache: "none" });
  });
});

describe("the cache rule of a route", () => {
  const rule = (path: string, routes: readonly ExtraRoute[] = [], changed: Partial<typeof cache> = {}) =>
    routeOf(table(routes, changed).match("GET", path)).route.cache;

  test("follows the configured lifetimes", () => {
    expect(rule("/v1/models", [], { ttl: { models: 7, stats: 1, health: 1 } })).toBe(7);
    expect(rule("/usage/stats", [], { ttl: { models: 7, stats: 0, health: 1 } })).toBe("none");
    expect(rule("/v1/models", [], { enabled: false })).toBe("none");
    expect(rule("/x", [extra("/x", { cache: 5 })], { enabled: false })).toBe("none");
  });

  test("bypass prefixes win, also with the base path in front and also beneath a pattern", () => {
    expect(rule("/v1/models", [], { bypass: ["/v1/models"] })).toBe("none");
    expect(rule("/v1/models", [], { bypass: ["/api/v1"] })).toBe("none");
    expect(rule("/usage/session/x", [], { bypass: ["/usage/session"] })).toBe("none");
    const routes = [extra("/test/*", { cache: 60 })];
    expect(rule("/test/open", routes, { bypass: ["/test/secret"] })).toBe(60);
    expect(rule("/test/secret/1", routes, { bypass: ["/test/secret"] })).toBe("none");
    expect(rule("/test/Se%63ret/1", routes, { bypass: ["/test/secret"] })).toBe("none");
    expect(rule("/usage/session/secret", [], { bypass: ["/usage/session/secret"] })).toBe("none");
  });

  test("extra routes keep their own rule", () => {
    expect(rule("/x", [extra("/x", { cache: "origin" })])).toBe("origin");
    expect(rule("/x", [extra("/x", { cache: 60 })])).toBe(60);
    expect(rule("/x", [extra("/x", { cache: 0 })])).toBe("none");
  });
});

test("matching throws on no input and never changes its answer", () => {
  const open = table([extra("/*", { methods: ["GET", "POST"] }), extra("/test/*")]);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string(), fc.webPath(), (path, method, tail) => {
      for (const tried of [path, `/${path}`, `/usage/session/${path}`, `/test/${path}`, `/api${tail}`]) {
        if (JSON.stringify(open.match(method, tried)) !== JSON.stringify(open.match(method, tried))) return false;
        open.match("GET", tried);
      }
    }),
    { numRuns: 1000 },
  );
});
