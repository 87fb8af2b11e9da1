import type { Case, Fields, Step } from "./case.ts";
import { askedAgain, httpDate, reused } from "./case.ts";

const minute = { "cache-control": "max-age=60" };

function varied(
  vary: string | readonly string[],
  first: Fields,
  second: Fields,
  same: boolean,
  says: string,
  clause = "RFC 9111 §4.1",
): Case {
  const headers = { ...minute, vary };
  return same ? reused(clause, says, headers, { first, second }) : askedAgain(clause, says, headers, { first, second });
}

const write = (method: string, more: Partial<Step> = {}): Step => ({
  at: 5,
  method,
  body: "x",
  source: "bypass",
  asked: 1,
  origin: { status: 200, body: "done" },
  ...more,
});
const read: Step = { origin: { headers: minute, body: "one" } };
const gone: Step = { at: 6, origin: { headers: minute, body: "two" }, is: "two", asked: 1 };
const still: Step = { at: 6, source: "hit", is: "one", asked: 0 };

/** Which answer for which request, and which answers end: RFC 9111 §4.1, §4.4, §2; RFC 9211; the routes with a lifetime of their own. */
export const selecting: readonly Case[] = [
  varied("x-a", { "x-a": "1" }, { "x-a": "1" }, true, "the same value selects"),
  varied("x-a", { "x-a": "1" }, { "x-a": "2" }, false, "another value doesn't"),
  varied("x-a", { "x-a": "1" }, {}, false, "a missing field is not any value"),
  varied("x-a", {}, { "x-a": "1" }, false, "… nor any value a missing field"),
  varied("x-a", {}, {}, true, "missing twice is the same"),
  varied("X-A", { "x-a": "1" }, { "X-a": "1" }, true, "field names have no case, neither here nor there"),
  varied(
    "x-a, x-b",
    { "x-a": "1", "x-b": "2" },
    { "x-b": "2", "x-a": "1" },
    true,
    "the order of a request's fields doesn't count",
  ),
  varied(
    "x-a, x-b",
    { "x-a": "1", "x-b": "2" },
    { "x-a": "1", "x-b": "3" },
    false,
    "every field that Vary names counts",
  ),
  varied(["x-a", "x-b"], { "x-a": "1", "x-b": "2" }, { "x-a": "1", "x-b": "3" }, false, "… in two Vary fields as well"),
  varied(
    " x-a ,,\tx-b",
    { "x-a": "1", "x-b": "2" },
    { "x-a": "1", "x-b": "2" },
    true,
    "white space and empty elements of Vary don't count",
  ),
  varied("x-a", { "x-a": "1,2" }, { "x-a": "1 , 2" }, true, "white space around a list's commas doesn't count"),
  varied("x-a", { "x-a": ["1", "2"] }, { "x-a": "1, 2" }, true, "two fields are one list"),
  varied("x-a", { "x-a": "1, 2" }, { "x-a": "2, 1" }, false, "another order may be another wish"),
  varied("x-a", { "x-a": "a" }, { "x-a": "A" }, false, "case counts where nothing says otherwise"),
  varied(
    "accept-language",
    { "accept-language": "zh-CN" },
    { "accept-language": "zh-cn" },
    true,
    "languages have no case",
  ),
  varied(
    "accept-language",
    { "accept-language": "zh;q=1, en;q=0.5" },
    { "accept-language": "zh; q=1,en; q=0.5" },
    true,
    "white space around a parameter doesn't count",
  ),
  varied("accept", { accept: "text/html" }, { accept: "application/json" }, false, "Accept selects"),
  varied(
    "accept-encoding",
    { "accept-encoding": "gzip" },
    { "accept-encoding": "br" },
    true,
    "Accept-Encoding selects nothing: the coding is settled with each client",
  ),
  varied(
    "origin",
    { origin: "https://a.example" },
    { origin: "https://b.example" },
    true,
    "Origin selects nothing: it isn't sent on, and CORS is answered by the edge",
  ),
  varied(
    "user-agent",
    { "user-agent": "a" },
    { "user-agent": "b" },
    true,
    "User-Agent selects nothing: it isn't sent on",
  ),
  varied("*", {}, {}, false, "Vary: * is never reused"),
  varied("x-a, *", { "x-a": "1" }, { "x-a": "1" }, false, "… nor is * in a list"),
  varied("x a", {}, {}, false, "a Vary that can't be read is a *"),
  varied(["accept", "*"], {}, {}, false, "… nor is * in a second field"),
  varied(
    "cookie",
    { cookie: "a=1" },
    { cookie: "a=1" },
    false,
    "Vary: Cookie doesn't make a session's answer storable",
  ),
  {
    clause: "RFC 9111 §4.1",
    says: "several variants are kept side by side",
    steps: [
      ...["zh", "en", "fr"].map((language): Step => ({
        headers: { "accept-language": language },
        origin: { headers: { ...minute, vary: "accept-language" }, body: language },
        is: language,
        asked: 1,
      })),
      ...["fr", "zh", "en"].map((language): Step => ({
        at: 5,
        headers: { "accept-language": language },
        source: "hit",
        is: language,
        asked: 0,
      })),
    ],
  },
  {
    clause: "RFC 9111 §4.1",
    says: "each variant is confirmed by its own tag",
    steps: [
      ...["zh", "en"].map((language): Step => ({
        headers: { "accept-language": language },
        origin: { headers: { ...minute, vary: "accept-language", etag: `"${language}"` }, body: language },
      })),
      ...["zh", "en"].map((language): Step => ({
        at: 61,
        headers: { "accept-language": language },
        origin: { status: 304, headers: { ...minute, vary: "accept-language", etag: `"${language}"` } },
        is: language,
        sent: { "if-none-match": `"${language}"` },
      })),
    ],
  },
  {
    clause: "RFC 9111 §4.1",
    says: "a Vary that changes is followed",
    steps: [
      { headers: { "x-a": "1", "x-b": "1" }, origin: { headers: { ...minute, vary: "x-a, x-b" }, body: "one" } },
      {
        at: 1,
        headers: { "x-a": "2", "x-b": "1" },
        origin: { headers: { ...minute, vary: "x-b, x-a, x-c" }, body: "two" },
        is: "two",
      },
      { at: 2, headers: { "x-a": "2", "x-b": "1" }, source: "hit", is: "two" },
      {
        at: 2,
        headers: { "x-a": "2", "x-b": "1", "x-c": "1" },
        origin: { headers: { ...minute, vary: "x-a, x-b, x-c" }, body: "three" },
        is: "three",
      },
    ],
  },
  {
    clause: "RFC 9111 §4.1",
    says: "another variant's miss says so",
    steps: [
      { headers: { "accept-language": "zh" }, origin: { headers: { ...minute, vary: "accept-language" }, body: "zh" } },
      {
        at: 1,
        headers: { "accept-language": "en" },
        origin: { headers: minute, body: "en" },
        fields: { "cache-status": /fwd=vary-miss/ },
      },
    ],
  },

  // The key
  {
    clause: "RFC 9111 §2",
    says: "another query is another answer",
    steps: [
      { path: "/x?a=1", origin: { headers: minute, body: "one" } },
      { at: 1, path: "/x?a=2", origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },
  {
    clause: "RFC 9111 §2",
    says: "a query in another order is another question",
    steps: [
      { path: "/x?a=1&b=2", origin: { headers: minute, body: "one" } },
      { at: 1, path: "/x?b=2&a=1", origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },
  {
    clause: "RFC 9111 §2",
    says: "a path in another case is another path",
    steps: [
      { path: "/x", origin: { headers: minute, body: "one" } },
      { at: 1, path: "/X", origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },
  {
    clause: "RFC 9111 §2",
    says: "an encoded slash is not a slash",
    steps: [
      { path: "/a/b", origin: { headers: minute, body: "one" } },
      { at: 1, path: "/a%2Fb", origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },
  {
    clause: "RFC 9111 §2",
    says: "another host is another resource",
    steps: [
      { host: "a.example", origin: { headers: minute, body: "one" } },
      { at: 1, host: "b.example", origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },
  {
    clause: "RFC 9110 §4.2.3",
    says: "a host in another case is the same",
    steps: [
      { host: "a.example", origin: { headers: minute, body: "one" } },
      { at: 1, host: "A.Example", source: "hit", is: "one" },
    ],
  },
  {
    clause: "RFC 9111 §2",
    says: "another generation knows nothing of the older one",
    steps: [
      { generation: "1", origin: { headers: minute, body: "one" } },
      { at: 1, generation: "2", origin: { headers: minute, body: "two" }, is: "two", asked: 1 },
    ],
  },
  askedAgain("RFC 9111 §2", "a field that nobody accounts for keeps an answer from being stored", minute, {
    first: { "x-poison": "1" },
    second: {},
  }),
  reused("RFC 9111 §2", "… unless Vary names it", { ...minute, vary: "x-tenant" }, { first: { "x-tenant": "1" } }),
  askedAgain("RFC 9111 §2", "a negotiating field selects even where the origin forgot its Vary", minute, {
    first: { "accept-language": "zh" },
    second: { "accept-language": "en" },
  }),
  ...[
    "x-forwarded-host",
    "x-forwarded-for",
    "x-forwarded-proto",
    "forwarded",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "referer",
    "origin",
    "user-agent",
    "x-stainless-os",
    "traceparent",
    "sec-fetch-mode",
  ].map((name): Case => ({
    clause: "RFC 9111 §7.1",
    says: `${name} reaches no origin whose answer may be stored`,
    steps: [
      { headers: { [name]: "poison" }, origin: { headers: minute, body: "one" }, sent: { [name]: null } },
      { at: 1, source: "hit", is: "one" },
    ],
  })),

  {
    clause: "RFC 9110 §7.6.1",
    says: "a field that the client's Connection names stays on its connection, and keeps nothing from being stored",
    steps: [
      {
        headers: { connection: "keep-alive, x-hop", "x-hop": "1" },
        origin: { headers: minute, body: "one" },
        sent: { "x-hop": null },
      },
      { at: 1, source: "hit", is: "one" },
    ],
  },

  // §4.4
  ...["POST", "PUT", "DELETE", "PATCH"].map((method): Case => ({
    clause: "RFC 9111 §4.4",
    says: `a successful ${method} ends what is stored of its target`,
    steps: [read, write(method), gone],
  })),
  ...[201, 204, 302, 303].map((status): Case => ({
    clause: "RFC 9111 §4.4",
    says: `… with a ${status} as well`,
    steps: [read, write("POST", { origin: { status } }), gone],
  })),
  ...[400, 404, 500, 503].map((status): Case => ({
    clause: "RFC 9111 §4.4",
    says: `an unsafe method that ends in ${status} ends nothing`,
    steps: [read, write("POST", { origin: { status } }), still],
  })),
  ...["refused", "failed"].map((verdict): Case => ({
    clause: "RFC 9111 §4.4",
    says: `an error inside a 200 ends nothing (${verdict})`,
    steps: [read, write("POST", { origin: { headers: { "x-verdict": verdict } } }), still],
  })),
  { clause: "RFC 9111 §4.4", says: "an unknown method counts as unsafe", steps: [read, write("PURGE"), gone] },
  { clause: "RFC 9110 §9.2.1", says: "OPTIONS is safe", steps: [read, write("OPTIONS"), still] },
  {
    clause: "RFC 9111 §4.4",
    says: "another target stays",
    steps: [{ ...read, path: "/a" }, write("POST", { path: "/b" }), { ...still, path: "/a" }],
  },
  {
    clause: "RFC 9111 §4.4",
    says: "every variant ends",
    steps: [
      ...["zh", "en"].map((language): Step => ({
        headers: { "accept-language": language },
        origin: { headers: minute, body: language },
      })),
      write("POST"),
      ...["zh", "en"].map((language): Step => ({
        at: 6,
        headers: { "accept-language": language },
        origin: { headers: minute, body: `new ${language}` },
        is: `new ${language}`,
        asked: 1,
      })),
    ],
  },
  ...["location", "content-location"].flatMap((name): Case[] => [
    {
      clause: "RFC 9111 §4.4",
      says: `what ${name} names ends too`,
      steps: [
        { ...read, path: "/a" },
        write("POST", { path: "/b", origin: { status: 201, headers: { [name]: "a" } } }),
        { ...gone, path: "/a" },
      ],
    },
    {
      clause: "RFC 9111 §4.4",
      says: `… but not at another origin (${name})`,
      steps: [
        { ...read, path: "/a" },
        write("POST", { path: "/b", origin: { status: 201, headers: { [name]: "http://other.example/a" } } }),
        { ...still, path: "/a" },
      ],
    },
    {
      clause: "RFC 9111 §4.4",
      says: `… nor what is no URL (${name})`,
      steps: [
        { ...read, path: "/a" },
        write("POST", { path: "/b", origin: { status: 201, headers: { [name]: "http://[" } } }),
        { ...still, path: "/a" },
      ],
    },
  ]),
  {
    clause: "RFC 9111 §4.4",
    says: "a route with a lifetime of its own ends too",
    steps: [{ ...read, rule: "60" }, write("POST", { rule: "60" }), { ...gone, rule: "60" }],
  },

  // RFC 9211
  {
    clause: "RFC 9211 §2.1",
    says: "a hit says hit and its time to live",
    steps: [read, { at: 18, source: "hit", fields: { "cache-status": "jimeng-edge; hit; ttl=42" } }],
  },
  {
    clause: "RFC 9211 §2.2",
    says: "a miss says why, what came and that it was stored",
    steps: [{ ...read, fields: { "cache-status": "jimeng-edge; fwd=uri-miss; fwd-status=200; stored; ttl=60" } }],
  },
  {
    clause: "RFC 9211 §2.2",
    says: "what was confirmed says stale and 304",
    steps: [
      { origin: { headers: { ...minute, etag: '"1"' }, body: "one" } },
      {
        at: 61,
        origin: { status: 304, headers: { etag: '"1"' } },
        fields: { "cache-status": "jimeng-edge; fwd=stale; fwd-status=304; stored; ttl=60" },
      },
    ],
  },
  {
    clause: "RFC 9211 §2.2",
    says: "what isn't stored doesn't say so",
    steps: [
      {
        origin: { headers: { "cache-control": "no-store" }, body: "one" },
        fields: { "cache-status": "jimeng-edge; fwd=uri-miss; fwd-status=200" },
      },
    ],
  },
  {
    clause: "RFC 9211 §2.2",
    says: "an unsafe method says method",
    steps: [write("POST", { fields: { "cache-status": "jimeng-edge; fwd=method" } })],
  },
  {
    clause: "RFC 9211 §2.2",
    says: "a route without a cache says bypass",
    steps: [{ ...read, rule: "none", fields: { "cache-status": "jimeng-edge; fwd=bypass" } }],
  },
  {
    clause: "RFC 9211 §2",
    says: "what is said stays one member, after an upstream cache's",
    steps: [
      { origin: { headers: { ...minute, "cache-status": "Up; hit" }, body: "one" } },
      { at: 1, fields: { "cache-status": "jimeng-edge; hit; ttl=59" } },
    ],
  },

  // Codings
  ...["origin", "60"].map((rule): Case => ({
    clause: "RFC 9110 §12.5.3",
    says: `an answer that may be stored is asked for without a coding (rule: ${rule})`,
    steps: [
      {
        rule,
        headers: { "accept-encoding": "zstd, br" },
        origin: { headers: minute, body: "one" },
        sent: { "accept-encoding": "identity" },
      },
    ],
  })),
  {
    clause: "RFC 9110 §8.8.1",
    says: "a coding that can't be undone is not stored",
    steps: [
      { origin: { headers: { ...minute, "content-encoding": "x-odd" }, body: "one" } },
      { at: 1, origin: { headers: minute, body: "two" }, is: "two" },
    ],
  },

  // Routes with a lifetime of their own
  ...(
    [
      ["whatever Cache-Control says", { "cache-control": "no-store" }, {}],
      ["even private", { "cache-control": "private" }, {}],
      ["without a word from the origin", {}, {}],
      ["for any Authorization", {}, { first: { authorization: "Bearer a" }, second: { authorization: "Bearer b" } }],
      ["for a request with Authorization after one without", {}, { second: { authorization: "Bearer b" } }],
      ["whatever Vary says", { vary: "*" }, {}],
      ["whatever the client's Cache-Control says", {}, { second: { "cache-control": "no-cache" } }],
      ["whatever fields the client adds", {}, { first: { "x-anything": "1", "accept-language": "zh" } }],
      ["until a second before its end", {}, { at: 59 }],
      ["also with an Age from upstream beyond it", { age: "500" }, {}],
    ] as const
  ).map(([says, headers, twist]) => reused("route: 60", `stored ${says}`, headers, { rule: "60", ...twist })),
  askedAgain("route: 60", "an error is not stored", {}, { rule: "60", status: 404 }),
  askedAgain("route: 60", "a redirect is not stored", { location: "/e" }, { rule: "60", status: 302 }),
  askedAgain(
    "route: 60",
    "a flat dialect's error inside a 200 is not stored",
    { "x-verdict": "refused" },
    { rule: "60" },
  ),
  askedAgain("route: 60", "a backend's fault inside a 200 is not stored", { "x-verdict": "failed" }, { rule: "60" }),
  askedAgain("route: 60", "a part is not stored", { "content-range": "bytes 0-2/9" }, { rule: "60", status: 206 }),
  askedAgain("route: none", "nothing is stored", { "cache-control": "public, max-age=60" }, { rule: "none" }),
  askedAgain("route: 0", "nothing is stored", { "cache-control": "public, max-age=60" }, { rule: "0" }),
  {
    clause: "route: 60",
    says: "a cookie is not stored with it",
    steps: [
      { rule: "60", origin: { headers: { "set-cookie": "session=1" }, body: "one" }, fields: { "set-cookie": null } },
      { at: 1, rule: "60", source: "hit", is: "one", fields: { "set-cookie": null } },
    ],
  },
  {
    clause: "route: 60",
    says: "only Authorization of the client's fields reaches the origin",
    steps: [
      {
        rule: "60",
        headers: {
          authorization: "Bearer a",
          cookie: "a=1",
          "x-anything": "1",
          "accept-language": "zh",
          "if-none-match": '"1"',
          range: "bytes=0-1",
          "user-agent": "x",
        },
        origin: { body: "one" },
        sent: {
          authorization: "Bearer a",
          cookie: null,
          "x-anything": null,
          "accept-language": null,
          "if-none-match": null,
          range: null,
          "user-agent": null,
        },
      },
    ],
  },
  ...(["GET", "HEAD"] as const).map((method): Case => ({
    clause: "route: 60",
    says: `nothing older than its time goes out, though the origin has just failed: ${method}`,
    steps: [
      { rule: "60", origin: { body: "one" } },
      { at: 86_459, method, rule: "60", origin: { status: 503 }, source: "stale", status: 200 },
      { at: 86_461, method, rule: "60", origin: { status: 503 }, status: 503 },
    ],
  })),
  {
    clause: "route: 60",
    says: "stale for a minute while a new one is fetched",
    steps: [
      { rule: "60", origin: { body: "one" } },
      {
        at: 119,
        rule: "60",
        origin: { body: "two" },
        source: "stale",
        is: "one",
        fields: { "cache-status": /detail=stale-while-revalidate/ },
      },
      { at: 120, rule: "60", origin: { body: "two" }, source: "hit", is: "two", eventually: true },
    ],
  },
  {
    clause: "route: 60",
    says: "a HEAD in that minute gets the stale head, and nothing without a body takes the body's place",
    steps: [
      { rule: "60", origin: { body: "one" } },
      { at: 90, rule: "60", method: "HEAD", source: "stale", asked: 0 },
      { at: 90, rule: "60", origin: { body: "two" }, source: "stale", is: "one" },
      { at: 91, rule: "60", origin: { body: "two" }, source: "hit", is: "two", eventually: true },
    ],
  },
  {
    clause: "route: 60",
    says: "a client's mistake that a dialect calls a 500 is passed on, though something stale is at hand",
    steps: [
      { rule: "60", origin: { body: "one" } },
      {
        at: 200,
        rule: "60",
        origin: { status: 500, headers: { "x-verdict": "refused" }, body: "mistake" },
        status: 500,
        is: "mistake",
      },
    ],
  },
  {
    clause: "route: 60",
    says: "after that the client waits for a new one",
    steps: [
      { rule: "60", origin: { body: "one" } },
      { at: 120, rule: "60", origin: { body: "two" }, is: "two", source: "miss" },
    ],
  },
  {
    clause: "route: 60",
    says: "a day stale when the backends are dead, and marked so",
    steps: [
      { rule: "60", origin: { body: "one" } },
      {
        at: 86_459,
        rule: "60",
        origin: { cut: "before" },
        source: "stale",
        status: 200,
        is: "one",
        fields: { "cache-status": /stale-if-error/, age: "86459" },
      },
      { at: 86_461, rule: "60", origin: { cut: "before" }, status: 502 },
    ],
  },
  {
    clause: "route: 60",
    says: "a second after a failure nobody is asked again",
    steps: [
      { rule: "60", origin: { body: "one" } },
      { at: 200, rule: "60", origin: { status: 503 }, source: "stale", is: "one", asked: 1 },
      {
        at: 201,
        rule: "60",
        source: "stale",
        is: "one",
        asked: 0,
        fields: { "cache-status": /hit; ttl=-141; detail=stale-if-error/ },
      },
      { at: 203, rule: "60", origin: { body: "two" }, source: "stale", is: "one" },
      { at: 203, rule: "60", origin: { body: "two" }, source: "hit", is: "two", eventually: true },
    ],
  },
  {
    clause: "route: 5",
    says: "a failure is forgotten when the origin has answered again",
    steps: [
      { rule: "5", origin: { body: "one" } },
      { at: 100, rule: "5", origin: { status: 503 }, source: "stale", fields: { "cache-status": /stale-if-error/ } },
      { at: 103, rule: "5", origin: { body: "two" }, source: "stale", is: "one" },
      { at: 103, rule: "5", origin: { body: "two" }, source: "hit", is: "two", eventually: true },
      {
        at: 110,
        rule: "5",
        origin: { body: "three" },
        source: "stale",
        is: "two",
        fields: { "cache-status": /stale-while-revalidate/ },
      },
    ],
  },
  {
    clause: "route: 60",
    says: "HEAD is answered from a stored GET",
    steps: [
      { rule: "60", origin: { body: "one" } },
      { at: 1, rule: "60", method: "HEAD", source: "hit", is: "", asked: 0, fields: { "content-length": "3" } },
    ],
  },
  {
    clause: "route: 60",
    says: "a part is cut from what is stored",
    steps: [
      { rule: "60", headers: { range: "bytes=0-0" }, origin: { body: "one" }, status: 206, is: "o" },
      { at: 1, rule: "60", source: "hit", is: "one" },
    ],
  },
  {
    clause: "route: 60",
    says: "a condition is met from what is stored",
    steps: [
      { rule: "60", origin: { headers: { etag: '"1"' }, body: "one" } },
      { at: 1, rule: "60", headers: { "if-none-match": '"1"' }, source: "hit", status: 304 },
    ],
  },
  {
    clause: "route: 60",
    says: "what is stale is confirmed rather than fetched",
    steps: [
      { rule: "60", origin: { headers: { etag: '"1"' }, body: "one" } },
      {
        at: 130,
        rule: "60",
        origin: { status: 304, headers: { etag: '"1"' } },
        is: "one",
        sent: { "if-none-match": '"1"' },
      },
      { at: 189, rule: "60", source: "hit", is: "one" },
    ],
  },
  {
    clause: "route: 60",
    says: "only-if-cached with nothing stored is a 504",
    steps: [{ rule: "60", headers: { "cache-control": "only-if-cached" }, status: 504, asked: 0 }],
  },
  {
    clause: "route: 60",
    says: "another generation knows nothing of the older one",
    steps: [
      { rule: "60", generation: "1", origin: { body: "one" } },
      { at: 1, rule: "60", generation: "2", origin: { body: "two" }, is: "two" },
    ],
  },
  {
    clause: "route: 60",
    says: "Age begins at what upstream said",
    steps: [
      { rule: "60", origin: { headers: { age: "500" }, body: "one" } },
      { at: 5, rule: "60", source: "hit", fields: { age: "505" } },
    ],
  },
  {
    clause: "route: 60",
    says: "a body cut short is not stored",
    steps: [
      { rule: "60", origin: { body: "half", cut: "length" }, status: 502 },
      { at: 1, rule: "60", origin: { body: "whole" }, is: "whole" },
    ],
  },
  {
    clause: "RFC 9111 §5.2.2.2",
    says: "with must-revalidate a failing origin's error reaches the client",
    steps: [
      {
        origin: {
          headers: { "cache-control": "max-age=5, must-revalidate", "last-modified": httpDate(-9) },
          body: "one",
        },
      },
      { at: 6, origin: { status: 500, body: "broken" }, status: 500, is: "broken" },
    ],
  },
];
