/** The product as it is built, with the calls to its objects counted where they arrive. The bench reads them at `callsPath`. */
import * as product from "./index.js";

const callsPath = "/__bench/calls";
const calls = { registry: {}, limiter: 0 };

function counted(method) {
  calls.registry[method] = (calls.registry[method] ?? 0) + 1;
}

export class BackendRegistry extends product.BackendRegistry {
  pick(...given) {
    counted("pick");
    return super.pick(...given);
  }
  settle(...given) {
    counted("settle");
    return super.settle(...given);
  }
  renew(...given) {
    counted("renew");
    return super.renew(...given);
  }
  report(...given) {
    counted("report");
    return super.report(...given);
  }
}

export class RateLimiter extends product.RateLimiter {
  admit(...given) {
    calls.limiter += 1;
    return super.admit(...given);
  }
}

export const { OperationsLedger } = product;

export default {
  ...product.default,
  fetch(request, env, ctx) {
    if (request.url.endsWith(callsPath)) return Response.json(calls);
    return product.default.fetch(request, env, ctx);
  },
};
