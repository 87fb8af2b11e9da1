import type { Case, Fields, Step } from "./case.ts";
import { askedAgain, httpDate, reused } from "./case.ts";

const minute = { "cache-control": "max-age=60" };
const tagged = { ...minute, etag: '"v1"' };
const dated = { ...minute, "last-modified": httpDate(-1000) };

const store = (headers: Fields, body = "one"): Step => ({ origin: { headers, body } });

function confirmed(
  says: string,
  stored: Fields,
  reply: Fields,
  second: readonly Step[] = [],
  clause = "RFC 9111 §4.3.4",
): Case {
  return {
    clause,
    says,
    steps: [
      store(stored),
      { at: 70, origin: { status: 304, headers: reply }, status: 200, is: "one", asked: 1 },
      ...second,
    ],
  };
}

function conditional(clause: string, says: string, stored: Fields, asks: Fields, status: number): Case {
  return {
    clause,
    says,
    steps: [store(stored), { at: 10, headers: asks, source: "hit", status, is: status === 304 ? "" : "one", asked: 0 }],
  };
}

/** Validation, conditional requests, HEAD and ranges: RFC 9111 §4.3, §3.2, §3.4; RFC 9110 §13, §14. */
export const validation: readonly Case[] = [
  // §4.3.1
  {
    clause: "RFC 9111 §4.3.1",
    says: "a stale answer's ETag is sent as If-None-Match",
    steps: [
      store(tagged),
      {
        at: 61,
        origin: { status: 304, headers: tagged },
        sent: { "if-none-match": '"v1"', "if-modified-since": null },
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "a stale answer's Last-Modified is sent as If-Modified-Since, to the letter",
    steps: [
      store(dated),
      {
        at: 161,
        origin: { status: 304, headers: dated },
        sent: { "if-modified-since": httpDate(-1000), "if-none-match": null },
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "both are sent where there are both",
    steps: [
      store({ ...tagged, ...dated }),
      {
        at: 61,
        origin: { status: 304, headers: tagged },
        sent: { "if-none-match": '"v1"', "if-modified-since": httpDate(-1000) },
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "the client's own validators don't go upstream where an answer may be stored",
    steps: [
      {
        headers: { "if-none-match": '"mine"', "if-modified-since": httpDate(-5) },
        origin: { headers: tagged, body: "one" },
        sent: { "if-none-match": null, "if-modified-since": null },
        is: "one",
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "nothing stored, nothing to confirm: no validator is sent",
    steps: [{ origin: { headers: minute, body: "one" }, sent: { "if-none-match": null, "if-modified-since": null } }],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "a weak ETag validates a GET",
    steps: [
      store({ ...minute, etag: 'W/"v1"' }),
      {
        at: 61,
        origin: { status: 304, headers: { ...minute, etag: 'W/"v1"' } },
        sent: { "if-none-match": 'W/"v1"' },
        is: "one",
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.1",
    says: "what must always be confirmed is confirmed each time",
    steps: [
      store({ "cache-control": "no-cache, max-age=60", etag: '"v1"' }),
      ...[1, 2, 3].map((at): Step => ({
        at,
        origin: { status: 304, headers: { "cache-control": "no-cache", etag: '"v1"' } },
        status: 200,
        is: "one",
        asked: 1,
        sent: { "if-none-match": '"v1"' },
      })),
    ],
  },
  ...["no-cache", "No-Cache", "no-cache, max-age=60", 'no-cache="x-a", max-age=60', "public, no-cache"].map((control) =>
    askedAgain(
      "RFC 9111 §5.2.2.4",
      `\`${control}\` is not used without asking`,
      { "cache-control": control, etag: '"v1"' },
      { at: 1 },
    ),
  ),

  // §4.3.3
  {
    clause: "RFC 9111 §4.3.3",
    says: "a 200 replaces what was stored",
    steps: [
      store(tagged),
      { at: 61, origin: { headers: { ...minute, etag: '"v2"' }, body: "two" }, is: "two" },
      { at: 62, source: "hit", is: "two", fields: { etag: '"v2"' } },
    ],
  },
  {
    clause: "RFC 9111 §4.3.3",
    says: "a 200 that may not be stored ends what was stored",
    steps: [
      store({ ...tagged, "cache-control": "max-age=60, stale-if-error=600" }),
      { at: 61, origin: { headers: { "cache-control": "no-store" }, body: "two" }, is: "two" },
      { at: 62, origin: { status: 503, body: "broken" }, status: 503, eventually: true },
    ],
  },
  {
    clause: "RFC 9111 §4.3.3",
    says: "a 5xx leaves what is stored, to be confirmed later",
    steps: [
      store(tagged),
      { at: 61, origin: { status: 500 }, status: 500 },
      { at: 62, origin: { status: 304, headers: tagged }, is: "one", status: 200 },
    ],
  },

  // §4.3.4, §3.2
  confirmed("a 304 with the same strong ETag confirms", tagged, tagged, [
    { at: 71, source: "hit", is: "one", fields: { age: "1" } },
  ]),
  confirmed("a 304 with the same weak ETag confirms", { ...minute, etag: 'W/"v1"' }, { ...minute, etag: 'W/"v1"' }),
  confirmed("a 304 without any validator confirms", tagged, minute),
  confirmed("a 304 with the same Last-Modified confirms", dated, dated),
  confirmed("a weak tag confirms a strong one of the same name", tagged, { ...minute, etag: 'W/"v1"' }),
  {
    clause: "RFC 9111 §4.3.4",
    says: "a 304 about another version confirms nothing: the whole is asked for",
    steps: [
      store(tagged),
      {
        at: 70,
        origin: [
          { status: 304, headers: { ...minute, etag: '"v9"' } },
          { headers: { ...minute, etag: '"v9"' }, body: "nine" },
        ],
        is: "nine",
        status: 200,
        asked: 2,
        sent: { "if-none-match": null },
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.4",
    says: "a 304 with another Last-Modified confirms nothing",
    steps: [
      store(dated),
      {
        at: 161,
        origin: [
          { status: 304, headers: { "last-modified": httpDate(-5) } },
          { headers: minute, body: "two" },
        ],
        is: "two",
        asked: 2,
      },
    ],
  },
  confirmed(
    "a 304's max-age begins a new lifetime",
    tagged,
    { "cache-control": "max-age=300" },
    [{ at: 369, source: "hit", is: "one" }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 without Cache-Control leaves the old one in force",
    tagged,
    { etag: '"v1"' },
    [{ at: 129, source: "hit", is: "one" }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 replaces fields that were stored",
    { ...tagged, "x-a": "old" },
    { ...tagged, "x-a": "new" },
    [{ at: 71, source: "hit", fields: { "x-a": "new" } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 adds fields that were not there",
    tagged,
    { ...tagged, "x-new": "1" },
    [{ at: 71, source: "hit", fields: { "x-new": "1" } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 leaves fields that it doesn't name",
    { ...tagged, "x-a": "old" },
    tagged,
    [{ at: 71, source: "hit", fields: { "x-a": "old" } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304's Content-Type changes nothing about the body",
    { ...tagged, "content-type": "text/x-a" },
    { ...tagged, "content-type": "text/x-b" },
    [{ at: 71, source: "hit", fields: { "content-type": /^text\/x-a/ } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304's Content-Encoding changes nothing about the body",
    tagged,
    { ...tagged, "content-encoding": "x-odd" },
    [{ at: 71, source: "hit", is: "one", fields: { "content-encoding": null } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304's Date is the new Date",
    tagged,
    { ...tagged, date: httpDate(69) },
    [{ at: 71, source: "hit", fields: { date: httpDate(69), age: "2" } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304's Age counts",
    tagged,
    { ...tagged, age: "30" },
    [{ at: 80, source: "hit", fields: { age: "40" } }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 with no-store ends what was stored",
    tagged,
    { "cache-control": "no-store", etag: '"v1"' },
    [{ at: 71, origin: { headers: minute, body: "two" }, is: "two", asked: 1, eventually: true }],
    "RFC 9111 §3.2",
  ),
  confirmed(
    "a 304 with private ends what was stored",
    tagged,
    { "cache-control": "private", etag: '"v1"' },
    [{ at: 71, origin: { headers: minute, body: "two" }, is: "two", asked: 1, eventually: true }],
    "RFC 9111 §3.2",
  ),

  confirmed(
    "a 304 with a cookie ends what was stored",
    tagged,
    { ...tagged, "set-cookie": "session=1" },
    [{ at: 71, origin: { headers: minute, body: "two" }, is: "two", asked: 1, eventually: true }],
    "RFC 9111 §7.3",
  ),
  confirmed(
    "what a 304 says is private is served no more",
    { ...tagged, "x-a": "1" },
    { etag: '"v1"', "cache-control": 'max-age=60, private="x-a"' },
    [{ at: 71, source: "hit", is: "one", fields: { "x-a": null } }],
    "RFC 9111 §5.2.2.7",
  ),
  confirmed(
    "a 304's Last-Modified is what is asked for next",
    { ...tagged, ...minute, "last-modified": httpDate(-1000) },
    { ...tagged, "last-modified": httpDate(-10) },
    [
      {
        at: 140,
        origin: { status: 304, headers: tagged },
        is: "one",
        sent: { "if-modified-since": httpDate(-10) },
      },
    ],
  ),
  {
    clause: "RFC 9211 §2.5",
    says: "what was confirmed but is stored no more has no time to live",
    steps: [
      store(tagged),
      {
        at: 70,
        origin: { status: 304, headers: { "cache-control": "no-store", etag: '"v1"' } },
        is: "one",
        fields: { "cache-status": "jimeng-edge; fwd=stale; fwd-status=304" },
      },
    ],
  },

  // §4.3.2 and RFC 9110 §13
  conditional(
    "RFC 9110 §13.1.2",
    "If-None-Match with the stored tag is a 304",
    tagged,
    { "if-none-match": '"v1"' },
    304,
  ),
  conditional("RFC 9110 §13.1.2", "… among others", tagged, { "if-none-match": '"a", W/"v1" ,"b"' }, 304),
  conditional(
    "RFC 9110 §13.1.2",
    "… compared weakly, either way round",
    { ...minute, etag: 'W/"v1"' },
    { "if-none-match": '"v1"' },
    304,
  ),
  conditional(
    "RFC 9110 §13.1.2",
    "… with a comma inside the tag",
    { ...minute, etag: '"a,b"' },
    { "if-none-match": '"x", "a,b"' },
    304,
  ),
  conditional("RFC 9110 §13.1.2", "* is a 304", tagged, { "if-none-match": "*" }, 304),
  conditional("RFC 9110 §13.1.2", "another tag is a 200", tagged, { "if-none-match": '"v2"' }, 200),
  conditional("RFC 9110 §13.1.2", "a tag in another case is another tag", tagged, { "if-none-match": '"V1"' }, 200),
  conditional(
    "RFC 9110 §13.1.2",
    "part of a tag is another tag",
    { ...minute, etag: '"v1-long"' },
    { "if-none-match": '"v1"' },
    200,
  ),
  conditional("RFC 9110 §13.1.2", "an answer without a tag is a 200", minute, { "if-none-match": '"v1"' }, 200),
  conditional(
    "RFC 9110 §13.2.2",
    "beside If-None-Match, If-Modified-Since isn't read",
    { ...tagged, ...dated },
    { "if-none-match": '"v2"', "if-modified-since": httpDate(0) },
    200,
  ),
  conditional(
    "RFC 9110 §13.1.3",
    "If-Modified-Since at Last-Modified is a 304",
    dated,
    { "if-modified-since": httpDate(-1000) },
    304,
  ),
  conditional("RFC 9110 §13.1.3", "… after it as well", dated, { "if-modified-since": httpDate(-10) }, 304),
  conditional(
    "RFC 9110 §13.1.3",
    "… in an obsolete form as well",
    dated,
    { "if-modified-since": "Monday, 23-Nov-26 11:59:00 GMT" },
    304,
  ),
  conditional("RFC 9110 §13.1.3", "before it is a 200", dated, { "if-modified-since": httpDate(-1001) }, 200),
  conditional("RFC 9110 §13.1.3", "what is no date is ignored", dated, { "if-modified-since": "today" }, 200),
  conditional(
    "RFC 9111 §4.3.2",
    "without Last-Modified the stored Date stands in",
    minute,
    { "if-modified-since": httpDate(0) },
    304,
  ),
  conditional("RFC 9111 §4.3.2", "… and not a moment earlier", minute, { "if-modified-since": httpDate(-1) }, 200),
  {
    clause: "RFC 9110 §15.4.5",
    says: "a 304 of ours carries Cache-Control, Date, ETag, Expires, Vary, Content-Location and Age, and no Content-Type",
    steps: [
      store({
        ...tagged,
        expires: httpDate(60),
        vary: "accept",
        "content-location": "/here",
        "content-type": "text/x-a",
        "x-a": "1",
      }),
      {
        at: 7,
        headers: { "if-none-match": '"v1"' },
        status: 304,
        source: "hit",
        fields: {
          etag: '"v1"',
          "cache-control": "max-age=60",
          expires: httpDate(60),
          vary: "accept",
          "content-location": "/here",
          age: "7",
          "content-type": null,
          "x-a": null,
        },
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.2",
    says: "a client's condition is also met by what was fetched just now",
    steps: [
      { headers: { "if-none-match": '"v1"' }, origin: { headers: tagged, body: "one" }, status: 304, is: "", asked: 1 },
      { at: 1, source: "hit", is: "one" },
    ],
  },
  {
    clause: "RFC 9111 §4.3.2",
    says: "a client's condition is met after the origin has confirmed",
    steps: [
      store(tagged),
      { at: 61, headers: { "if-none-match": '"v1"' }, origin: { status: 304, headers: tagged }, status: 304, asked: 1 },
    ],
  },
  ...(["if-match", "if-unmodified-since"] as const).map((name): Case => ({
    clause: name === "if-match" ? "RFC 9110 §13.1.1" : "RFC 9110 §13.1.4",
    says: `${name} goes to the origin with a HEAD, too`,
    steps: [
      store(tagged),
      {
        at: 1,
        method: "HEAD",
        headers: { [name]: name === "if-match" ? '"v1"' : httpDate(0) },
        origin: { status: 412 },
        status: 412,
        asked: 1,
        sent: { [name]: /./ },
      },
    ],
  })),
  ...(["if-match", "if-unmodified-since"] as const).map((name): Case => ({
    clause: name === "if-match" ? "RFC 9110 §13.1.1" : "RFC 9110 §13.1.4",
    says: `${name} is the origin's to judge`,
    steps: [
      store(tagged),
      {
        at: 1,
        headers: { [name]: name === "if-match" ? '"v1"' : httpDate(0) },
        origin: { status: 412, body: "no" },
        status: 412,
        source: "bypass",
        asked: 1,
        sent: { [name]: /./ },
      },
    ],
  })),

  // HEAD
  {
    clause: "RFC 9110 §9.3.2",
    says: "a HEAD is answered from a stored GET, with its fields and no body",
    steps: [
      store(tagged),
      {
        at: 5,
        method: "HEAD",
        source: "hit",
        status: 200,
        is: "",
        asked: 0,
        fields: { etag: '"v1"', age: "5", "content-length": "3" },
      },
    ],
  },
  {
    clause: "RFC 9110 §9.3.2",
    says: "a conditional HEAD is a 304",
    steps: [
      store(tagged),
      { at: 5, method: "HEAD", headers: { "if-none-match": '"v1"' }, source: "hit", status: 304, asked: 0 },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD's answer is not stored as a GET's",
    steps: [
      { method: "HEAD", origin: { headers: tagged }, status: 200, asked: 1 },
      { at: 1, origin: { headers: tagged, body: "one" }, is: "one", asked: 1 },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD that speaks of the same version freshens the stored GET",
    steps: [
      store(tagged),
      { at: 70, method: "HEAD", origin: { headers: { ...tagged, "content-length": "3" } }, asked: 1 },
      {
        at: 80,
        source: "hit",
        is: "one",
        fields: { age: "10" },
        origin: { status: 304, headers: tagged },
        eventually: true,
      },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD that speaks of another version ends the stored GET",
    steps: [
      store({ ...minute, etag: '"v1"', "cache-control": "max-age=60, stale-if-error=600" }),
      { at: 70, method: "HEAD", origin: { headers: { ...minute, etag: '"v2"' } }, asked: 1 },
      { at: 71, origin: { status: 503, body: "broken" }, status: 503, eventually: true },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD with another length ends the stored GET",
    steps: [
      store({ "cache-control": "max-age=60, stale-if-error=600" }),
      { at: 70, method: "HEAD", origin: { headers: { ...minute, "content-length": "4" } }, asked: 1 },
      { at: 71, origin: { status: 503, body: "broken" }, status: 503, eventually: true },
    ],
  },

  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD's length in an encoding says nothing about the stored one, which is decoded",
    steps: [
      store(tagged),
      {
        at: 70,
        method: "HEAD",
        origin: { headers: { ...tagged, "content-encoding": "gzip", "content-length": "23" } },
        asked: 1,
      },
      { at: 80, source: "hit", is: "one", origin: { status: 304, headers: tagged }, eventually: true },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD that is sent elsewhere says nothing about the stored GET",
    steps: [
      store(tagged),
      {
        at: 1,
        method: "HEAD",
        headers: { "cache-control": "no-cache" },
        origin: { status: 302, headers: { ...minute, location: "/e" } },
      },
      // What is done behind an answer is done by then.
      { at: 1, path: "/y", origin: { headers: minute, body: "y" } },
      { at: 2, source: "hit", status: 200, is: "one", fields: { location: null, age: "2" } },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD of the same version that may not be stored ends the stored GET",
    steps: [
      store({ ...tagged, "cache-control": "max-age=60, stale-if-error=600" }),
      { at: 70, method: "HEAD", origin: { headers: { "cache-control": "no-store", etag: '"v1"' } }, asked: 1 },
      { at: 71, origin: { status: 503, body: "broken" }, status: 503, eventually: true },
    ],
  },
  {
    clause: "RFC 9111 §4.3.5",
    says: "a HEAD with a field that nobody accounts for says nothing about the stored GET",
    steps: [
      store(tagged),
      {
        at: 70,
        method: "HEAD",
        headers: { "x-poison": "1" },
        origin: { headers: { ...minute, etag: '"v2"' } },
        asked: 1,
      },
      // What is done behind an answer is done by then.
      { at: 70, path: "/y", origin: { headers: minute, body: "y" } },
      { at: 71, origin: { status: 304, headers: tagged }, status: 200, is: "one", sent: { "if-none-match": '"v1"' } },
    ],
  },

  // Ranges
  ...(
    [
      ["bytes=0-1", "on", "bytes 0-1/3"],
      ["bytes=1-", "ne", "bytes 1-2/3"],
      ["bytes=-1", "e", "bytes 2-2/3"],
      ["bytes=-9", "one", "bytes 0-2/3"],
      ["bytes=2-99", "e", "bytes 2-2/3"],
    ] as const
  ).map(([range, part, contentRange]): Case => ({
    clause: "RFC 9110 §14.2",
    says: `${range} is cut from what is stored`,
    steps: [
      store(tagged),
      {
        at: 1,
        headers: { range },
        source: "hit",
        status: 206,
        is: part,
        asked: 0,
        fields: { "content-range": contentRange, etag: '"v1"' },
      },
    ],
  })),
  ...["bytes=0-0,2-2", "lines=1-2", "bytes=", "bytes=2-1", "bytes=a-b"].map((range): Case => ({
    clause: "RFC 9110 §14.2",
    says: `\`${range}\` is answered with the whole`,
    steps: [store(tagged), { at: 1, headers: { range }, source: "hit", status: 200, is: "one", asked: 0 }],
  })),
  {
    clause: "RFC 9110 §15.5.17",
    says: "a range beyond the end is a 416",
    steps: [
      store(tagged),
      { at: 1, headers: { range: "bytes=3-" }, status: 416, asked: 0, fields: { "content-range": "bytes */3" } },
    ],
  },
  ...(
    [
      ["the stored strong tag", tagged, '"v1"', 206],
      ["another tag", tagged, '"v2"', 200],
      ["a weak tag", { ...minute, etag: 'W/"v1"' }, 'W/"v1"', 200],
      ["an old enough Last-Modified", dated, httpDate(-1000), 206],
      ["another date", dated, httpDate(-999), 200],
      ["a Last-Modified too close to the Date", { ...minute, "last-modified": httpDate(-30) }, httpDate(-30), 200],
    ] as const
  ).map(([what, stored, ifRange, status]): Case => ({
    clause: "RFC 9110 §13.1.5",
    says: `If-Range with ${what} is a ${status}`,
    steps: [
      store(stored),
      { at: 1, headers: { range: "bytes=0-1", "if-range": ifRange }, source: "hit", status, asked: 0 },
    ],
  })),
  {
    clause: "RFC 9111 §3.4",
    says: "a part is never joined to what is stored",
    steps: [
      store(tagged),
      {
        at: 61,
        headers: { range: "bytes=0-0" },
        origin: { status: 206, headers: { ...tagged, "content-range": "bytes 0-0/3" }, body: "X" },
        status: 206,
        is: "X",
      },
      { at: 62, origin: { status: 304, headers: tagged }, is: "one", status: 200 },
    ],
  },
  reused("RFC 9110 §8.8.3", "an ETag with any visible character comes back as it was", {
    ...minute,
    etag: '"!#$%&\'()*+-./:;<=>?@[]^_`{|}~"',
  }),
];
