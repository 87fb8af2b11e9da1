/** (d) Pass-through behind two calls: the client's limiter, then the one registry. */
export { Limiter, Registry } from "./objects.js";

export default {
  async fetch(request, env) {
    const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
    const admission = await limiter.admit(1_000_000);
    if (!admission.ok) return new Response("too many", { status: 429 });
    const { url: origin } = await env.REGISTRY.getByName("main").pick();
    const url = new URL(request.url);
    return fetch(origin + url.pathname + url.search, request);
  },
};
