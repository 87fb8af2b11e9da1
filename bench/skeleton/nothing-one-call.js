/** (a) behind one call of the client's limiter: the least that an answer from memory can cost where clients are counted. */
export { Limiter, Registry } from "./objects.js";

export default {
  async fetch(request, env) {
    const limiter = env.LIMITER.getByName(request.headers.get("cf-connecting-ip") ?? "nobody");
    const admission = await limiter.admit(1_000_000);
    return admission.ok ? new Response("ok") : new Response("too many", { status: 429 });
  },
};
