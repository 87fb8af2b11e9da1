/**
 * The least that a generation can be: the three calls of (e), a limiter that writes behind, the JSON read on the way in for
 * its model and on the way out for an error under a 200, and what every request must do.
 */
import { responded, toOrigin, watched, worker } from "./least.js";

export { Limiter } from "./least.js";
export { Registry } from "./objects.js";

const decoder = new TextDecoder();

async function answer(request, env, ctx) {
  const startedMs = Date.now();
  const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
  const admission = await limiter.admit(1_000_000);
  if (!admission.ok) return new Response("too many", { status: 429 });
  const sent = await request.arrayBuffer();
  const { model } = JSON.parse(decoder.decode(sent));
  const { url: origin } = await env.REGISTRY.getByName("main").pick(model);
  const url = new URL(request.url);
  const { signal, release } = watched(request, 1_260_000);
  const headers = toOrigin(request.headers);
  const init = { method: request.method, headers, body: sent, redirect: "manual", signal };
  const sentMs = Date.now();
  const heard = await fetch(origin + url.pathname + url.search, init);
  const bytes = await heard.arrayBuffer();
  release();
  const failed = decoder.decode(bytes).includes('"code"');
  const ok = heard.ok && !failed;
  ctx.waitUntil(env.REGISTRY.getByName("main").report({ origin, ok, latencyMs: Date.now() - sentMs }));
  return responded(request, url.pathname, startedMs, heard, bytes);
}

export default worker(answer);
