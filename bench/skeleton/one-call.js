/** (c) Pass-through behind one call of the client's limiter. */
export { Limiter, Registry } from "./objects.js";

export default {
  async fetch(request, env) {
    const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
    const admission = await limiter.admit(1_000_000);
    if (!admission.ok) return new Response("too many", { status: 429 });
    const url = new URL(request.url);
    return fetch(env.ORIGINS.split(" ")[0] + url.pathname + url.search, request);
  },
};
