/** The one origin of all that is measured: a process of its own that answers at once with small bodies. Sends its ports to its parent. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const stats = JSON.stringify({
  code: 0,
  message: "ok",
  data: { totalRequests: 1234, successRequests: 1200, failedRequests: 34, totalCredits: 4321 },
});
const models = JSON.stringify({
  object: "list",
  data: ["jimeng-4.5", "jimeng-4.1", "jimeng-4.0", "jimeng-3.1", "jimeng-video-3.0", "jimeng-video-3.5-pro"].map(
    (id) => ({ id, object: "model", owned_by: "jimeng-api" }),
  ),
});
const picture = JSON.stringify({ created: 1_790_000_000, data: [{ url: "https://example.com/picture-of-a-cat.png" }] });
const chunk = (content: string): string =>
  `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", model: "jimeng-4.5", choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: null }] })}\n\n`;
const events = [chunk("🎨 …"), chunk("![cat](https://example.com/picture-of-a-cat.png)\n"), "data: [DONE]\n\n"];

const json = { "content-type": "application/json; charset=utf-8" };

function answer(response: ServerResponse, body: string, headers: Record<string, string>): void {
  response.writeHead(200, { ...headers, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function stream(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  for (const event of events) response.write(event);
  response.end();
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url?.split("?")[0] ?? "/";
  request.resume();
  request.once("end", () => {
    if (path === "/ping") answer(response, "pong", { "content-type": "text/plain" });
    else if (path.startsWith("/usage/stats")) answer(response, stats, json);
    else if (path === "/v1/models") answer(response, models, json);
    else if (path === "/v1/chat/completions") stream(response);
    else answer(response, picture, json);
  });
}

/** As many servers as a small fleet has, in one process. */
const serverCount = 3;

async function listen(): Promise<number> {
  const server = createServer(serve);
  server.keepAliveTimeout = 600_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const ports = await Promise.all(Array.from({ length: serverCount }, listen));
process.send?.({ ports });
process.once("disconnect", () => process.exit(0));
