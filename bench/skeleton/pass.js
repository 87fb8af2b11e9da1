/** (b) A bare pass-through. */
export { Limiter, Registry } from "./objects.js";

export default {
  fetch(request, env) {
    const url = new URL(request.url);
    return fetch(env.ORIGINS.split(" ")[0] + url.pathname + url.search, request);
  },
};
