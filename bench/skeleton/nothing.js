/** (a) A Worker that does nothing. */
export { Limiter, Registry } from "./objects.js";

export default {
  fetch() {
    return new Response("ok");
  },
};
