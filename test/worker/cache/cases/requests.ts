import type { Case, Step } from "./case.ts";
import { askedAgain, httpDate, reused } from "./case.ts";

const hour = { "cache-control": "max-age=3600" };
const minute = { "cache-control": "max-age=60" };

function onlyIfCached(says: string, ...before: readonly Step[]): Case {
  const step: Step = { at: 10, headers: { "cache-control": "only-if-cached" }, status: 504, asked: 0 };
  return { clause: "RFC 9111 §5.2.1.7", says, steps: [...before, step] };
}

/** What requests ask for: RFC 9111 §5.2.1, §5.4, §4.2.4; RFC 5861. */
export const requests: readonly Case[] = [
  askedAgain("RFC 9111 §5.2.1.1", "a request's max-age bounds the age", hour, {
    second: { "cache-control": "max-age=9" },
  }),
  reused("RFC 9111 §5.2.1.1", "… at that age it will still do", hour, { second: { "cache-control": "max-age=10" } }),
  askedAgain("RFC 9111 §5.2.1.1", "a request's max-age=0 always asks", hour, {
    at: 1,
    second: { "cache-control": "max-age=0" },
  }),
  askedAgain("RFC 9111 §5.2.1.1", "a request's unreadable max-age always asks", hour, {
    at: 1,
    second: { "cache-control": "max-age=soon" },
  }),
  askedAgain(
    "RFC 9111 §5.2.1.1",
    "max-age counts the age from upstream too",
    { ...hour, age: "100" },
    { at: 1, second: { "cache-control": "max-age=50" } },
  ),
  askedAgain("RFC 9111 §5.2.1.1", "a request's max-age makes nothing stale fresh", minute, {
    at: 61,
    second: { "cache-control": "max-age=600" },
  }),
  askedAgain("RFC 9111 §5.2.1.3", "min-fresh asks for what stays fresh so long", minute, {
    second: { "cache-control": "min-fresh=51" },
  }),
  reused("RFC 9111 §5.2.1.3", "… and takes what does", minute, { second: { "cache-control": "min-fresh=50" } }),
  askedAgain("RFC 9111 §5.2.1.3", "an unreadable min-fresh always asks", minute, {
    at: 1,
    second: { "cache-control": "min-fresh=x" },
  }),
  askedAgain("RFC 9111 §5.2.1.4", "a request's no-cache asks", hour, { second: { "cache-control": "no-cache" } }),
  askedAgain("RFC 9111 §5.2.1.4", "… in any case", hour, { second: { "cache-control": "No-Cache" } }),
  askedAgain("RFC 9111 §5.2.1.4", "… among others", hour, { second: { "cache-control": "max-stale, no-cache" } }),
  {
    clause: "RFC 9111 §5.2.1.4",
    says: "what a no-cache request brings is stored for the next",
    steps: [
      { origin: { headers: hour, body: "one" } },
      {
        at: 5,
        headers: { "cache-control": "no-cache" },
        origin: { headers: hour, body: "two" },
        is: "two",
        fields: { "cache-status": /fwd=request/ },
      },
      {
        at: 6,
        source: "hit",
        is: "two",
        fields: { age: "1" },
        origin: { headers: hour, body: "other" },
        eventually: true,
      },
    ],
  },
  {
    clause: "RFC 9111 §5.2.1.5",
    says: "what a no-store request brings is not stored",
    steps: [
      { headers: { "cache-control": "no-store" }, origin: { headers: hour, body: "one" } },
      { at: 1, origin: { headers: hour, body: "two" }, is: "two", asked: 1 },
    ],
  },
  {
    clause: "RFC 9111 §5.2.1.5",
    says: "a no-store request leaves what is stored",
    steps: [
      { origin: { headers: hour, body: "one" } },
      { at: 1, headers: { "cache-control": "no-store, no-cache" }, origin: { headers: hour, body: "two" }, is: "two" },
      { at: 2, source: "hit", is: "one" },
    ],
  },
  ...["GET", "HEAD"].map((method): Case => ({
    clause: "RFC 9111 §5.2.1.5",
    says: `… also where a ${method} with no-store has it confirmed`,
    steps: [
      { origin: { headers: { ...hour, etag: '"1"' }, body: "one" } },
      {
        at: 1,
        method,
        headers: { "cache-control": "no-store, no-cache" },
        origin: { status: method === "HEAD" ? 200 : 304, headers: { ...hour, etag: '"1"' } },
        status: 200,
      },
      // What is done behind an answer is done by then.
      { at: 1, path: "/y", origin: { headers: hour, body: "y" } },
      { at: 2, source: "hit", is: "one", asked: 0 },
    ],
  })),
  reused("RFC 9111 §5.2.1.7", "only-if-cached takes what is stored", hour, {
    second: { "cache-control": "only-if-cached" },
  }),
  onlyIfCached("only-if-cached with nothing stored is a 504 and asks nobody"),
  onlyIfCached("only-if-cached with something stale is a 504", {
    origin: { headers: { "cache-control": "max-age=5", etag: '"1"' }, body: "one" },
  }),
  onlyIfCached("only-if-cached with something that must be confirmed is a 504", {
    origin: { headers: { "cache-control": "no-cache", etag: '"1"' }, body: "one" },
  }),
  onlyIfCached("only-if-cached with another variant stored is a 504", {
    headers: { "accept-language": "zh" },
    origin: { headers: { ...hour, vary: "accept-language" }, body: "one" },
  }),
  {
    clause: "RFC 9111 §5.2.1.7",
    says: "only-if-cached with max-stale takes something stale",
    steps: [
      { origin: { headers: { "cache-control": "max-age=5", etag: '"1"' }, body: "one" } },
      { at: 10, headers: { "cache-control": "only-if-cached, max-stale" }, source: "stale", is: "one", asked: 0 },
    ],
  },

  // max-stale, §4.2.4
  {
    clause: "RFC 9111 §5.2.1.2",
    says: "max-stale takes something stale by so much",
    steps: [
      { origin: { headers: { ...minute, etag: '"1"' }, body: "one" } },
      {
        at: 70,
        headers: { "cache-control": "max-stale=10" },
        source: "stale",
        is: "one",
        asked: 0,
        fields: { "cache-status": /hit; ttl=-10; detail=max-stale/ },
      },
    ],
  },
  askedAgain("RFC 9111 §5.2.1.2", "… and nothing more stale than that", minute, {
    at: 71,
    second: { "cache-control": "max-stale=10" },
  }),
  askedAgain(
    "RFC 9111 §5.2.1.2",
    "an unreadable max-stale takes nothing stale",
    { ...minute, "last-modified": httpDate(-9) },
    { at: 61, second: { "cache-control": "max-stale=x" } },
  ),
  ...["must-revalidate", "proxy-revalidate", "s-maxage=60"].map((directive) =>
    askedAgain(
      "RFC 9111 §4.2.4",
      `max-stale is worth nothing against ${directive}`,
      { "cache-control": `max-age=60, ${directive}`, "last-modified": httpDate(-9) },
      {
        at: 61,
        second: { "cache-control": "max-stale" },
      },
    ),
  ),
  askedAgain(
    "RFC 9111 §4.2.4",
    "max-stale is worth nothing against no-cache",
    { "cache-control": "no-cache, max-age=60", etag: '"1"' },
    { at: 1, second: { "cache-control": "max-stale" } },
  ),
  reused("RFC 9111 §5.2.2.2", "must-revalidate says nothing about what is fresh", {
    "cache-control": "max-age=60, must-revalidate",
  }),
  reused("RFC 9111 §5.2.2.8", "proxy-revalidate says nothing about what is fresh", {
    "cache-control": "max-age=60, proxy-revalidate",
  }),

  // Pragma
  askedAgain("RFC 9111 §5.4", "a request's Pragma: no-cache asks", hour, { second: { pragma: "no-cache" } }),
  reused("RFC 9111 §5.4", "… but not beside Cache-Control", hour, {
    second: { pragma: "no-cache", "cache-control": "max-age=600" },
  }),
  reused("RFC 9111 §5.4", "any other Pragma asks for nothing", hour, { second: { pragma: "no-cachet, x" } }),

  // RFC 5861
  {
    clause: "RFC 5861 §3",
    says: "within stale-while-revalidate the stale answer comes at once and a new one is fetched behind it",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-while-revalidate=30" }, body: "one" } },
      {
        at: 70,
        origin: { headers: minute, body: "two" },
        source: "stale",
        is: "one",
        fields: { "cache-status": /hit; ttl=-10; detail=stale-while-revalidate/ },
      },
      { at: 71, origin: { headers: minute, body: "two" }, source: "hit", is: "two", eventually: true },
    ],
  },
  askedAgain(
    "RFC 5861 §3",
    "after stale-while-revalidate the client waits for the new one",
    { "cache-control": "max-age=60, stale-while-revalidate=30" },
    { at: 90 },
  ),
  ...["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"].map((directive) =>
    askedAgain(
      "RFC 9111 §4.2.4",
      `stale-while-revalidate is worth nothing against ${directive}`,
      { "cache-control": `max-age=60, stale-while-revalidate=30, ${directive}`, etag: '"1"' },
      { at: 70 },
    ),
  ),
  askedAgain(
    "RFC 5861 §3",
    "an unreadable stale-while-revalidate is none",
    { "cache-control": "max-age=60, stale-while-revalidate=x" },
    { at: 61 },
  ),
  askedAgain(
    "RFC 9111 §5.2.1.1",
    "who states a max-age gets nothing stale",
    { "cache-control": "max-age=60, stale-while-revalidate=30" },
    { at: 61, second: { "cache-control": "max-age=100" } },
  ),
  ...([500, 502, 503, 504] as const).map((status): Case => ({
    clause: "RFC 5861 §4",
    says: `within stale-if-error the stale answer stands in for a ${status}`,
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      {
        at: 100,
        origin: { status, body: "broken" },
        source: "stale",
        status: 200,
        is: "one",
        asked: 1,
        fields: {
          age: "100",
          "cache-status": new RegExp(`fwd=stale; fwd-status=${status}; ttl=-40; detail=stale-if-error`),
        },
      },
    ],
  })),
  {
    clause: "RFC 5861 §4",
    says: "… and for an origin that doesn't answer",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      { at: 100, origin: { cut: "before" }, source: "stale", status: 200, is: "one" },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "… and for a body that is cut",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      { at: 100, origin: { headers: minute, body: "half", cut: "length" }, source: "stale", status: 200, is: "one" },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "a request's own stale-if-error counts as well",
    steps: [
      { origin: { headers: { ...minute, etag: '"1"' }, body: "one" } },
      {
        at: 100,
        headers: { "cache-control": "stale-if-error=60" },
        origin: { status: 503 },
        source: "stale",
        is: "one",
      },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "after stale-if-error the error is passed on",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=30" }, body: "one" } },
      { at: 90, origin: { status: 503, body: "broken" }, status: 503, is: "broken" },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "without stale-if-error the error is passed on",
    steps: [
      { origin: { headers: { ...minute, etag: '"1"' }, body: "one" } },
      { at: 61, origin: { status: 503, body: "broken" }, status: 503, is: "broken" },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "nothing stands in for a client's error",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      { at: 61, origin: { status: 404, body: "gone" }, status: 404, is: "gone" },
    ],
  },
  {
    clause: "RFC 5861 §4",
    says: "who asks with no-cache gets the error, not the past",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      { at: 61, headers: { "cache-control": "no-cache" }, origin: { status: 503, body: "broken" }, status: 503 },
    ],
  },
  ...["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"].map((directive): Case => ({
    clause: "RFC 9111 §5.2.2.2",
    says: `with ${directive} an unreachable origin is an error, never something stale`,
    steps: [
      {
        origin: {
          headers: { "cache-control": `max-age=60, stale-if-error=600, ${directive}`, etag: '"1"' },
          body: "one",
        },
      },
      { at: 61, origin: { cut: "before" }, status: 502 },
    ],
  })),
];
