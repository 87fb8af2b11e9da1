/** The product as it is built, with the calls to its objects counted where they arrive. */
import * as product from "./index.js";

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
  move(...given) {
    counted("move");
    return super.move(...given);
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

/** On a socket of its own, so that no request of the product passes through anything that isn't the product. */
export const Calls = {
  fetch() {
    return Response.json(calls);
  },
};

export default product.default;
