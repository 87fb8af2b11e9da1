/** Every route of the three families, and what each answers. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { chat } from "./chat.ts";
import { JimengError, statusOf } from "./dialect.ts";
import { readBody, readForm, sendJson, sendText, type Exchange } from "./exchange.ts";
import { deliver, durationOf, follow, perform, productOf, readOrder, spoiledBefore } from "./generation.ts";
import type { JobKind } from "./jobs.ts";
import type { DemoState } from "./state.ts";
import type { TaskType } from "./tasks.ts";
import { dayOf } from "./usage.ts";

type Handler = (state: DemoState, exchange: Exchange) => void | Promise<void>;

const ok = (exchange: Exchange, value: unknown): void => sendJson(exchange, 200, value);

function generation(kind: JobKind): Handler {
  return async (state, exchange) => {
    const order = readOrder(state, exchange, await readForm(exchange.request), kind);
    if (spoiledBefore(exchange, order.markers)) return;
    try {
      const submit = await perform(state, order, follow(exchange, order.markers));
      deliver(exchange, order.markers, 200, productOf(state, order, submit));
    } catch (error) {
      if (!(error instanceof JimengError)) throw error;
      deliver(exchange, order.markers, statusOf(state.options.dialect, error.code), JSON.parse(error.body()));
    }
  };
}

const taskTypes: Readonly<Record<JobKind, TaskType>> = {
  image: "image_generation",
  composition: "image_composition",
  video: "video_generation",
};

function taskSubmission(kind: JobKind): Handler {
  return async (state, exchange) => {
    const order = readOrder(state, exchange, await readForm(exchange.request), kind);
    if (spoiledBefore(exchange, order.markers)) return;
    const answer = state.tasks.submit(taskTypes[kind], durationOf(state, order), async () =>
      productOf(state, order, await perform(state, order)),
    );
    deliver(exchange, order.markers, 200, answer);
  };
}

async function checkToken(state: DemoState, exchange: Exchange): Promise<void> {
  const { fields } = await readForm(exchange.request);
  const { token } = fields;
  if (typeof token !== "string") throw new JimengError(-2000, "Params body.token invalid");
  const { deadTokenIsAnAnswer } = state.dialect;
  const upstream = await state.failWhileUpstreamIsDown().then(
    () => null,
    (error: unknown) => error,
  );
  if (upstream !== null && !deadTokenIsAnAnswer) throw upstream;
  const dead = upstream !== null || /^((us|hk|jp|sg)-)?dead/.test(token);
  if (dead && !deadTokenIsAnAnswer) throw state.deadToken();
  ok(exchange, { live: !dead });
}

/** Revealing and unauthenticated in real servers too: a gateway must not let these through. */
const administration: Readonly<Record<string, unknown>> = {
  "GET /proxy/config": { success: true, data: { host: "10.0.0.9", username: "proxy", password: "demo-proxy-secret" } },
  "POST /proxy/config": { success: true },
  "POST /proxy/test": { success: true },
  "POST /proxy/enable": { success: true },
  "POST /token/points": [{ token: "demo-token", points: { giftCredit: 60, purchaseCredit: 0, vipCredit: 0 } }],
  "POST /token/receive": [{ token: "demo-token", credits: { totalCredit: 60 } }],
};

const exact: Readonly<Record<string, Handler>> = {
  "GET /ping": (_state, exchange) => sendText(exchange, 200, "text/plain; charset=utf-8", "pong"),
  "GET /v1/models": (state, exchange) => ok(exchange, { data: state.dialect.models }),
  "POST /v1/images/generations": generation("image"),
  "POST /v1/images/compositions": generation("composition"),
  "POST /v1/videos/generations": generation("video"),
  "POST /v1/chat/completions": chat,
  "POST /v1/async/images/generations": taskSubmission("image"),
  "POST /v1/async/images/compositions": taskSubmission("composition"),
  "POST /v1/async/videos/generations": taskSubmission("video"),
  "GET /v1/async/tasks": (state, exchange) => ok(exchange, state.tasks.list()),
  "GET /v1/async/tasks/stats": (state, exchange) => ok(exchange, state.tasks.stats()),
  "GET /v1/async/stats": (state, exchange) => ok(exchange, state.tasks.stats()),
  "POST /token/check": checkToken,
  "GET /usage/stats": (state, exchange) =>
    ok(exchange, state.usage.stats(exchange.query.get("date") ?? dayOf(Date.now()))),
  "GET /usage/range": (state, exchange) => {
    const today = dayOf(Date.now());
    const { query } = exchange;
    const from = query.get("start_date") ?? query.get("start") ?? today;
    ok(exchange, state.usage.range(from, query.get("end_date") ?? query.get("end") ?? today));
  },
  "GET /usage/export": (state, exchange) => ok(exchange, state.usage.range("0000-01-01", "9999-12-31")),
  "POST /usage/cleanup": (state, exchange) => {
    ok(exchange, { success: true, data: { deleted: state.usage.cleanup(dayOf(Date.now())) } });
  },
};

interface Pattern {
  readonly test: RegExp;
  readonly handle: (state: DemoState, exchange: Exchange, id: string) => void;
}

const patterns: readonly Pattern[] = [
  {
    test: /^GET \/usage\/session\/([^/]+)$/,
    handle: (state, exchange, id) =>
      ok(exchange, state.usage.session(id, exchange.query.get("date") ?? dayOf(Date.now()))),
  },
  {
    test: /^GET \/usage\/session\/([^/]+)\/history$/,
    handle: (state, exchange, id) => ok(exchange, state.usage.history(id)),
  },
  {
    test: /^GET \/v1\/async\/tasks\/([^/]+)\/status$/,
    handle: (state, exchange, id) => ok(exchange, state.tasks.status(id)),
  },
  {
    test: /^GET \/v1\/async\/tasks\/([^/]+)\/result$/,
    handle: (state, exchange, id) => ok(exchange, state.tasks.result(id)),
  },
  {
    test: /^(?:DELETE \/v1\/async\/tasks\/([^/]+)|(?:POST|DELETE) \/v1\/async\/tasks\/([^/]+)\/cancel)$/,
    handle: (state, exchange, id) => ok(exchange, state.tasks.cancel(id)),
  },
];

function isMissing(state: DemoState, path: string): boolean {
  const { hasChat, hasCompositions, hasVideos } = state.dialect;
  return (
    (!hasChat && path.endsWith("/chat/completions")) ||
    (!hasCompositions && path.endsWith("/images/compositions")) ||
    (!hasVideos && path.endsWith("/videos/generations"))
  );
}

export async function answer(state: DemoState, exchange: Exchange): Promise<void> {
  const { path } = exchange;
  if (path.startsWith("/test/")) return echo(state, exchange);
  const method = exchange.method === "HEAD" ? "GET" : exchange.method;
  const label = `${method} ${path}`;
  const handler = isMissing(state, path) ? undefined : exact[label];
  if (handler !== undefined) return handler(state, exchange);
  for (const { test, handle } of patterns) {
    const match = test.exec(label);
    if (match !== null) return handle(state, exchange, decodeURIComponent(match[1] ?? match[2] ?? ""));
  }
  if (label in administration) return ok(exchange, administration[label]);
  if (path.startsWith("/dashboard")) return sendText(exchange, 200, "text/html", "<h1>Dashboard of every session</h1>");
  if (method === "OPTIONS" && state.options.dialect === "mapped") return sendText(exchange, 204, "text/plain", "");
  // The servers parse a body before they look at the route, so broken JSON is named first.
  if (method === "POST" || method === "PUT") await readForm(exchange.request);
  throw new JimengError(-1000, `[请求有误]: 路径 ${label} 不存在`);
}

/** An API beyond the list, whose answer the query shapes: for extra routes and for caches. */
async function echo(state: DemoState, exchange: Exchange): Promise<void> {
  const { request, response, query, method, path } = exchange;
  const body = await readBody(request);
  const delay = Number(query.get("delay") ?? 0);
  if (delay > 0) await sleep(delay);
  const headers: Record<string, string> = {};
  for (const [key, name] of Object.entries({
    cc: "Cache-Control",
    lm: "Last-Modified",
    vary: "Vary",
    expires: "Expires",
  })) {
    const value = query.get(key);
    if (value !== null) headers[name] = value;
  }
  const etag = query.get("etag");
  if (etag !== null) headers["ETag"] = `"${etag}"`;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (etag !== null && request.headers["if-none-match"] === `"${etag}"`) {
    response.writeHead(304).end();
    return;
  }
  const echoed = { backend: state.options.name, method, path, query: query.toString(), headers: request.headers };
  const digest = createHash("sha256").update(body).digest("hex");
  const filling = "x".repeat(Number(query.get("bytes") ?? 0));
  const text = JSON.stringify({ ...echoed, bodyBytes: body.length, bodySha256: digest, filling });
  const status = Number(query.get("status") ?? 200);
  const type = query.get("type") ?? "application/json; charset=utf-8";
  const chunks = Number(query.get("chunks") ?? 1);
  if (chunks <= 1) return sendText(exchange, status, type, text);
  response.writeHead(status, { ...exchange.dialect.headers, "Content-Type": type });
  const size = Math.ceil(text.length / chunks);
  for (let at = 0; at < text.length; at += size) response.write(text.slice(at, at + size));
  response.end();
}
