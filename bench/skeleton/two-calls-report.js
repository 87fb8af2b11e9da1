/** (e) As (d), and after the answer the registry is told how it went. */
export { Limiter, Registry } from "./objects.js";

export default {
  async fetch(request, env, ctx) {
    const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
    const admission = await limiter.admit(1_000_000);
    if (!admission.ok) return new Response("too many", { status: 429 });
    const { url: origin } = await env.REGISTRY.getByName("main").pick();
    const url = new URL(request.url);
    const startedMs = Date.now();
    const response = await fetch(origin + url.pathname + url.search, request);
    ctx.waitUntil(
      env.REGISTRY.getByName("main").report({ origin, ok: response.ok, latencyMs: Date.now() - startedMs }),
    );
    return response;
  },
};
