/** `POST /v1/chat/completions`: pictures and videos through OpenAI's interface, whole or as server-sent events. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { JimengError, statusOf } from "./dialect.ts";
import { readForm, resetConnection, type Exchange } from "./exchange.ts";
import { deliver, follow, perform, pictureCount, sessionOf, spoiledBefore, type Order } from "./generation.ts";
import type { JobKind, Submit } from "./jobs.ts";
import type { DemoState } from "./state.ts";

/** Tries that a chat without `stream` makes inside the server after the first. */
const innerRetries = 3;
/** From the request to the first chunk: before anything is submitted. */
const firstChunkMs = 5;
/** How long a video's stream sends its dots. */
const dotsForMs = 120_000;

interface ChatOrder extends Order {
  readonly model: string;
}

export async function chat(state: DemoState, exchange: Exchange): Promise<void> {
  const { fields } = await readForm(exchange.request);
  const order = readChat(state, exchange, fields);
  if (spoiledBefore(exchange, order.markers)) return;
  await (fields["stream"] === true ? stream(state, exchange, order) : whole(state, exchange, order));
}

function readChat(state: DemoState, exchange: Exchange, fields: Readonly<Record<string, unknown>>): ChatOrder {
  const { messages } = fields;
  if (!Array.isArray(messages) || messages.length === 0) throw new JimengError(-2000, "Params body.messages invalid");
  const session = sessionOf(exchange);
  const model = typeof fields["model"] === "string" ? fields["model"] : "jimeng-4.5";
  const { prompt, pictures } = lastMessage(messages);
  const route = `${exchange.method} ${exchange.path}`;
  const kind = kindOf(model, pictures);
  return { kind, route, prompt, session, model, base64: false, markers: state.markersFor(prompt) };
}

function kindOf(model: string, pictures: number): JobKind {
  if (model.startsWith("jimeng-video")) return "video";
  return pictures > 0 ? "composition" : "image";
}

function lastMessage(messages: readonly unknown[]): { prompt: string; pictures: number } {
  const content = (messages.at(-1) as { content?: unknown } | null)?.content;
  if (typeof content === "string") return { prompt: content, pictures: 0 };
  if (!Array.isArray(content)) throw new JimengError(-2000, "Params body.messages invalid");
  const parts = content as readonly { type?: unknown; text?: unknown }[];
  const texts = parts.flatMap((part) => (typeof part.text === "string" ? [part.text] : []));
  return { prompt: texts.join("\n"), pictures: parts.filter((part) => part.type === "image_url").length };
}

function lines(state: DemoState, order: ChatOrder, submit: Submit): string[] {
  if (order.kind === "video") return [`![video](${state.pictureUrl(submit.id, 0)})\n`];
  return Array.from(
    { length: pictureCount(order) },
    (_, index) => `![image_${index}](${state.pictureUrl(submit.id, index)})\n`,
  );
}

async function whole(state: DemoState, exchange: Exchange, order: ChatOrder): Promise<void> {
  const answer = await performStubbornly(state, order, follow(exchange, order.markers)).then(
    (submit) => ({ status: 200, value: completion(order, lines(state, order, submit).join("")) }),
    (error: unknown) => {
      if (!(error instanceof JimengError)) throw error;
      const status = statusOf(state.options.dialect, error.code);
      return { status, value: { code: error.code, message: error.message, data: null } };
    },
  );
  deliver(exchange, order.markers, answer.status, answer.value);
}

/** Every failure is tried again inside, so one request may be submitted four times. */
async function performStubbornly(state: DemoState, order: Order, opened: (submit: Submit) => void): Promise<Submit> {
  for (let left = innerRetries; ; left -= 1) {
    try {
      return await perform(state, order, opened);
    } catch (error) {
      if (left === 0) throw error;
      await sleep(state.options.retryGapMs);
    }
  }
}

function completion(order: ChatOrder, content: string): Record<string, unknown> {
  return {
    id: randomUUID(),
    model: order.model,
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    created: Math.floor(Date.now() / 1000),
  };
}

async function stream(state: DemoState, exchange: Exchange, order: ChatOrder): Promise<void> {
  const { response, request } = exchange;
  const { markers } = order;
  if (markers.silent === undefined) {
    response.writeHead(200, {
      ...exchange.dialect.headers,
      "Content-Type": "text/event-stream",
      "Cache-Control": "no-cache",
      Connection: "keep-alive",
    });
  }
  let index = 0;
  const send = (content: string, finish: "stop" | null): void => {
    if (markers.silent !== undefined || response.destroyed) return;
    // The id changes with every chunk and the index climbs: that is how these servers do it.
    const delta = { role: "assistant", content };
    const choices = [{ index: index++, delta, finish_reason: finish }];
    const chunk = { id: randomUUID(), model: order.model, object: "chat.completion.chunk", choices };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  await sleep(firstChunkMs);
  send(order.kind === "video" ? "🎬 视频生成中，请稍候..." : "🎨 图像生成中，请稍候...", null);
  if (markers.garbage !== undefined) response.write("data: {not json\n\n");
  const dots = order.kind === "video" ? startDots(state, () => send(".", null)) : null;
  try {
    const submit = await perform(state, order, follow(exchange, markers));
    if (markers.cut !== undefined) {
      if (markers.cut === "clean") request.socket.end();
      else resetConnection(request);
      return;
    }
    for (const line of lines(state, order, submit)) send(line, null);
    send("生成完成！", "stop");
    if (order.kind === "video") send("", "stop");
  } catch (error) {
    send(`${order.kind === "video" ? "生成视频失败" : "生成图片失败"}: ${(error as Error).message}`, "stop");
  } finally {
    dots?.();
  }
  if (markers.silent === undefined) response.end("data: [DONE]\n\n");
}

function startDots(state: DemoState, send: () => void): () => void {
  const timer = setInterval(send, state.options.dotMs);
  const end = setTimeout(() => clearInterval(timer), dotsForMs);
  return () => {
    clearInterval(timer);
    clearTimeout(end);
  };
}
