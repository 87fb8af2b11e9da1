/** Paid work: what is checked before it, what it makes, and how a marker spoils the way of its answer. */
import { JimengError } from "./dialect.ts";
import { resetConnection, sendJson, sendText, type Exchange, type Form } from "./exchange.ts";
import type { JobKind, Submit } from "./jobs.ts";
import { readBytes, type Markers } from "./markers.ts";
import type { DemoState } from "./state.ts";

export interface Order {
  readonly kind: JobKind;
  readonly route: string;
  readonly prompt: string;
  readonly session: string;
  readonly base64: boolean;
  readonly markers: Markers;
}

/** Sizes belong to OpenAI's interface; these servers know `ratio` and `resolution`. */
const unsupported = ["size", "width", "height"];

/** Picks one of the tokens at random, as the servers do, and takes its region prefix off. */
export function sessionOf(exchange: Exchange): string {
  const header = exchange.request.headers.authorization;
  if (header === undefined) throw new JimengError(-2000, "Params headers.authorization invalid");
  const tokens = header.replace(/^Bearer\s+/i, "").split(",");
  const token = tokens[Math.floor(Math.random() * tokens.length)] ?? "";
  return token.trim().replace(/^(us|hk|jp|sg)-/, "");
}

export function readOrder(state: DemoState, exchange: Exchange, form: Form, kind: JobKind): Order {
  const refused = unsupported.filter((name) => name in form.fields);
  if (refused.length > 0) throw new JimengError(-1000, `不支持的参数: ${refused.join(", ")}`);
  const { prompt } = form.fields;
  if (typeof prompt !== "string") throw new JimengError(-2000, "Params body.prompt invalid");
  const session = sessionOf(exchange);
  if (kind === "composition" && (form.pictures < 1 || form.pictures > 10)) {
    throw new JimengError(-2000, "Params body.images invalid");
  }
  const base64 = form.fields["response_format"] === "b64_json";
  const route = `${exchange.method} ${exchange.path}`;
  return { kind, route, prompt, session, base64, markers: state.markersFor(prompt) };
}

/** How long the order's job takes, in milliseconds. */
export function durationOf(state: DemoState, order: Order): number {
  const { delay } = order.markers;
  if (delay !== undefined) return Number(delay);
  return order.kind === "video" ? state.options.videoMs : state.options.imageMs;
}

/** The error that Jimeng will answer this order with, if any. */
function failureOf(state: DemoState, order: Order): JimengError | null {
  const { code, message } = order.markers;
  if (code !== undefined) return new JimengError(Number(code), message);
  if (order.session.startsWith("dead")) return state.deadToken();
  if (order.session.startsWith("broke")) return new JimengError(-2009);
  return null;
}

/** Runs one order to its end, whoever is still listening. */
export async function perform(state: DemoState, order: Order, opened?: (submit: Submit) => void): Promise<Submit> {
  await state.failWhileUpstreamIsDown();
  const submit = await state.jobs.run(order, durationOf(state, order), failureOf(state, order), opened);
  state.usage.count(order.session, order.kind === "video" ? "video" : "image", Date.now());
  return submit;
}

/** `{created, data}` as the images' and videos' routes answer it. */
export function productOf(state: DemoState, order: Order, submit: Submit): Record<string, unknown> {
  const created = Math.floor(Date.now() / 1000);
  if (order.kind === "video") {
    return { created, data: [{ url: state.pictureUrl(submit.id, 0), revised_prompt: order.prompt }] };
  }
  const numbers = Array.from({ length: pictureCount(order) }, (_, index) => index);
  const size = readBytes(order.markers.b64 ?? "");
  if (order.base64 || size !== null) {
    const text = base64Of(Math.floor((size ?? 4096) / Math.max(1, numbers.length)));
    return { created, data: numbers.map(() => ({ b64_json: text })) };
  }
  return { created, data: numbers.map((index) => ({ url: state.pictureUrl(submit.id, index) })) };
}

export function pictureCount(order: Order): number {
  return order.markers.count === undefined ? 4 : Number(order.markers.count);
}

const base64Texts = new Map<number, string>();

function base64Of(size: number): string {
  const known = base64Texts.get(size) ?? Buffer.alloc(Math.floor((size * 3) / 4), "jimeng").toString("base64");
  base64Texts.set(size, known);
  return known;
}

/** What a marker does before anything is submitted; true when the exchange is over. */
export function spoiledBefore(exchange: Exchange, markers: Markers): boolean {
  if (markers.reset === "before") {
    resetConnection(exchange.request);
    return true;
  }
  if (markers.status !== undefined) {
    sendGatewayPage(exchange, Number(markers.status), markers["retry-after"]);
    return true;
  }
  return false;
}

/** A page of the kind that proxies in front of such servers answer with. */
export function sendGatewayPage(exchange: Exchange, status: number, retryAfter?: string): void {
  if (retryAfter !== undefined) exchange.response.setHeader("Retry-After", retryAfter);
  sendText(exchange, status, "text/html", `<html><body><h1>${status}</h1></body></html>`);
}

/** Watches what becomes of the client of a submitted job, and resets its connection where that is asked for. */
export function follow(exchange: Exchange, markers: Markers): (submit: Submit) => void {
  return (submit) => {
    exchange.response.once("close", () => {
      if (!exchange.response.writableFinished) submit.clientGone = true;
    });
    if (markers.reset === "") resetConnection(exchange.request);
  };
}

/** Sends the answer, unless a marker spoils its way. */
export function deliver(exchange: Exchange, markers: Markers, status: number, value: unknown): void {
  if (markers.silent !== undefined) return;
  if (markers.garbage === "http") {
    exchange.request.socket.end("\u0000\u0001 this is not HTTP\r\n\r\n");
  } else if (markers.garbage !== undefined) {
    sendText(exchange, 200, "application/json; charset=utf-8", '{"created":17954,"data":[{"ur');
  } else if (markers.cut !== undefined) {
    cutInHalf(exchange, status, JSON.stringify(value), markers.cut === "clean");
  } else {
    sendJson(exchange, status, value);
  }
}

/** Half of a chunked answer, then the end of the connection. */
export function cutInHalf(exchange: Exchange, status: number, text: string, clean: boolean): void {
  const { response, dialect, request } = exchange;
  response.writeHead(status, { ...dialect.headers, "Content-Type": "application/json; charset=utf-8" });
  response.write(text.slice(0, Math.ceil(text.length / 2)), () => {
    if (clean) request.socket.end();
    else resetConnection(request);
  });
}
