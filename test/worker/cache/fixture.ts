/**
 * A Worker that is nothing but the cache step in front of one origin. What the pipeline would decide (rule, generation, time) comes in
 * `x-test-…` request fields, so that a test moves the clock instead of waiting.
 */
import type { EdgeCache, OriginAnswer } from "../../../src/worker/cache.ts";
import { openCache, throughCache, zeroCounters } from "../../../src/worker/cache.ts";
import { openStore } from "../../../src/worker/cache/cache-api.ts";
import { MemoryStore } from "../../../src/worker/cache/store.ts";
import type { CacheRule } from "../../../src/shared/route.ts";

interface Env {
  readonly ORIGIN: string;
}

const patienceMs = 3000;
const caches: Record<string, EdgeCache> = {
  api: openCache({ store: openStore(), patienceMs }),
  /** As another isolate of the same data centre. */
  neighbour: openCache({ store: openStore(), patienceMs }),
  memory: openCache({ store: new MemoryStore(), patienceMs }),
  /** Longer than any test may last: who waits there for another's answer is found out. */
  patient: openCache({ store: new MemoryStore(), patienceMs: 600_000 }),
  impatient: openCache({ store: new MemoryStore(), patienceMs: 100, bodyPatienceMs: 100 }),
};
const counters = zeroCounters();

const settings = {
  enabled: true,
  ttl: { models: 300, stats: 60, health: 30 },
  bypass: ["/bypassed"],
  staleWhileRevalidate: 60,
  staleIfError: 86_400,
};

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/counters") return Response.json(counters);
    const told = (name: string) => request.headers.get(`x-test-${name}`);
    const now = told("now");
    const rule = told("rule") ?? "origin";
    const headers = new Headers(
      [...request.headers].filter(([name]) => !name.startsWith("x-test-") && !name.startsWith("mf-")),
    );
    const target = url.pathname + url.search;
    const body = request.body === null ? null : await request.arrayBuffer();
    const { response, status, source } = await throughCache(
      {
        method: request.method,
        headers,
        hasBody: body !== null,
        host: told("host") ?? url.host,
        target,
        rule: (/^\d+$/.test(rule) ? Number(rule) : rule) as CacheRule,
        generation: told("generation") ?? "0",
        invalidates: told("invalidates") !== "no",
        resourceAt(named) {
          const known = [told("host") ?? url.host, new URL(env.ORIGIN).host].includes(named.host);
          return known ? { target: named.pathname + named.search, generation: told("generation") ?? "0" } : null;
        },
      },
      {
        cache: caches[told("store") ?? "api"] as EdgeCache,
        settings,
        counters,
        waitUntil: (work) => ctx.waitUntil(work),
        nowMs: () => (now === null ? Date.now() : Number(now)),
      },
      (sent, terms) => ask(env.ORIGIN + target, request.method, sent, terms, body),
    );
    const out = new Response(response.body, response);
    out.headers.append("cache-status", status);
    out.headers.set("x-test-source", source);
    return out;
  },
};

async function ask(
  url: string,
  method: string,
  headers: Headers,
  terms: { readonly shared: boolean; readonly standIn: boolean },
  body: ArrayBuffer | null,
): Promise<OriginAnswer> {
  const sent = new Headers(headers);
  sent.set("x-seen-terms", `${terms.shared ? "shared" : "own"}${terms.standIn ? ",stand-in" : ""}`);
  let response: Response;
  try {
    response = await fetch(url, { method, headers: sent, body, redirect: "manual" });
  } catch {
    return { response: new Response("unreachable", { status: 502 }), verdict: "failed" };
  }
  const told = response.headers.get("x-verdict");
  const verdict = response.status >= 500 ? "failed" : response.status >= 400 ? "refused" : "ok";
  return { response, verdict: told === "failed" || told === "refused" ? told : verdict };
}
