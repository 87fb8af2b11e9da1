/** What is measured: who answers, what is asked, and in what state the client is. */
import type { Shape } from "./load/load.ts";

/**
 * A process of workerd that runs one skeleton, or the product. `two-calls-again` is the skeleton against itself; in
 * `product-roomy` clients are counted, and no limit is ever reached. Each case of the product has a process of its own, as each
 * skeleton has: the clients of another case would be forgotten, an object each, a minute later and in the middle of this one.
 */
export const workers = [
  "nothing",
  "nothing-one-call",
  "pass",
  "one-call",
  "two-calls",
  "two-calls-again",
  "two-calls-report",
  "least-table-get",
  "least-generation",
  "product",
  "product-hit",
  "product-stats",
  "product-exact",
  "product-stream",
  "product-blocked",
  "product-unlimited",
  "product-roomy",
] as const;
export type WorkerName = (typeof workers)[number];

export interface Case {
  readonly name: string;
  readonly label: string;
  readonly worker: WorkerName;
  readonly shape: Shape;
  /** Before each round, requests are sent until this status comes. */
  readonly until: number | null;
  readonly expected: number;
  /** Fewer requests than usual, for what is dear. */
  readonly share: number;
}

/**
 * The clients of a run, the same in all cases: their limiters stay awake, as those of steady clients do. In a calm run
 * each sends some fifty requests a minute, and none is refused.
 */
const clients = Array.from({ length: 500 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);

const get = (path: string, addresses: readonly string[]): Shape => ({
  method: "GET",
  path,
  body: null,
  addresses,
  headers: {},
});

const post = (path: string, body: object, addresses: readonly string[]): Shape => ({
  method: "POST",
  path,
  body: JSON.stringify(body),
  addresses,
  headers: { "content-type": "application/json", authorization: "Bearer 0123456789abcdef0123456789abcdef" },
});

const picture = { model: "jimeng-4.5", prompt: "a cat on a roof in the evening sun", ratio: "1:1", resolution: "2k" };
const chat = { model: "jimeng-4.5", messages: [{ role: "user", content: "a cat on a roof" }], stream: true };

interface Row {
  readonly name: string;
  readonly label: string;
  readonly worker: WorkerName;
  readonly shape: Shape;
  readonly until?: number;
  readonly expected?: number;
  readonly share?: number;
}

const rows: readonly Row[] = [
  { name: "nothing", label: "(a) nothing", worker: "nothing", shape: get("/ping", clients) },
  { name: "nothing_one_call", label: "(a) + 1 call", worker: "nothing-one-call", shape: get("/ping", clients) },
  { name: "pass", label: "(b) bare pass-through", worker: "pass", shape: get("/ping", clients) },
  { name: "one_call", label: "(c) pass + 1 call", worker: "one-call", shape: get("/ping", clients) },
  { name: "two_calls", label: "(d) pass + 2 calls", worker: "two-calls", shape: get("/ping", clients) },
  { name: "two_calls_again", label: "(d) once more", worker: "two-calls-again", shape: get("/ping", clients) },
  {
    name: "two_calls_report",
    label: "(e) pass + 2 calls + report",
    worker: "two-calls-report",
    shape: post("/v1/images/generations", picture, clients),
    share: 0.7,
  },
  { name: "least_table_get", label: "table GET at its least", worker: "least-table-get", shape: get("/ping", clients) },
  {
    name: "least_generation",
    label: "generation at its least",
    worker: "least-generation",
    shape: post("/v1/images/generations", picture, clients),
    share: 0.7,
  },
  { name: "table_get", label: "table GET, uncached", worker: "product", shape: get("/ping", clients) },
  { name: "hit", label: "cache hit, /v1/models", worker: "product-hit", shape: get("/v1/models", clients) },
  { name: "hit_stats", label: "cache hit, /usage/stats", worker: "product-stats", shape: get("/usage/stats", clients) },
  {
    name: "hit_unlimited",
    label: "cache hit, limiter off",
    worker: "product-unlimited",
    shape: get("/v1/models", clients),
  },
  {
    name: "exact",
    label: "exact generation",
    worker: "product-exact",
    shape: post("/v1/images/generations", picture, clients),
    share: 0.7,
  },
  {
    name: "sse",
    label: "event stream",
    worker: "product-stream",
    shape: post("/v1/chat/completions", chat, clients),
    share: 0.5,
  },
  {
    name: "blocked",
    label: "blocked client",
    worker: "product-blocked",
    shape: get("/ping", ["10.7.0.1"]),
    until: 429,
    expected: 429,
  },
];

export const cases: readonly Case[] = rows.map((row) => Object.assign({ until: null, expected: 200, share: 1 }, row));

/** Product over skeleton, as `--json` names it. */
export const ratios = {
  table_get_vs_two_calls: ["table_get", "two_calls"],
  exact_vs_two_calls_report: ["exact", "two_calls_report"],
  blocked_vs_nothing: ["blocked", "nothing"],
  hit_vs_pass: ["hit", "pass"],
} as const;

/** Shown beside those: what of a ratio no product could save, what the limiter adds to a hit, and what the other kind of hit costs. */
export const moreRatios = {
  least_table_get_vs_two_calls: ["least_table_get", "two_calls"],
  table_get_vs_least: ["table_get", "least_table_get"],
  least_generation_vs_two_calls_report: ["least_generation", "two_calls_report"],
  exact_vs_least: ["exact", "least_generation"],
  hit_unlimited_vs_pass: ["hit_unlimited", "pass"],
  hit_vs_nothing_one_call: ["hit", "nothing_one_call"],
  nothing_one_call_vs_pass: ["nothing_one_call", "pass"],
  hit_stats_vs_pass: ["hit_stats", "pass"],
  sse_vs_two_calls_report: ["sse", "two_calls_report"],
} as const;
