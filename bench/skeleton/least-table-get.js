/** The least that a table GET can be: one call to a limiter that writes behind, and what every request must do. */
import { responded, toOrigin, watched, worker } from "./least.js";

export { Limiter } from "./least.js";
export { Registry } from "./objects.js";

async function answer(request, env) {
  const startedMs = Date.now();
  const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
  const admission = await limiter.admit(1_000_000);
  if (!admission.ok) return new Response("too many", { status: 429 });
  const url = new URL(request.url);
  const { signal, release } = watched(request, 3000);
  const init = { method: request.method, headers: toOrigin(request.headers), redirect: "manual", signal };
  const heard = await fetch(env.ORIGINS.split(" ")[0] + url.pathname + url.search, init);
  release();
  return responded(request, url.pathname, startedMs, heard, heard.body);
}

export default worker(answer);
