import type { Case } from "./case.ts";
import { askedAgain, httpDate, reused } from "./case.ts";

const aged = (headers: Record<string, string>, at: number, age: string): Case["steps"] => [
  { origin: { headers, body: "one" } },
  { at, source: "hit", fields: { age } },
];

/** How long, and how old: RFC 9111 §4.2, §5.1, §5.3. */
export const freshness: readonly Case[] = [
  reused("RFC 9111 §4.2", "fresh until a second before max-age", { "cache-control": "max-age=60" }, { at: 59 }),
  askedAgain("RFC 9111 §4.2", "stale at max-age", { "cache-control": "max-age=60" }, { at: 60 }),
  askedAgain("RFC 9111 §4.2", "max-age=0 is never fresh", { "cache-control": "max-age=0" }, { at: 0 }),
  reused("RFC 9111 §4.2.1", "s-maxage outranks a shorter max-age", { "cache-control": "max-age=1, s-maxage=60" }),
  askedAgain("RFC 9111 §4.2.1", "s-maxage outranks a longer max-age", { "cache-control": "max-age=60, s-maxage=1" }),
  askedAgain("RFC 9111 §4.2.1", "s-maxage=0 outranks max-age", { "cache-control": "max-age=60, s-maxage=0" }),
  askedAgain("RFC 9111 §4.2.1", "s-maxage outranks Expires", { "cache-control": "s-maxage=1", expires: httpDate(60) }),
  reused("RFC 9111 §4.2.1", "max-age outranks an Expires in the past", {
    "cache-control": "max-age=60",
    expires: httpDate(-60),
  }),
  askedAgain("RFC 9111 §4.2.1", "max-age outranks an Expires in the future", {
    "cache-control": "max-age=1",
    expires: httpDate(60),
  }),
  reused("RFC 9111 §4.2.1", "Expires minus Date is the lifetime", { expires: httpDate(60) }, { at: 59 }),
  askedAgain("RFC 9111 §4.2.1", "… and it ends", { expires: httpDate(60) }, { at: 60 }),
  askedAgain("RFC 9111 §4.2.1", "Expires equal to Date is no lifetime", { expires: httpDate(0) }, { at: 0 }),
  reused(
    "RFC 9111 §4.2.1",
    "without Date, Expires counts from the arrival",
    { date: "", expires: httpDate(60) },
    { at: 50 },
  ),
  reused("RFC 9111 §4.2.1", "public doesn't shorten Expires", { "cache-control": "public", expires: httpDate(60) }),
  ...["60x", "1e3", "-1", "1.5", "", "x", "0x3c", "60 60"].map((value) =>
    askedAgain(
      "RFC 9111 §4.2.1",
      `max-age=${value || "(nothing)"} can't be read, so there is no lifetime`,
      { "cache-control": `max-age=${value}`, "last-modified": httpDate(-86_400), etag: '"1"' },
      {
        at: 1,
      },
    ),
  ),
  askedAgain("RFC 9111 §4.2.1", "max-age without a value is no lifetime", {
    "cache-control": "max-age",
    expires: httpDate(60),
  }),
  askedAgain("RFC 9111 §4.2.1", "an unreadable s-maxage is no lifetime, though max-age is readable", {
    "cache-control": "s-maxage=x, max-age=60",
  }),
  askedAgain("RFC 9111 §4.2.1", "two different max-age are no lifetime", {
    "cache-control": "max-age=60, max-age=120",
  }),
  askedAgain("RFC 9111 §4.2.1", "… nor in two fields", { "cache-control": ["max-age=60", "max-age=120"] }),
  reused("RFC 9111 §4.2.1", "the same max-age twice is that max-age", { "cache-control": "max-age=60, max-age=60" }),
  reused("RFC 9111 §5.2", "names of directives have no case", { "cache-control": "MaX-aGe=60" }),
  reused("RFC 9111 §5.2", "a quoted argument is read as well", { "cache-control": 'max-age="60"' }),
  reused("RFC 9111 §5.2", "white space and empty elements don't count", { "cache-control": " , ,\tmax-age=60 ,, " }),
  reused("RFC 9111 §5.2", "a comma in a quoted string ends nothing", {
    "cache-control": 'ext="no-store, private", max-age=60',
  }),
  reused(
    "RFC 9111 §1.2.2",
    "a lifetime beyond 2^31 is as long as can be",
    { "cache-control": "max-age=99999999999999999999" },
    { at: 2_000_000 },
  ),
  reused("RFC 9111 §5.2", "leading zeros are digits", { "cache-control": "max-age=0060" }),

  // §4.2.2
  reused(
    "RFC 9111 §4.2.2",
    "without a stated lifetime, a tenth of the time since Last-Modified",
    { "last-modified": httpDate(-1000) },
    { at: 99 },
  ),
  askedAgain("RFC 9111 §4.2.2", "… and no longer", { "last-modified": httpDate(-1000) }, { at: 100 }),
  askedAgain(
    "RFC 9111 §4.2.2",
    "the guess is at most a day",
    { "last-modified": httpDate(-86_400 * 3650) },
    { at: 86_400 },
  ),
  reused("RFC 9111 §4.2.2", "… but a day it is", { "last-modified": httpDate(-86_400 * 3650) }, { at: 86_399 }),
  askedAgain("RFC 9111 §4.2.2", "no guess where Expires is stated", {
    "last-modified": httpDate(-86_400),
    expires: httpDate(5),
  }),
  askedAgain("RFC 9111 §4.2.2", "no guess where max-age is stated", {
    "last-modified": httpDate(-86_400),
    "cache-control": "max-age=5",
  }),
  askedAgain(
    "RFC 9111 §4.2.2",
    "a Last-Modified in the future is no basis",
    { "last-modified": httpDate(1000) },
    { at: 1 },
  ),
  askedAgain(
    "RFC 9111 §4.2.2",
    "a Last-Modified that is no date is no basis",
    { "last-modified": "yesterday" },
    { at: 1 },
  ),
  askedAgain("RFC 9111 §4.2.2", "an ETag alone is no basis", { etag: '"1"' }, { at: 1 }),
  reused(
    "RFC 9111 §4.2.2",
    "public allows the guess for a 302",
    { "cache-control": "public", "last-modified": httpDate(-1000), location: "/e" },
    { status: 302 },
  ),

  // §4.2.3, §5.1
  {
    clause: "RFC 9111 §5.1",
    says: "Age is 0 right after the arrival",
    steps: aged({ "cache-control": "max-age=60" }, 0, "0"),
  },
  { clause: "RFC 9111 §5.1", says: "Age advances with time", steps: aged({ "cache-control": "max-age=60" }, 42, "42") },
  {
    clause: "RFC 9111 §4.2.3",
    says: "an Age from upstream adds up with the time here",
    steps: aged({ "cache-control": "max-age=60", age: "30" }, 12, "42"),
  },
  {
    clause: "RFC 9111 §4.2.3",
    says: "an old Date adds up with the time here",
    steps: aged({ "cache-control": "max-age=60", date: httpDate(-30) }, 12, "42"),
  },
  {
    clause: "RFC 9111 §4.2.3",
    says: "of Age and apparent age the larger counts (Age)",
    steps: aged({ "cache-control": "max-age=60", date: httpDate(-10), age: "30" }, 1, "31"),
  },
  {
    clause: "RFC 9111 §4.2.3",
    says: "of Age and apparent age the larger counts (Date)",
    steps: aged({ "cache-control": "max-age=60", date: httpDate(-30), age: "10" }, 1, "31"),
  },
  {
    clause: "RFC 9111 §4.2.3",
    says: "a Date in the future makes nothing younger",
    steps: aged({ "cache-control": "max-age=60", date: httpDate(30) }, 7, "7"),
  },
  {
    clause: "RFC 9111 §5.1",
    says: "an Age that is no number is ignored",
    steps: aged({ "cache-control": "max-age=60", age: "old" }, 7, "7"),
  },
  {
    clause: "RFC 9111 §5.1",
    says: "a negative Age is ignored",
    steps: aged({ "cache-control": "max-age=60", age: "-5" }, 7, "7"),
  },
  {
    clause: "RFC 9111 §5.1",
    says: "of a list of ages the first counts",
    steps: aged({ "cache-control": "max-age=60", age: "20, 1" }, 7, "27"),
  },
  askedAgain(
    "RFC 9111 §4.2.3",
    "what arrives older than its lifetime is stale",
    { "cache-control": "max-age=60", age: "60" },
    { at: 0 },
  ),
  askedAgain("RFC 9111 §4.2.3", "Age shortens what is left", { "cache-control": "max-age=60", age: "55" }, { at: 5 }),
  reused("RFC 9111 §4.2.3", "… by that much and no more", { "cache-control": "max-age=60", age: "55" }, { at: 4 }),
  askedAgain("RFC 9111 §4.2.3", "Age counts against Expires too", { expires: httpDate(60), age: "58" }, { at: 5 }),
  askedAgain(
    "RFC 9111 §4.2.3",
    "an old Date shortens what is left",
    { "cache-control": "max-age=60", date: httpDate(-55) },
    { at: 6 },
  ),
  {
    clause: "RFC 9110 §6.6.1",
    says: "an answer without Date gets the time of its arrival",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60", date: "" }, body: "one" } },
      { at: 5, source: "hit", fields: { date: httpDate(0) } },
    ],
  },
  {
    clause: "RFC 9111 §5.1",
    says: "Date stays the origin's",
    steps: [
      { origin: { headers: { "cache-control": "max-age=60", date: httpDate(-3) }, body: "one" } },
      { at: 5, source: "hit", fields: { date: httpDate(-3), age: "8" } },
    ],
  },

  // §5.3
  ...[
    "0",
    "-1",
    "never",
    "2030-01-01",
    "Mon, 32 Nov 2026 12:01:00 GMT",
    "Mon, 23 Nov 2026 12:01:00 CET",
    "Mon, 23 Nov 2026 25:01:00 GMT",
    "23 Nov 2026 12:01:00 GMT",
    "1795435260",
  ].map((value) =>
    askedAgain(
      "RFC 9111 §5.3",
      `Expires: ${value} is in the past`,
      { expires: value, "last-modified": httpDate(-86_400) },
      { at: 1 },
    ),
  ),
  reused("RFC 9110 §5.6.7", "the obsolete RFC 850 form is a date", { expires: "Monday, 23-Nov-26 12:01:00 GMT" }),
  reused("RFC 9110 §5.6.7", "the obsolete asctime form is a date", { expires: "Mon Nov 23 12:01:00 2026" }),
  askedAgain(
    "RFC 9110 §5.6.7",
    "a two-digit year more than 50 years ahead is in the past",
    { expires: "Monday, 23-Nov-94 12:01:00 GMT" },
    { at: 1 },
  ),

  // §5.4
  askedAgain("RFC 9111 §5.4", "an answer's Pragma: no-cache is heeded where nothing newer speaks", {
    pragma: "no-cache",
    expires: httpDate(60),
  }),
  reused("RFC 9111 §5.4", "… and ignored beside Cache-Control", { pragma: "no-cache", "cache-control": "max-age=60" }),
];
