/**
 * What a request of the product must do whatever it decides: its client's limiter writes behind, headers of one connection
 * stay behind both ways, the client is watched and the time bounded, and a line is logged. Nothing here decides anything.
 */
import { Limiter as Counter } from "./objects.js";

const writeBehindMs = 900;

export class Limiter extends Counter {
  #write = null;

  admit(limit) {
    if (this.#write === null) this.#write = setTimeout(() => this.#store(), writeBehindMs);
    return super.admit(limit);
  }

  #store() {
    this.#write = null;
    this.ctx.storage.kv.put("client", { times: new Uint8Array(64), alarmMs: Date.now() });
  }
}

const notForwarded =
  "connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate proxy-authorization proxy-authentication-info expect host cf-connecting-ip cf-connecting-ipv6 cf-ipcountry cf-ray cf-visitor cf-worker cf-ew-via cdn-loop x-real-ip forwarded x-forwarded-for x-forwarded-host x-forwarded-proto cf-access-jwt-assertion".split(
    " ",
  );
const notPassed =
  "connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate proxy-authorization proxy-authentication-info ratelimit ratelimit-policy access-control-allow-origin access-control-allow-credentials access-control-allow-methods access-control-allow-headers access-control-expose-headers access-control-max-age".split(
    " ",
  );

export function toOrigin(client) {
  const headers = new Headers(client);
  for (const name of notForwarded) headers.delete(name);
  headers.set("x-forwarded-for", client.get("cf-connecting-ip") ?? "");
  headers.set("x-forwarded-host", "edge");
  headers.set("x-forwarded-proto", "http");
  headers.append("via", "1.1 edge");
  return headers;
}

function toClient(headers, id) {
  for (const name of notPassed) headers.delete(name);
  headers.append("via", "1.1 edge");
  headers.set("x-request-id", id);
  headers.set("vary", "Origin");
  headers.set("access-control-allow-origin", "*");
  headers.set("ratelimit-policy", '"default";q=100;w=60');
  headers.set("ratelimit", '"default";r=99;t=60');
  headers.append("cache-status", "edge; fwd=bypass");
  headers.set("server-timing", "edge;dur=1");
}

/** What ends an attempt: its time, or that the client has left. `release` ends the watch. */
export function watched(request, ms) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ms);
  const left = () => controller.abort();
  request.signal.addEventListener("abort", left, { once: true });
  const release = () => {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", left);
  };
  return { signal: controller.signal, release };
}

/** The answer as it goes to the client, and its line in the log. */
export function responded(request, path, startedMs, heard, body) {
  const response = new Response(body, { status: heard.status, headers: heard.headers });
  const id = crypto.randomUUID();
  toClient(response.headers, id);
  log(request, path, id, startedMs, response.status);
  return response;
}

/** A Worker of this answer, which comes to its end though its client leaves. */
export function worker(answer) {
  return {
    fetch(request, env, ctx) {
      const answered = answer(request, env, ctx);
      ctx.waitUntil(answered);
      return answered;
    },
  };
}

function log(request, path, id, startedMs, status) {
  console.log(
    JSON.stringify({
      id,
      timestamp: new Date(startedMs).toISOString(),
      method: request.method,
      url: path,
      status,
      latency: Date.now() - startedMs,
      client_ip: request.headers.get("cf-connecting-ip"),
      backend: "origin-1",
      attempts: 1,
      user_agent: request.headers.get("user-agent"),
      outcome: "success",
    }),
  );
}
