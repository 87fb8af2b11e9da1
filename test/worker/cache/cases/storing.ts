import type { Case } from "./case.ts";
import { askedAgain, httpDate, reused } from "./case.ts";

const fresh = { "cache-control": "max-age=60" };
const long = { "last-modified": httpDate(-86_400) };

/** May it be stored: RFC 9111 §3, §3.5, §5.2.2, §7.3; RFC 9213. */
export const storing: readonly Case[] = [
  reused("RFC 9111 §3", "a GET's 200 with max-age is stored", fresh),
  reused("RFC 9111 §3", "a 203 with max-age is stored", fresh, { status: 203 }),
  reused(
    "RFC 9111 §3",
    "a 301 with max-age is stored, with its Location",
    { ...fresh, location: "/elsewhere" },
    { status: 301 },
  ),
  reused("RFC 9111 §3", "a 302 with max-age is stored", { ...fresh, location: "/elsewhere" }, { status: 302 }),
  reused("RFC 9111 §3", "a 307 with Expires is stored", { expires: httpDate(60), location: "/e" }, { status: 307 }),
  reused(
    "RFC 9111 §3",
    "a 308 with s-maxage is stored",
    { "cache-control": "s-maxage=60", location: "/e" },
    { status: 308 },
  ),
  reused("RFC 9111 §3", "a 300 with max-age is stored", fresh, { status: 300 }),
  reused("RFC 9111 §3", "a 204 with max-age is stored", fresh, { status: 204, body: "" }),
  askedAgain(
    "RFC 9111 §3",
    "a 302 without a stated lifetime is not stored",
    { ...long, location: "/e" },
    { status: 302 },
  ),
  askedAgain("RFC 9111 §3", "a status that is not understood is not stored", fresh, { status: 299 }),
  askedAgain("RFC 9111 §3", "an answer without lifetime and validator is not stored", {}),
  ...[400, 401, 403, 404, 405, 410, 414, 418, 429].map((status) =>
    askedAgain("RFC 9111 §3", `a ${status} is never stored, whatever its max-age`, fresh, { status }),
  ),
  ...[500, 501, 502, 503, 504].map((status) =>
    askedAgain("RFC 9111 §3", `a ${status} is never stored, whatever its max-age`, fresh, { status }),
  ),
  askedAgain("RFC 9111 §3", "a flat dialect's error inside a 200 is not stored", { ...fresh, "x-verdict": "refused" }),
  askedAgain("RFC 9111 §3", "a backend's fault inside a 200 is not stored", { ...fresh, "x-verdict": "failed" }),
  ...[{ "content-type": "text/plain" }, { "content-type": "text/html; charset=utf-8" }, {}].flatMap((type) =>
    ["origin", "60"].map((rule) =>
      askedAgain(
        `route: ${rule}`,
        `a flat dialect's error inside a 200 is not stored where its type is ${type["content-type"] ?? "not said"}`,
        { ...fresh, ...type },
        { rule, body: '\n{"code":-2002,"message":"[登录失效]","data":null}' },
      ),
    ),
  ),
  ...['{"code":0,"message":"ok"}', '{"error":"code"}', '{"code":-2001', "-2001", '["code"]'].map((body) =>
    reused("RFC 9111 §3", `a text that is no error of a server is stored: ${body}`, fresh, { body }),
  ),
  {
    clause: "RFC 5861 §4",
    says: "a backend's fault inside a 200 that doesn't say it is JSON does not replace what may stand in for it",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      {
        at: 100,
        origin: { headers: fresh, body: '{"code":-1000,"message":"系统错误","data":null}' },
        source: "stale",
        is: "one",
        asked: 1,
      },
    ],
  },
  {
    clause: "RFC 9111 §3",
    says: "a client's mistake told inside a 200 that doesn't say it is JSON is the client's answer, and takes nothing from what is stored",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60, stale-if-error=600" }, body: "one" } },
      {
        at: 100,
        origin: { headers: fresh, body: '{"code":-2000,"message":"x","data":null}' },
        is: '{"code":-2000,"message":"x","data":null}',
      },
      { at: 101, origin: { status: 500 }, source: "stale", is: "one" },
    ],
  },
  askedAgain("RFC 9111 §3", "an event stream is not stored", { ...fresh, "content-type": "text/event-stream" }),
  {
    clause: "RFC 9111 §3",
    says: "the answer to a POST is not stored, even with max-age",
    steps: [
      { method: "POST", body: "q", origin: { headers: fresh, body: "one" }, source: "bypass", asked: 1 },
      { at: 1, origin: { body: "two" }, is: "two", asked: 1 },
    ],
  },
  {
    clause: "RFC 9111 §3",
    says: "the answer to a GET with a body is not stored: the key doesn't hold the body",
    steps: [
      { body: "poison", origin: { headers: fresh, body: "one" }, source: "bypass" },
      { at: 1, origin: { body: "two" }, is: "two", asked: 1 },
    ],
  },

  // §3.1
  {
    clause: "RFC 9111 §3.1",
    says: "unknown response fields are stored",
    steps: [
      { origin: { headers: { ...fresh, "x-anything": "kept" }, body: "one" } },
      { at: 1, source: "hit", fields: { "x-anything": "kept" } },
    ],
  },
  {
    clause: "RFC 9111 §3.1",
    says: "fields that Connection names are not stored",
    steps: [
      { origin: { headers: { ...fresh, connection: "x-hop", "x-hop": "no" }, body: "one" } },
      { at: 1, source: "hit", fields: { "x-hop": null } },
    ],
  },
  ...["keep-alive", "proxy-authenticate", "proxy-authentication-info", "upgrade", "te"].map((name): Case => ({
    clause: "RFC 9111 §3.1",
    says: `${name} is not stored`,
    steps: [
      { origin: { headers: { ...fresh, [name]: "timeout=5" }, body: "one" } },
      { at: 1, source: "hit", fields: { [name]: name === "keep-alive" ? /^(?!timeout=5$)|^$/ : null } },
    ],
  })),
  {
    clause: "RFC 9111 §3.1",
    says: "content-type and content-language come back as they were",
    steps: [
      { origin: { headers: { ...fresh, "content-type": "text/x-odd", "content-language": "zh" }, body: "one" } },
      { at: 1, source: "hit", fields: { "content-type": /^text\/x-odd/, "content-language": "zh" } },
    ],
  },
  {
    clause: "RFC 9111 §3.1",
    says: "a body of any bytes comes back as it was",
    steps: [
      { origin: { headers: fresh, body: "\u0000\u00ff\r\n\u4e2d" } },
      { at: 1, source: "hit", is: "\u0000\u00ff\r\n\u4e2d" },
    ],
  },
  {
    clause: "RFC 9111 §3.1",
    says: "an empty body is a body",
    steps: [
      { origin: { headers: { ...fresh, "content-length": "0" }, body: "" } },
      { at: 1, source: "hit", is: "", asked: 0 },
    ],
  },

  // §3.3
  askedAgain("RFC 9111 §3.3", "a 206 is not stored", { ...fresh, "content-range": "bytes 0-2/9" }, { status: 206 }),
  askedAgain("RFC 9111 §3.3", "a 200 with a Content-Range is not stored", { ...fresh, "content-range": "bytes 0-2/9" }),
  {
    clause: "RFC 9111 §3.3",
    says: "a range request that finds nothing stored goes on as it is, and its part is not taken for the whole",
    steps: [
      {
        headers: { range: "bytes=0-1" },
        origin: { status: 206, headers: { ...fresh, "content-range": "bytes 0-1/3" }, body: "on" },
        source: "bypass",
        status: 206,
        sent: { range: "bytes=0-1" },
      },
      { at: 1, origin: { headers: fresh, body: "one" }, is: "one", asked: 1, source: "miss" },
    ],
  },
  {
    clause: "RFC 9111 §3.3",
    says: "a body shorter than its Content-Length is not stored",
    steps: [
      { origin: { headers: fresh, body: "half", cut: "length" }, asked: 1, status: 502 },
      { at: 1, origin: { headers: fresh, body: "whole" }, is: "whole", asked: 1 },
    ],
  },
  {
    clause: "RFC 9111 §3.3",
    says: "a chunked body cut in the middle is not stored",
    steps: [
      { origin: { headers: fresh, body: "half", cut: "chunked" }, asked: 1, status: 502 },
      { at: 1, origin: { headers: fresh, body: "whole" }, is: "whole", asked: 1 },
    ],
  },
  {
    clause: "RFC 9111 §3.3",
    says: "half a JSON document is not stored, even where its end looked clean",
    steps: [
      {
        origin: { headers: { ...fresh, "content-type": "application/json" }, body: '{"data":[', chunked: true },
        status: 502,
      },
      { at: 1, origin: { headers: fresh, body: "whole" }, is: "whole", asked: 1 },
    ],
  },
  ...[
    ["application/json", '{"a":1}\n{"a":2}\n'],
    ["application/json", "plain words"],
    ["application/json-seq", '\u001e{"a":1}\n'],
  ].map(([type, body]): Case => ({
    clause: "RFC 9111 §3.3",
    says: `what calls itself ${type} and is no document, but no half of one either, passes: ${JSON.stringify(body)}`,
    steps: [
      {
        origin: { headers: { ...fresh, "content-type": type as string }, body: body as string, chunked: true },
        status: 200,
        is: body as string,
      },
    ],
  })),
  {
    clause: "RFC 9111 §3.3",
    says: "a whole chunked body is stored",
    steps: [
      { origin: { headers: { ...fresh, "content-type": "application/json" }, body: '{"a":1}', chunked: true } },
      { at: 1, source: "hit", is: '{"a":1}', asked: 0 },
    ],
  },
  {
    clause: "RFC 9111 §3.3",
    says: "an origin that hangs up without an answer leaves nothing behind",
    steps: [
      { origin: { cut: "before" }, status: 502 },
      { at: 1, origin: { headers: fresh, body: "whole" }, is: "whole", source: "miss" },
    ],
  },

  // §3.5
  askedAgain("RFC 9111 §3.5", "an answer to a request with Authorization is not stored", fresh, {
    first: { authorization: "Bearer a" },
  }),
  askedAgain(
    "RFC 9111 §3.5",
    "… also not with private",
    { "cache-control": "private, max-age=60" },
    { first: { authorization: "Bearer a" } },
  ),
  askedAgain(
    "RFC 9111 §3.5",
    "… also not with Expires",
    { expires: httpDate(60) },
    { first: { authorization: "Bearer a" } },
  ),
  askedAgain(
    "RFC 9111 §3.5",
    "… also not with immutable",
    { "cache-control": "max-age=60, immutable" },
    { first: { authorization: "Bearer a" } },
  ),
  ...["public, max-age=60", "must-revalidate, max-age=60", "s-maxage=60", "Public, Max-Age=60"].map((control) =>
    reused(
      "RFC 9111 §3.5",
      `… but with ${control} it is, for anybody`,
      { "cache-control": control },
      {
        first: { authorization: "Bearer a" },
        second: { authorization: "Bearer b" },
      },
    ),
  ),
  ...["public=no, max-age=60", "s-maxage=soon, max-age=60", "must-revalidate=0, max-age=60"].map((control) =>
    askedAgain(
      "RFC 9111 §3.5",
      `a permission that can't be read (\`${control}\`) permits nothing`,
      { "cache-control": control, etag: '"1"' },
      {
        first: { authorization: "Bearer a" },
        second: { authorization: "Bearer b" },
        sent: { "if-none-match": null },
      },
    ),
  ),
  ...["public=?0, max-age=60", "s-maxage=6.5, max-age=60", "must-revalidate=?0, max-age=60"].map((control) =>
    askedAgain(
      "RFC 9213 §2.1",
      `a permission that is none (\`${control}\`) permits nothing`,
      { "cdn-cache-control": control, etag: '"1"' },
      {
        first: { authorization: "Bearer a" },
        second: { authorization: "Bearer b" },
        sent: { "if-none-match": null },
      },
    ),
  ),
  askedAgain(
    "RFC 9111 §3.5",
    "no-store is stronger than public",
    { "cache-control": "public, no-store, max-age=60" },
    { first: { authorization: "Bearer a" } },
  ),
  askedAgain("RFC 9111 §3.5", "what was stored for nobody in particular is not for somebody", fresh, {
    second: { authorization: "Bearer a" },
  }),
  askedAgain(
    "RFC 9111 §3.5",
    "… nor is it confirmed for somebody",
    { "cache-control": "max-age=5", etag: '"1"' },
    { second: { authorization: "Bearer a" }, sent: { "if-none-match": null } },
  ),
  reused(
    "RFC 9111 §3.5",
    "… unless it says public",
    { "cache-control": "public, max-age=60" },
    { second: { authorization: "Bearer a" } },
  ),
  askedAgain("RFC 9111 §3.5", "a cookie is a credential too", fresh, { first: { cookie: "session=1" } }),
  reused(
    "RFC 9111 §3.5",
    "… and public lifts that too",
    { "cache-control": "public, max-age=60" },
    { first: { cookie: "session=1" } },
  ),
  {
    clause: "RFC 9111 §3.5",
    says: "two clients' own answers stay theirs, in turn",
    steps: ["a", "b", "a", "b"].map((who) => ({
      headers: { authorization: `Bearer ${who}` },
      origin: { headers: fresh, body: `of ${who}` },
      is: `of ${who}`,
      asked: 1,
    })),
  },

  // §5.2.2
  ...[
    "no-store",
    "No-Store",
    "NO-STORE",
    "no-store, max-age=60",
    "max-age=60,no-store",
    " no-store ,max-age=60",
    "no-store=1, max-age=60",
    'no-store="x", max-age=60',
    "no-store; max-age=60",
  ].map((control) =>
    askedAgain(
      "RFC 9111 §5.2.2.5",
      `\`${control}\` is not stored`,
      { "cache-control": control, etag: '"1"' },
      { at: 1 },
    ),
  ),
  ...["public; no-store", "max-age=60; no-store", "max-age=60; private", "must-revalidate; No-Store; max-age=60"].map(
    (control) =>
      askedAgain(
        "RFC 9111 §5.2",
        `\`${control}\` separates with semicolons, and the restriction still applies`,
        { "cache-control": `${control}, stale-if-error=600`, ...long, etag: '"1"' },
        { at: 1, sent: { "if-none-match": null } },
      ),
  ),
  askedAgain("RFC 9111 §5.2", "two Cache-Control fields are one list", { "cache-control": ["max-age=60", "no-store"] }),
  ...[
    "private",
    "Private, max-age=60",
    "max-age=60, private",
    'private="", max-age=60',
    'private="a b", max-age=60',
  ].map((control) => askedAgain("RFC 9111 §5.2.2.7", `\`${control}\` is not stored`, { "cache-control": control })),
  {
    clause: "RFC 9111 §5.2.2.7",
    says: 'private="x-a, x-b" is stored without those fields',
    steps: [
      {
        origin: {
          headers: { "cache-control": 'max-age=60, private="X-A, x-b"', "x-a": "1", "x-b": "2", "x-c": "3" },
          body: "one",
        },
      },
      { at: 1, source: "hit", fields: { "x-a": null, "x-b": null, "x-c": "3" } },
    ],
  },
  askedAgain(
    "RFC 9111 §5.2.2.3",
    "must-understand with a status that is not understood is not stored",
    { "cache-control": "must-understand, max-age=60" },
    { status: 299 },
  ),
  reused("RFC 9111 §5.2.2.3", "must-understand lets no-store be ignored for a status that is understood", {
    "cache-control": "must-understand, no-store, max-age=60",
  }),
  askedAgain("RFC 9111 §5.2.2.3", "a must-understand that can't be read lifts no no-store", {
    "cache-control": "must-understand=x, no-store, max-age=60",
  }),
  reused("RFC 9111 §5.2.3", "an unknown directive changes nothing", {
    "cache-control": "max-age=60, community=UCI, x",
  }),
  askedAgain(
    "RFC 9111 §4.2.1",
    "a quoted string without an end makes the field unreadable, so nothing is stored",
    { "cache-control": 'max-age=60, ext="a, public', etag: '"1"' },
    { at: 1 },
  ),

  // §7.3
  askedAgain("RFC 9111 §7.3", "an answer that sets a cookie is not stored", { ...fresh, "set-cookie": "session=1" }),
  askedAgain("RFC 9111 §7.3", "… not even a public one", {
    "cache-control": "public, max-age=60",
    "set-cookie": "session=1",
  }),
  askedAgain("RFC 9111 §7.3", "… not even with s-maxage", {
    "cache-control": "s-maxage=60",
    "set-cookie": ["a=1", "b=2"],
  }),
  {
    clause: "RFC 9111 §7.3",
    says: 'with private="set-cookie" it is stored, without the cookie',
    steps: [
      {
        origin: {
          headers: { "cache-control": 'max-age=60, private="Set-Cookie"', "set-cookie": "session=1" },
          body: "one",
        },
      },
      { at: 1, source: "hit", fields: { "set-cookie": null } },
    ],
  },

  // RFC 9213
  reused("RFC 9213 §2.2", "CDN-Cache-Control outranks Cache-Control: no-store", {
    "cdn-cache-control": "max-age=60",
    "cache-control": "no-store",
  }),
  askedAgain("RFC 9213 §2.2", "CDN-Cache-Control: no-store outranks Cache-Control: max-age", {
    "cdn-cache-control": "no-store",
    "cache-control": "max-age=60",
  }),
  askedAgain("RFC 9213 §2.2", "CDN-Cache-Control: private outranks Cache-Control: public", {
    "cdn-cache-control": "private",
    "cache-control": "public, max-age=60",
  }),
  askedAgain("RFC 9213 §2.2", "beside it Expires is not read either", {
    "cdn-cache-control": "max-age=5",
    expires: httpDate(60),
  }),
  askedAgain("RFC 9213 §2.2", "beside it max-age of Cache-Control is not read", {
    "cdn-cache-control": "max-age=5",
    "cache-control": "max-age=60",
  }),
  reused("RFC 9213 §2.1", "an empty CDN-Cache-Control is as good as none", {
    "cdn-cache-control": "",
    "cache-control": "max-age=60",
  }),
  ...["max-age=60, =", "&=1", "MAX-AGE=0", "max-age=0,", 'max-age="'].map((field) =>
    reused("RFC 9213 §2.1", `one that doesn't parse (\`${field}\`) is as good as none`, {
      "cdn-cache-control": field,
      "cache-control": "max-age=60",
    }),
  ),
  ...['max-age="60"', "max-age=60.5", "max-age=-1", "max-age", "max-age=sixty"].map((field) =>
    askedAgain("RFC 9213 §2.1", `\`${field}\` is of the wrong type, so no lifetime`, {
      "cdn-cache-control": field,
      "cache-control": "max-age=60",
    }),
  ),
  reused("RFC 9213 §2.1", "parameters of a directive are ignored", {
    "cdn-cache-control": "max-age=60;x=1",
    "cache-control": "no-store",
  }),
  reused("RFC 9213 §2.1", "of two in a dictionary the last counts", {
    "cdn-cache-control": ["max-age=1", "max-age=60"],
  }),
  {
    clause: "RFC 9213 §2.2",
    says: "the field goes on to the client, with the others",
    steps: [
      { origin: { headers: { "cdn-cache-control": "max-age=60", "cache-control": "max-age=5" }, body: "one" } },
      { at: 1, source: "hit", fields: { "cdn-cache-control": "max-age=60", "cache-control": "max-age=5" } },
    ],
  },
];
