/**
 * The Worker in a process of its own, one of several: the objects live in another process, and are reached through that
 * one's debug port. An id follows from a class's unique key and a name, so both processes make the same ones.
 */
import { DurableObject } from "cloudflare:workers";
import worker from "./index.js";

export class BackendRegistry extends DurableObject {}
export class RateLimiter extends DurableObject {}
export class OperationsLedger extends DurableObject {}

const classes = {
  BACKEND_REGISTRY: "BackendRegistry",
  RATE_LIMITER: "RateLimiter",
  OPERATIONS_LEDGER: "OperationsLedger",
};

function namespaceAt(env, binding) {
  const ids = env[binding];
  const get = (id) => env.PEER.connect(env.OBJECTS_ADDRESS).getActor("jimeng-edge", classes[binding], id.toString());
  return {
    idFromName: (name) => ids.idFromName(name),
    idFromString: (text) => ids.idFromString(text),
    getByName: (name) => get(ids.idFromName(name)),
    get,
  };
}

/** One for the isolate: what the Worker remembers, it remembers by its environment. */
let known = null;

function environment(env) {
  if (known === null) {
    const { PEER: _peer, OBJECTS_ADDRESS: _address, ...own } = env;
    known = own;
    for (const binding of Object.keys(classes)) known[binding] = namespaceAt(env, binding);
  }
  return known;
}

export default {
  fetch(request, env, ctx) {
    return worker.fetch(request, environment(env), ctx);
  },
};
