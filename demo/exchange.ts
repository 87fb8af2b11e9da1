/** One request and its answer, as the routes of a stand-in see them. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { JimengError, type DialectRow } from "./dialect.ts";

/** Above this, multipart is refused (JSON has no bound on these servers). */
const multipartLimit = 100 * 1024 * 1024;

export interface Form {
  readonly fields: Readonly<Record<string, unknown>>;
  /** Pictures given as files, as references in the JSON or as a form's fields. */
  readonly pictures: number;
}

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly dialect: DialectRow;
}

export async function readBody(request: IncomingMessage, limit = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // What is left is read and thrown away: an answer before the end of a body would be lost in a reset.
    if (size <= limit) chunks.push(chunk);
  }
  if (size > limit) throw new JimengError(-2004, `文件超出大小: ${size}`);
  return Buffer.concat(chunks);
}

export async function readForm(request: IncomingMessage): Promise<Form> {
  const type = request.headers["content-type"] ?? "";
  return type.startsWith("multipart/form-data") ? readMultipart(request, type) : readJson(request);
}

async function readJson(request: IncomingMessage): Promise<Form> {
  const text = (await readBody(request)).toString("utf8");
  const fields = text === "" ? {} : parseJson(text);
  const given = fields["images"] ?? fields["file_paths"] ?? fields["filePaths"];
  return { fields, pictures: Array.isArray(given) ? given.length : 0 };
}

function parseJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    throw new JimengError(-1000, `无效的JSON格式: ${(error as Error).message.slice(0, 80)}`);
  }
  throw new JimengError(-1000, "无效的JSON格式: an object is expected");
}

async function readMultipart(request: IncomingMessage, type: string): Promise<Form> {
  const body = await readBody(request, multipartLimit);
  const form = await new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData().catch(() => {
    throw new JimengError(-2000, "Params body invalid: multipart");
  });
  const fields: Record<string, unknown> = {};
  let pictures = 0;
  for (const [name, value] of form) {
    if (typeof value !== "string" || name === "images" || name === "file_paths") pictures += 1;
    if (typeof value === "string") fields[name] = /^\d+$/.test(value) ? Number(value) : value;
  }
  return { fields, pictures };
}

export function sendJson(exchange: Exchange, status: number, value: unknown): void {
  sendText(exchange, status, "application/json; charset=utf-8", JSON.stringify(value));
}

export function sendText(exchange: Exchange, status: number, type: string, text: string): void {
  const { response, dialect } = exchange;
  if (response.destroyed || response.writableEnded) return;
  const length = Buffer.byteLength(text);
  response.writeHead(status, { ...dialect.headers, "Content-Type": type, "Content-Length": length });
  response.end(exchange.method === "HEAD" ? undefined : text);
}

/** RST, not FIN: what the other side sees when a process dies or a middlebox drops a flow. */
export function resetConnection(request: IncomingMessage): void {
  request.socket.resetAndDestroy();
}
