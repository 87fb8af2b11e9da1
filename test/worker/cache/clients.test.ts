/** Who may see whose answer: random clients, routes and answers through the whole step, in the runtime. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createExecutionContext } from "cloudflare:test";
import type { CacheRequest, EdgeCache, Origin } from "../../../src/worker/cache.ts";
import { openCache, throughCache, zeroCounters } from "../../../src/worker/cache.ts";
import { roleOf } from "../../../src/shared/cache/request-fields.ts";
import { MemoryStore } from "../../../src/worker/cache/store.ts";

const settings = {
  enabled: true,
  ttl: { models: 300, stats: 60, health: 30 },
  bypass: ["/v1/images"],
  staleWhileRevalidate: 60,
  staleIfError: 86_400,
};

interface Ask {
  readonly cache: EdgeCache;
  readonly nowMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly request?: Partial<CacheRequest>;
  readonly origin: Origin;
}

async function ask({ cache, nowMs, headers, request, origin }: Ask): Promise<Response> {
  const execution = createExecutionContext();
  const work: Promise<unknown>[] = [];
  const waitUntil = (promise: Promise<unknown>) => {
    work.push(promise);
    execution.waitUntil(promise);
  };
  const whole: CacheRequest = {
    method: "GET",
    headers: new Headers(headers),
    hasBody: false,
    host: "edge.example",
    target: "/x",
    rule: "origin",
    generation: "0",
    invalidates: true,
    resourceAt: () => null,
    ...request,
  };
  const context = { cache, settings, counters: zeroCounters(), waitUntil, nowMs: () => nowMs };
  const { response, status } = await throughCache(whole, context, origin);
  await Promise.all(work);
  const out = new Response(response.body, response);
  out.headers.set("cache-status", status);
  return out;
}

const control = fc.subarray(
  [
    "max-age=60",
    "private",
    "no-cache",
    "no-store",
    "stale-while-revalidate=600",
    "stale-if-error=600",
    "immutable",
    "proxy-revalidate",
  ],
  { minLength: 0 },
);
const declaring = fc.subarray(["public", "s-maxage=60", "must-revalidate"]);
const vary = fc.constantFrom(null, "authorization", "Authorization, x-a", "x-a", "*", "accept-language", "cookie");
const other = fc.constantFrom<Record<string, string>>(
  {},
  { etag: '"1"' },
  { "last-modified": "Mon, 23 Nov 2026 00:00:00 GMT" },
  { "x-a": "1" },
);
const who = fc.constantFrom("alice", "bob", null);

const scene = fc.record({
  control,
  declaring,
  vary,
  other,
  /** How clients show who they are. */
  by: fc.constantFrom("authorization", "cookie"),
  rule: fc.constantFrom("origin" as const, "none" as const),
  target: fc.constantFrom("/x", "/x?a=1", "/v1/images/generations", "/usage/session/1"),
  visits: fc.array(
    fc.record({
      who,
      afterS: fc.constantFrom(0, 1, 59, 61, 300),
      cacheControl: fc.constantFrom(
        null,
        "no-cache",
        "max-stale",
        "max-stale=600",
        "max-age=0",
        "only-if-cached",
        "stale-if-error=600",
      ),
      fails: fc.boolean(),
      xA: fc.constantFrom(null, "1", "2"),
    }),
    { minLength: 2, maxLength: 8 },
  ),
});

test("two clients with different Authorization never see each other's answer where nothing declares it shared", async () => {
  await fc.assert(
    fc.asyncProperty(scene, async ({ control, declaring, vary, other, by, rule, target, visits }) => {
      const cache = openCache({ store: new MemoryStore() });
      // Who says that the credentials select has not declared an answer for all of them.
      const shared = declaring.length > 0 && !(vary ?? "").toLowerCase().includes(by);
      const cacheControl = [...control, ...declaring].join(", ");
      let nowMs = Date.UTC(2026, 10, 23, 12);
      for (const visit of visits) {
        nowMs += visit.afterS * 1000;
        const own = `of ${visit.who ?? "nobody"}`;
        const headers: Record<string, string> = {};
        if (visit.who !== null) headers[by] = `Bearer ${visit.who}`;
        if (visit.cacheControl !== null) headers["cache-control"] = visit.cacheControl;
        if (visit.xA !== null) headers["x-a"] = visit.xA;
        const origin: Origin = async () => {
          if (visit.fails) return { response: new Response("broken", { status: 503 }), verdict: "failed" };
          const answer = new Headers({ date: new Date(nowMs).toUTCString(), ...other });
          if (cacheControl !== "") answer.set("cache-control", cacheControl);
          if (vary !== null) answer.set("vary", vary);
          return { response: new Response(own, { headers: answer }), verdict: "ok" };
        };
        const response = await ask({ cache, nowMs, headers, request: { rule, target }, origin });
        const body = await response.text();
        if (response.status !== 200) continue;
        if (!shared) expect(body).toBe(own);
      }
    }),
    { numRuns: 400 },
  );
});

test("the same holds when they come at the same moment", async () => {
  await fc.assert(
    fc.asyncProperty(control, vary, fc.array(who, { minLength: 2, maxLength: 8 }), async (control, vary, visitors) => {
      const cache = openCache({ store: new MemoryStore() });
      const opened = Promise.withResolvers<void>();
      const answers = visitors.map((visitor) => {
        const headers: Record<string, string> = visitor === null ? {} : { authorization: `Bearer ${visitor}` };
        const origin: Origin = async (sent) => {
          await opened.promise;
          const fields = new Headers({ "cache-control": control.join(", ") });
          if (vary !== null) fields.set("vary", vary);
          return { response: new Response(`of ${sent.get("authorization")}`, { headers: fields }), verdict: "ok" };
        };
        return ask({ cache, nowMs: 0, headers, origin }).then((response) => response.text());
      });
      opened.resolve();
      const expected = visitors.map((visitor) => `of ${visitor === null ? null : `Bearer ${visitor}`}`);
      expect(await Promise.all(answers)).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

/** An origin that repeats every field it was sent: the worst case for a cache, since any of them changes the answer. */
const echo: Origin = async (sent) => {
  const fields = [...sent].filter(([name]) => name !== "authorization" && name !== "cookie");
  const headers = { "cache-control": "public, max-age=60", "content-type": "text/plain" };
  return { response: new Response(JSON.stringify(fields), { headers }), verdict: "ok" };
};

const fieldName = fc.oneof(
  fc.stringMatching(/^x-[a-z]{1,6}$/),
  fc.constantFrom(
    "x-forwarded-host",
    "x-forwarded-proto",
    "forwarded",
    "accept",
    "accept-language",
    "prefer",
    "user-agent",
    "referer",
  ),
  fc.constantFrom(
    "origin",
    "x-original-url",
    "x-http-method-override",
    "x-forwarded-scheme",
    "accept-encoding",
    "content-type",
    "te",
  ),
  fc.constantFrom(
    "sec-fetch-site",
    "cf-connecting-ip",
    "true-client-ip",
    "x-host",
    "range",
    "if-none-match",
    "accept-charset",
  ),
);
/** Whom a part is enough gets it from the origin, whatever is stored: not the victim that is looked for. */
const withoutRange = (asked: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(asked).filter(([name]) => name !== "range"));
const fields = fc.dictionary(fieldName, fc.stringMatching(/^[a-z0-9/;=.-]{1,8}$/), { maxKeys: 4 });

test("no field of one client's request changes what another gets, even of an origin that repeats them all", async () => {
  await fc.assert(
    fc.asyncProperty(fields, fields.map(withoutRange), async (attacker, victim) => {
      const cleanly = async (headers: Readonly<Record<string, string>>) => {
        const response = await ask({ cache: openCache({ store: new MemoryStore() }), nowMs: 1, headers, origin: echo });
        return [response.status, await response.text()];
      };
      const poisoned = openCache({ store: new MemoryStore() });
      await ask({ cache: poisoned, nowMs: 0, headers: attacker, origin: echo });
      const after = await ask({ cache: poisoned, nowMs: 1, headers: victim, origin: echo });
      // Without Vary, what was stored for a client without the victim's special fields is good for the victim too.
      const plain = Object.fromEntries(Object.entries(victim).filter(([name]) => roleOf(name) !== "other"));
      expect([await cleanly(victim), await cleanly(plain)]).toContainEqual([after.status, await after.text()]);
    }),
    { numRuns: 500 },
  );
});

test("the same holds of a route with a lifetime of its own", async () => {
  await fc.assert(
    fc.asyncProperty(fields, fields, async (attacker, victim) => {
      const request = { rule: 60 };
      const poisoned = openCache({ store: new MemoryStore() });
      await ask({ cache: poisoned, nowMs: 0, headers: attacker, request, origin: echo });
      const after = await ask({ cache: poisoned, nowMs: 1, headers: victim, request, origin: echo });
      const clean = await ask({
        cache: openCache({ store: new MemoryStore() }),
        nowMs: 1,
        headers: victim,
        request,
        origin: echo,
      });
      expect([after.status, await after.text()]).toEqual([clean.status, await clean.text()]);
    }),
    { numRuns: 300 },
  );
});

test("no two targets share an answer", async () => {
  const target = fc.stringMatching(/^\/[a-z/%.?&=]{0,6}$/);
  const rule = fc.constantFrom("origin" as const, 60);
  await fc.assert(
    fc.asyncProperty(target, target, rule, async (one, two, rule) => {
      const cache = openCache({ store: new MemoryStore() });
      const origin =
        (target: string): Origin =>
        async () => ({
          response: new Response(target, { headers: { "cache-control": "max-age=60" } }),
          verdict: "ok",
        });
      await ask({ cache, nowMs: 0, headers: {}, request: { target: one, rule }, origin: origin(one) });
      const got = await ask({ cache, nowMs: 1, headers: {}, request: { target: two, rule }, origin: origin(two) });
      expect(await got.text()).toBe(two);
    }),
    { numRuns: 300 },
  );
});

test("paths that the configuration exempts, and a cache that is off, store nothing", async () => {
  const cache = openCache({ store: new MemoryStore() });
  let asked = 0;
  const origin: Origin = async () => ({ response: new Response(String(++asked)), verdict: "ok" });
  for (const expected of ["1", "2"]) {
    const response = await ask({ cache, nowMs: 0, headers: {}, request: { target: "/v1/images/x", rule: 60 }, origin });
    expect(await response.text()).toBe(expected);
    expect(response.headers.get("cache-status")).toBe("jimeng-edge; fwd=bypass");
  }
});

test("what the origin throws reaches the caller, and the next request asks again", async () => {
  const cache = openCache({ store: new MemoryStore() });
  for (const rule of ["origin", 60] as const) {
    const broken = ask({
      cache,
      nowMs: 0,
      headers: {},
      request: { rule },
      origin: () => Promise.reject(new Error("no route")),
    });
    await expect(broken).rejects.toThrow("no route");
    const origin: Origin = async () => ({ response: new Response("one"), verdict: "ok" });
    expect(await (await ask({ cache, nowMs: 1, headers: {}, request: { rule }, origin })).text()).toBe("one");
  }
});

test("the origin is told when others may get the answer, and when something stale is at hand", async () => {
  const cache = openCache({ store: new MemoryStore() });
  const told: unknown[] = [];
  const origin: Origin = async (_headers, terms) => {
    told.push(terms);
    return { response: new Response("one"), verdict: "ok" };
  };
  const request = { rule: 60 };
  await ask({ cache, nowMs: 0, headers: {}, request, origin });
  await ask({ cache, nowMs: 500_000, headers: {}, request, origin });
  await ask({ cache, nowMs: 500_000, headers: {}, request: { rule: "none" }, origin });
  expect(told).toEqual([
    { shared: true, standIn: false },
    { shared: true, standIn: true },
    { shared: false, standIn: false },
  ]);
});

/** What is written arrives when it is let. */
class SlowStore extends MemoryStore {
  override readonly shared: boolean = true;
  readonly writing = Promise.withResolvers<void>();
  readonly let = Promise.withResolvers<void>();

  override async write(...written: Parameters<MemoryStore["write"]>): Promise<void> {
    this.writing.resolve();
    await this.let.promise;
    await super.write(...written);
  }
}

test.each(["origin", 60] as const)("a write to the store that a change overtakes is undone: rule %s", async (rule) => {
  const store = new SlowStore();
  const cache = openCache({ store });
  const says =
    (body: string): Origin =>
    async () => ({ response: new Response(body, { headers: { "cache-control": "max-age=60" } }), verdict: "ok" });
  const reading = ask({ cache, nowMs: 0, headers: {}, request: { rule }, origin: says("before") });
  await store.writing.promise;
  await ask({ cache, nowMs: 0, headers: {}, request: { rule, method: "PUT", hasBody: true }, origin: says("done") });
  store.let.resolve();
  expect(await (await reading).text()).toBe("before");
  // Another isolate of the same data centre, too.
  for (const found of [cache, openCache({ store })]) {
    const next = await ask({ cache: found, nowMs: 1, headers: {}, request: { rule }, origin: says("after") });
    expect(await next.text()).toBe("after");
  }
});

test("what a client may choose at will is weighed: long targets and long fields don't take more memory than there is", async () => {
  const cache = openCache({ store: new MemoryStore(), memoryBytes: 1024 * 1024 });
  const long = "x".repeat(16_000);
  for (let asked = 0; asked < 300; asked += 1) {
    const target = `/x?${asked}${long}`;
    const request = { target, rule: 60 } as const;
    await ask({
      cache,
      nowMs: 0,
      headers: {},
      request,
      origin: async () => ({ response: new Response("1"), verdict: "ok" }),
    });
    const headers = { authorization: `Bearer ${asked}${long}` };
    await ask({ cache, nowMs: 0, headers, origin: async () => ({ response: new Response("1"), verdict: "ok" }) });
  }
  // A character may take two bytes.
  expect(cache.memory.size * 2 * long.length).toBeLessThanOrEqual(1024 * 1024);
  expect(cache.memory.size).toBeGreaterThan(10);
  expect(cache.apart.size * 2 * long.length).toBeLessThanOrEqual(256 * 1024);
  expect(cache.apart.size).toBeGreaterThan(0);
});
