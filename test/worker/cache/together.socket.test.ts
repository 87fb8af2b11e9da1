/** Many at once, clients that vanish and origins that die: over real sockets, in one isolate. */
import { describe, expect, test } from "vitest";
import { CacheSystem } from "./cache-system.ts";
import type { Received } from "./raw-client.ts";

const system = new CacheSystem(600);

/** Settles when the origin has been asked so often. */
async function askedFor(prefix: string, times: number): Promise<void> {
  while (system.origin.asked(prefix).length < times) await system.origin.nextRequest();
}

function sources(answers: readonly Received[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { headers } of answers) {
    const source = String(headers["x-test-source"]);
    counts[source] = (counts[source] ?? 0) + 1;
  }
  return counts;
}

const fixed = { "x-test-rule": "60", "x-test-store": "memory" };

for (const store of ["memory", "api"]) {
  test(`500 concurrent cold GETs of a route with a lifetime are one request at the origin (store: ${store})`, async () => {
    const prefix = `/crowd-${store}`;
    const opened = Promise.withResolvers<void>();
    system.origin.expect(prefix, Date.now(), { body: "one", after: opened.promise });
    const headers = { "x-test-rule": "60", "x-test-store": store };
    const waiting = Array.from({ length: 500 }, () => system.client.ask(`${prefix}/x`, { headers }));
    await askedFor(prefix, 1);
    // Those who are late find it stored: a hit instead of a wait.
    opened.resolve();
    const answers = await Promise.all(waiting);
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set(["200 one"]));
    expect(system.origin.asked(prefix).length).toBe(1);
    expect(sources(answers).miss).toBe(1);
  });
}

test("concurrent GETs of a route that obeys its origin are one request, if the answer may be shared", async () => {
  const opened = Promise.withResolvers<void>();
  system.origin.expect("/declared", Date.now(), {
    headers: { "cache-control": "max-age=60" },
    body: "one",
    after: opened.promise,
  });
  const headers = { "x-test-store": "memory" };
  const waiting = Array.from({ length: 50 }, () => system.client.ask("/declared/x", { headers }));
  await askedFor("/declared", 1);
  opened.resolve();
  expect(new Set((await Promise.all(waiting)).map(({ body }) => body))).toEqual(new Set(["one"]));
  expect(system.origin.asked("/declared").length).toBe(1);
});

test("concurrent GETs of what may not be shared each get an answer of their own", async () => {
  const opened = Promise.withResolvers<void>();
  system.origin.expect("/private", Date.now(), {
    headers: { "cache-control": "private" },
    body: "own",
    after: opened.promise,
  });
  const waiting = Array.from({ length: 20 }, () =>
    system.client.ask("/private/x", { headers: { "x-test-store": "memory" } }),
  );
  await askedFor("/private", 1);
  opened.resolve();
  expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(Array.from({ length: 20 }, () => "own"));
  expect(system.origin.asked("/private").length).toBe(20);
});

test.each([
  ["different Authorization", [{ authorization: "Bearer a" }, { authorization: "Bearer b" }]],
  ["Authorization and without", [{}, { authorization: "Bearer b" }]],
  ["different cookies", [{ cookie: "a=1" }, { cookie: "a=2" }]],
  ["different wishes", [{ "accept-language": "zh" }, { "accept-language": "en" }]],
  ["fields of their own", [{}, { "x-own": "1" }]],
  ["a wish for something newer", [{}, { "cache-control": "no-cache" }]],
  ["a wish for nothing older", [{}, { "cache-control": "max-age=0" }]],
  ["a wish that nothing be stored", [{ "cache-control": "no-store" }, {}]],
] as const)("clients with %s never wait for each other's answer", async (what, clients) => {
  const prefix = `/whose-${what.replaceAll(" ", "-")}`;
  const opened = Promise.withResolvers<void>();
  system.origin.expect(prefix, Date.now(), {
    headers: { "cache-control": "max-age=60" },
    body: "x",
    after: opened.promise,
  });
  const waiting = clients.map((fields) =>
    system.client.ask(`${prefix}/x`, { headers: { "x-test-store": "patient", ...fields } }),
  );
  await askedFor(prefix, clients.length);
  opened.resolve();
  expect(sources(await Promise.all(waiting))).toEqual({ miss: clients.length });
});

test.each([
  ["is for one client alone", {}, { "cache-control": "private" }],
  ["may depend on a field that nothing accounts for", { "x-own": "1" }, { "cache-control": "max-age=60" }],
] as const)("after an answer that %s those who come next do not wait for each other", async (what, fields, answer) => {
  const prefix = `/apart-${what.replaceAll(" ", "-")}`;
  const headers = { "x-test-store": "patient", ...fields };
  system.origin.expect(prefix, Date.now(), { headers: answer, body: "own" });
  await system.client.ask(`${prefix}/x`, { headers });
  const opened = Promise.withResolvers<void>();
  system.origin.expect(prefix, Date.now(), { headers: answer, body: "own", after: opened.promise });
  const waiting = [1, 2, 3].map(() => system.client.ask(`${prefix}/x`, { headers }));
  await askedFor(prefix, 4);
  opened.resolve();
  expect(sources(await Promise.all(waiting))).toEqual({ miss: 3 });
});

test.each([
  ["must be confirmed each time", { "cache-control": "no-cache", etag: '"1"' }, {}],
  ["is not fresh for as long as they ask", { "cache-control": "max-age=60" }, { "cache-control": "min-fresh=100" }],
  ["is older than they ask", { "cache-control": "max-age=600", age: "100" }, { "cache-control": "max-age=50" }],
] as const)("an answer that %s is not given to those who have waited for it", async (what, answer, wish) => {
  const prefix = `/unfit-${what.replaceAll(" ", "-")}`;
  const opened = Promise.withResolvers<void>();
  system.origin.expect(prefix, Date.now(), { headers: answer, body: "x", after: opened.promise });
  const headers = { "x-test-store": "memory" };
  const first = system.client.ask(`${prefix}/x`, { headers });
  await askedFor(prefix, 1);
  const second = system.client.ask(`${prefix}/x`, { headers: { ...headers, ...wish } });
  await system.client.ask("/counters");
  opened.resolve();
  expect([(await first).body, (await second).body]).toEqual(["x", "x"]);
  expect(system.origin.asked(prefix).length).toBe(2);
});

test("what stands in for an origin that fails is not given to one who has waited for nothing stale", async () => {
  const startMs = Date.now();
  const kept = { "cache-control": "max-age=60, stale-if-error=600" };
  const at = (seconds: number) => ({ "x-test-store": "memory", "x-test-now": String(startMs + seconds * 1000) });
  system.origin.expect("/stands-in", startMs, { headers: kept, body: "old" });
  await system.client.ask("/stands-in/x", { headers: at(0) });
  const opened = Promise.withResolvers<void>();
  system.origin.expect("/stands-in", startMs, { status: 500, body: "broken", after: opened.promise });
  const first = system.client.ask("/stands-in/x", { headers: at(100) });
  await askedFor("/stands-in", 2);
  const second = system.client.ask("/stands-in/x", { headers: { ...at(100), "cache-control": "max-age=1000" } });
  await system.client.ask("/counters");
  opened.resolve();
  expect([(await first).body, (await second).body]).toEqual(["old", "broken"]);
});

test("a failing origin is asked once by a crowd at a route with a lifetime", async () => {
  const opened = Promise.withResolvers<void>();
  const headers = { "set-cookie": "session=1" };
  system.origin.expect("/broken", Date.now(), { status: 503, headers, body: "broken", after: opened.promise });
  const waiting = Array.from({ length: 50 }, () => system.client.ask("/broken/x", { headers: fixed }));
  await askedFor("/broken", 1);
  opened.resolve();
  const answers = await Promise.all(waiting);
  expect(new Set(answers.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set(["503 broken"]));
  expect(answers.map((answer) => answer.headers["set-cookie"])).toEqual(answers.map(() => undefined));
  // Who came after the end of the first asks again: failures are not stored.
  expect(system.origin.asked("/broken").length).toBeLessThanOrEqual(3);
});

test("the reset of the client that made the request takes nothing from those who wait for it", async () => {
  const opened = Promise.withResolvers<void>();
  system.origin.expect("/reset", Date.now(), { body: "one", after: opened.promise });
  const maker = system.client.begin("/reset/x", { headers: fixed });
  const ended = new Promise((resolve) => maker.on("error", resolve));
  await askedFor("/reset", 1);
  const waiting = Array.from({ length: 10 }, () => system.client.ask("/reset/x", { headers: fixed }));
  maker.socket?.resetAndDestroy();
  await ended;
  opened.resolve();
  expect((await Promise.all(waiting)).map(({ status, body }) => `${status} ${body}`)).toEqual(
    waiting.map(() => "200 one"),
  );
  expect((await system.client.ask("/reset/x", { headers: fixed })).headers["x-test-source"]).toBe("hit");
  expect(system.origin.asked("/reset").length).toBe(1);
});

test.each(["60", "origin"])(
  "who has waited too long asks for itself, and whoever comes then waits for that one: rule %s",
  async (rule) => {
    const prefix = `/hung-${rule}`;
    const [never, opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const headers = { "x-test-rule": rule, "x-test-store": "impatient" };
    const kept = { "cache-control": "max-age=60" };
    const hung = { cut: "before", after: never.promise } as const;
    system.origin.expect(prefix, Date.now(), hung, { headers: kept, body: "one", after: opened.promise });
    const late = system.client.ask(`${prefix}/x`, { headers });
    await askedFor(prefix, 1);
    const second = system.client.ask(`${prefix}/x`, { headers });
    await askedFor(prefix, 2);
    // The late one's end takes nothing from its successor.
    never.resolve();
    expect((await late).status).toBe(502);
    const third = system.client.ask(`${prefix}/x`, { headers });
    // The third is there before the second is answered: its connection is, and what it was sent on is older than the next request's.
    await system.client.ask("/counters");
    opened.resolve();
    expect(await second).toMatchObject({ status: 200, body: "one" });
    expect((await third).body).toBe("one");
    expect(["hit", "collapsed"]).toContain((await third).headers["x-test-source"]);
    expect((await system.client.ask(`${prefix}/x`, { headers })).headers["x-test-source"]).toBe("hit");
    expect(system.origin.asked(prefix).length).toBe(2);
  },
);

test("with the origin dead, what is stale is served within 50 ms and says so", async () => {
  const startMs = Date.now();
  const at = (seconds: number) => ({ ...fixed, "x-test-now": String(startMs + seconds * 1000) });
  system.origin.expect("/dead", startMs, { body: "one" });
  await system.client.ask("/dead/x", { headers: at(0) });
  system.origin.expect("/dead", startMs, { cut: "before" });
  const took: number[] = [];
  // Within stale-while-revalidate, at the first failure after it, and while the failure is remembered.
  for (const seconds of [70, 130, 200, 201, 3600, 3601, 86_000]) {
    const begin = performance.now();
    const answer = await system.client.ask("/dead/x", { headers: at(seconds) });
    took.push(performance.now() - begin);
    expect(answer).toMatchObject({ status: 200, body: "one" });
    expect(answer.headers["cache-status"]).toMatch(/stale/);
  }
  expect(took.sort((a, b) => a - b)[3]).toBeLessThan(50);
});

describe("what another isolate has stored", () => {
  const startMs = Date.now();

  /** Body, source, age, and how often the origin was asked; what is stored behind the answer has been stored after it. */
  async function seen(prefix: string, store: string, seconds: number): Promise<readonly unknown[]> {
    const now = { "x-test-now": String(startMs + seconds * 1000), "x-test-store": store };
    const before = system.origin.asked(prefix).length;
    const { body, headers } = await system.client.ask(`${prefix}/x`, { headers: { ...now, "x-test-rule": "60" } });
    const asked = system.origin.asked(prefix).length - before;
    await system.client.ask(`${prefix}/other`, { headers: now });
    return [body, headers["x-test-source"], headers["age"], asked];
  }

  test("is used while it is fresh and newer than what is at hand, and asked for again once it is not", async () => {
    const answers = (body: string, seconds: number): void =>
      system.origin.expect("/shared", startMs + seconds * 1000, { body });
    answers("one", 0);
    expect(await seen("/shared", "api", 0)).toEqual(["one", "miss", "0", 1]);
    expect(await seen("/shared", "neighbour", 30)).toEqual(["one", "hit", "30", 0]);
    answers("two", 125);
    expect(await seen("/shared", "neighbour", 125)).toEqual(["two", "miss", "0", 1]);
    expect(await seen("/shared", "api", 130)).toEqual(["two", "hit", "5", 0]);
  });

  test("is asked for again when it is stale, and stands in for an origin that fails", async () => {
    system.origin.expect("/shared-stale", startMs, { body: "one" });
    expect(await seen("/shared-stale", "api", 0)).toEqual(["one", "miss", "0", 1]);
    system.origin.expect("/shared-stale", startMs, { status: 503, body: "broken" });
    expect(await seen("/shared-stale", "neighbour", 200)).toEqual(["one", "stale", "200", 1]);
    // From here on it is at hand, and the origin known for failing.
    expect(await seen("/shared-stale", "neighbour", 201)).toEqual(["one", "stale", "201", 0]);
  });
});

test("an answer over 10 MiB passes whole and is not stored, with a stated length or without", async () => {
  for (const chunked of [false, true]) {
    const prefix = `/large-${chunked}`;
    const body = "x".repeat(10 * 1024 * 1024 + 1);
    system.origin.expect(prefix, Date.now(), { body, chunked });
    for (const times of [1, 2]) {
      const answer = await system.client.ask(`${prefix}/x`, { headers: fixed });
      expect(answer.body.length).toBe(body.length);
      expect(system.origin.asked(prefix).length).toBe(times);
    }
  }
});

test("an answer of exactly 10 MiB is stored", async () => {
  system.origin.expect("/limit", Date.now(), { body: "x".repeat(10 * 1024 * 1024) });
  await system.client.ask("/limit/x", { headers: fixed });
  expect((await system.client.ask("/limit/x", { headers: fixed })).headers["x-test-source"]).toBe("hit");
});

test("a change during a fetch keeps what that fetch brings from being stored", async () => {
  const opened = Promise.withResolvers<void>();
  const headers = { "cache-control": "max-age=60" };
  system.origin.expect("/race", Date.now(), { headers, body: "before", after: opened.promise });
  const reading = system.client.ask("/race/x", { headers: { "x-test-store": "memory" } });
  await askedFor("/race", 1);
  system.origin.expect("/race", Date.now(), { status: 204 });
  await system.client.ask("/race/x", { method: "PUT", headers: { "x-test-store": "memory" }, body: "x" });
  opened.resolve();
  expect((await reading).body).toBe("before");
  expect((await reading).headers["cache-status"]).toBe("jimeng-edge; fwd=uri-miss; fwd-status=200");
  system.origin.expect("/race", Date.now(), { headers, body: "after" });
  expect((await system.client.ask("/race/x", { headers: { "x-test-store": "memory" } })).body).toBe("after");
});

test.each(["origin", "60"])("who comes after a change waits for nobody who asked before it: rule %s", async (rule) => {
  const prefix = `/newcomer-${rule}`;
  const headers = { "x-test-store": "memory", "x-test-rule": rule };
  const opened = Promise.withResolvers<void>();
  const kept = { "cache-control": "max-age=60" };
  const before = { headers: kept, body: "before", after: opened.promise };
  system.origin.expect(prefix, Date.now(), before, { status: 204 }, { headers: kept, body: "after" });
  const reading = system.client.ask(`${prefix}/x`, { headers });
  await askedFor(prefix, 1);
  await system.client.ask(`${prefix}/x`, { method: "PUT", headers, body: "x" });
  const newcomer = system.client.ask(`${prefix}/x`, { headers });
  // By the time of this answer the newcomer is there.
  await system.client.ask("/counters");
  opened.resolve();
  expect((await reading).body).toBe("before");
  expect((await newcomer).body).toBe("after");
  expect((await system.client.ask(`${prefix}/x`, { headers })).body).toBe("after");
});

/** A read that is under way while a PUT succeeds: `before` comes first, `read` is held until after the PUT. */
async function changedDuring(
  prefix: string,
  read: { readonly method?: string; readonly headers: Readonly<Record<string, string>> },
  before: () => Promise<void> = async () => undefined,
): Promise<Received> {
  const opened = Promise.withResolvers<void>();
  const kept = { "cache-control": "max-age=60", etag: '"before"' };
  const store = { "x-test-store": read.headers["x-test-store"] ?? "memory" };
  await before();
  const asked = system.origin.asked(prefix).length;
  system.origin.expect(prefix, Date.now(), { headers: kept, body: "before", after: opened.promise }, { status: 204 });
  const reading = system.client.ask(`${prefix}/x`, read);
  await askedFor(prefix, asked + 1);
  await system.client.ask(`${prefix}/x`, { method: "PUT", headers: { ...store, ...ruleOf(read.headers) }, body: "x" });
  opened.resolve();
  expect((await reading).status).toBe(200);
  system.origin.expect(prefix, Date.now(), { headers: kept, body: "after" });
  // Asked twice: what is stored behind an answer has then been stored.
  await system.client.ask(`${prefix}/other`, { headers: store });
  return system.client.ask(`${prefix}/x`, { headers: { ...store, ...ruleOf(read.headers) } });
}

function ruleOf(headers: Readonly<Record<string, string>>): Record<string, string> {
  const rule = headers["x-test-rule"];
  return rule === undefined ? {} : { "x-test-rule": rule };
}

test("a change keeps from being stored what a request brings that went to the origin alone", async () => {
  const headers = { "x-test-store": "memory", "cache-control": "no-cache" };
  expect((await changedDuring("/race-alone", { headers })).body).toBe("after");
});

test.each(["origin", "60"])("a change during a fetch that others have given up waiting for: rule %s", async (rule) => {
  const prefix = `/race-late-${rule}`;
  const headers = { "x-test-store": "impatient", "x-test-rule": rule };
  const opened = Promise.withResolvers<void>();
  const kept = { "cache-control": "max-age=60" };
  system.origin.expect(
    prefix,
    Date.now(),
    { headers: kept, body: "before", after: opened.promise },
    { headers: kept, body: "1" },
  );
  const late = system.client.ask(`${prefix}/x`, { headers });
  await askedFor(prefix, 1);
  expect((await system.client.ask(`${prefix}/x`, { headers })).body).toBe("1");
  system.origin.expect(prefix, Date.now(), { status: 204 });
  await system.client.ask(`${prefix}/x`, { method: "PUT", headers, body: "x" });
  opened.resolve();
  expect((await late).body).toBe("before");
  system.origin.expect(prefix, Date.now(), { headers: kept, body: "after" });
  expect((await system.client.ask(`${prefix}/x`, { headers })).body).toBe("after");
});

test("a HEAD that was under way during a change does not bring back what the change has ended", async () => {
  const startMs = Date.now() - 70_000;
  const before = async (): Promise<void> => {
    const headers = { "cache-control": "max-age=60", etag: '"before"' };
    system.origin.expect("/race-head", startMs, { headers, body: "before" });
    await system.client.ask("/race-head/x", { headers: { "x-test-store": "memory", "x-test-now": String(startMs) } });
  };
  const read = { method: "HEAD", headers: { "x-test-store": "memory" } };
  expect((await changedDuring("/race-head", read, before)).body).toBe("after");
});

/** The head and the first piece of the body. */
function beginningOf(target: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = system.client.begin(target, { headers });
    request.on("error", reject);
    request.on("response", (incoming) =>
      incoming
        .on("error", () => undefined)
        .once("data", (chunk: Buffer) => {
          resolve(`${incoming.statusCode} ${chunk.toString()}`);
          request.destroy();
        }),
    );
  });
}

test.each(["60", "origin"])(
  "a body that falls silent goes to its client as it comes, and nobody else is kept waiting: rule %s",
  async (rule) => {
    const prefix = `/silent-${rule}`;
    const headers = { "x-test-rule": rule, "x-test-store": "impatient" };
    const kept = { "cache-control": "max-age=60" };
    const never = Promise.withResolvers<void>();
    system.origin.expect(
      prefix,
      Date.now(),
      { headers: kept, body: "half", endsAfter: never.promise },
      { headers: kept, body: "whole" },
    );
    expect(await beginningOf(`${prefix}/x`, headers)).toBe("200 half");
    expect((await system.client.ask(`${prefix}/x`, { headers })).body).toBe("whole");
    never.resolve();
  },
);

test("a slow body that is passed on as it comes arrives whole", async () => {
  const headers = { "x-test-rule": "60", "x-test-store": "impatient" };
  const opened = Promise.withResolvers<void>();
  system.origin.expect("/slow", Date.now(), { body: "slow but whole", endsAfter: opened.promise });
  const answered = Promise.withResolvers<void>();
  const arrived = new Promise<string>((resolve) => {
    system.client.begin("/slow/x", { headers }).on("response", (incoming) => {
      let text = "";
      incoming.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        answered.resolve();
      });
      incoming.on("end", () => resolve(text));
    });
  });
  await answered.promise;
  opened.resolve();
  expect(await arrived).toBe("slow but whole");
});

test("what was counted adds up: each answer is one of hit, miss, stale, collapsed, bypass", async () => {
  const before = JSON.parse((await system.client.ask("/counters")).body) as Record<string, number>;
  system.origin.expect("/counted", Date.now(), { body: "one" });
  const ask = (rule: string) =>
    system.client.ask("/counted/x", { headers: { "x-test-store": "memory", "x-test-rule": rule } });
  for (const rule of ["60", "60", "60", "none"]) await ask(rule);
  const after = JSON.parse((await system.client.ask("/counters")).body) as Record<string, number>;
  const grown = Object.fromEntries(Object.keys(after).map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]));
  expect(grown).toEqual({ hit: 2, miss: 1, stale: 0, collapsed: 0, bypass: 1 });
});
