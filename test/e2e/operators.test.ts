/** What an operator sees and does, over real sockets: alerts, logs, metrics, changes, and who is let in. */
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, test } from "vitest";
import { main as testServers } from "../../tools/ip-tester/main.ts";
import { readExposition } from "../shared/metrics/exposition-lint.ts";
import { openRaw, requestBytes } from "./forwarding/raw-client.ts";
import { adminToken, startEdgeBefore, startSystem, type EdgeSystem, type SystemOptions } from "./edge.ts";
import { WebhookReceiver } from "./webhook-receiver.ts";

const quickAlerts = {
  HEALTH_CHECK: { interval: 2, unhealthyInterval: 1, timeout: 1, retries: 1 },
  RATE_LIMIT: { enabled: false },
};
const downAfterS = { backend_down: { for: 1 }, tier_down: { enabled: false } };

const endings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

async function start(options: SystemOptions): Promise<EdgeSystem> {
  const system = await startSystem(options);
  endings.push(() => system.stop());
  return system;
}

async function receiver(): Promise<WebhookReceiver> {
  const started = await WebhookReceiver.start();
  endings.push(() => started.stop());
  return started;
}

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "jimeng-edge-state-"));
  endings.push(() => rm(made, { recursive: true, force: true }));
  return made;
}

async function jsonOf<Value = Record<string, unknown>>(answer: Promise<Response>): Promise<Value> {
  return (await (await answer).json()) as Value;
}

describe("alerts", () => {
  test("of one outage: one message when it begins and one when it ends, with a restart in the middle, to every kind of chat", async () => {
    const hook = await receiver();
    const secret = "a-signing-secret";
    const webhooks = [
      { kind: "json", url: hook.url("/json"), secret },
      { kind: "slack", url: hook.url("/slack") },
      { kind: "feishu", url: hook.url("/feishu"), secret },
      { kind: "dingtalk", url: hook.url("/dingtalk?access_token=t"), secret },
      { kind: "wecom", url: hook.url("/wecom") },
    ];
    const options = {
      config: { ...quickAlerts, ALERTS: { webhooks, rules: downAfterS } },
      stateFolder: await folder(),
    };
    const first = await start({ backends: [{ name: "one" }, { name: "two" }], ...options });
    await first.get("/health");
    await first.backend("two").kill();
    const told = (path: string): number => hook.bodies(path).length;
    const everybody = (count: number): readonly number[] => webhooks.map(() => count);
    const all = (): readonly number[] => ["/json", "/slack", "/feishu", "/dingtalk", "/wecom"].map(told);
    await expect.poll(all, { timeout: 20_000, interval: 100 }).toEqual(everybody(1));
    await first.stopEdge();
    const second = await startEdgeBefore(first.backends, options);
    endings.push(() => second.stopEdge());
    await second.get("/health");
    await sleep(2500);
    expect(all()).toEqual(everybody(1));
    await first.backend("two").restart();
    await expect.poll(all, { timeout: 20_000, interval: 100 }).toEqual(everybody(2));
    await sleep(1500);
    expect(all()).toEqual(everybody(2));
    expect(hook.statuses("/json", "backend_down")).toEqual(["firing", "resolved"]);

    const sent = (path: string) => hook.received.find(({ url }) => url.startsWith(path));
    const json = sent("/json");
    const [, timestamp, signature] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(json?.headers["x-jimeng-edge-signature"])) ?? [];
    expect(signature).toBe(createHmac("sha256", secret).update(`${timestamp}.${json?.body}`).digest("hex"));
    const feishu = hook.bodies("/feishu")[0] as { timestamp: string; sign: string; content: { text: string } };
    expect(feishu.sign).toBe(createHmac("sha256", `${feishu.timestamp}\n${secret}`).digest("base64"));
    expect(feishu.content.text).toContain("后端 two 不可用");
    const dingtalk = new URL(sent("/dingtalk")?.url ?? "", "http://x").searchParams;
    const signed = createHmac("sha256", secret)
      .update(`${dingtalk.get("timestamp")}\n${secret}`)
      .digest("base64");
    expect([dingtalk.get("sign"), dingtalk.get("access_token")]).toEqual([signed, "t"]);
    expect(hook.bodies("/slack")[0]?.["text"]).toContain("backend two is down");
    expect(JSON.stringify(hook.received.map(({ body }) => body))).not.toContain(secret);
  });

  test("wait for a webhook that is down or says no, in their order, and no request waits for them", async () => {
    const hook = await receiver();
    hook.answer = { status: 500, body: "no" };
    const config = {
      ...quickAlerts,
      ALERTS: { webhooks: [{ kind: "json", url: hook.url("/json") }], rules: downAfterS },
    };
    const system = await start({ backends: [{ name: "one" }, { name: "two" }], config });
    await system.get("/health");
    await system.backend("two").kill();
    await expect.poll(() => hook.received.length, { timeout: 20_000, interval: 100 }).toBe(1);
    await system.backend("two").restart();
    let slowestMs = 0;
    for (let sent = 0; sent < 100; sent += 1) {
      const began = performance.now();
      expect((await system.get("/ping")).status).toBe(200);
      slowestMs = Math.max(slowestMs, performance.now() - began);
    }
    expect(slowestMs).toBeLessThan(2000);
    hook.answer = { status: 200, body: "" };
    await expect
      .poll(() => hook.statuses("/json", "backend_down").at(-1), { timeout: 30_000, interval: 200 })
      .toBe("resolved");
    const [, ...taken] = hook.statuses("/json", "backend_down");
    expect(taken).toEqual(["firing", "resolved"]);
  });
});

describe("what is seen", () => {
  test("requests in the log within seconds, page by page; metrics that Prometheus reads; events and state", async () => {
    const system = await start({ backends: [{ name: "one" }, { name: "two" }] });
    for (let sent = 0; sent < 12; sent += 1) await system.get(`/ping?n=${sent}`);
    await system.post("/v1/images/generations", { prompt: "a cat" });
    const logs = async (query: string): Promise<{ logs: Record<string, unknown>[]; cursor: string | null }> =>
      jsonOf(system.operate(`/api/logs?${query}`));
    await expect.poll(async () => (await logs("path=/ping")).logs.length, { timeout: 10_000 }).toBe(12);
    const seen: unknown[] = [];
    let cursor = "";
    for (let page = 0; page < 3; page += 1) {
      const found = await logs(`path=/ping&limit=5&cursor=${encodeURIComponent(cursor)}`);
      seen.push(...found.logs.map(({ url }) => url));
      cursor = found.cursor ?? "";
    }
    expect([new Set(seen).size, cursor]).toEqual([12, ""]);
    expect((await logs("status=2xx&path=/v1/images")).logs[0]).toMatchObject({
      route: "POST /v1/images/generations",
      attempts: 1,
    });

    await expect
      .poll(
        async () => {
          const answer = await system.operate("/metrics");
          expect(answer.headers.get("content-type")).toContain("text/plain; version=0.0.4");
          const families = readExposition(await answer.text());
          const attempts = families.find(({ name }) => name === "jimeng_edge_backend_attempts_total")?.samples ?? [];
          return attempts.reduce((sum, { value }) => sum + value, 0);
        },
        { timeout: 10_000 },
      )
      .toBe(13);
    const { servers } = await jsonOf<{ servers: { requests: number; p50Ms: number | null }[] }>(
      system.operate("/api/ip-preference"),
    );
    expect(servers.reduce((sum, { requests }) => sum + requests, 0)).toBe(13);
  });
});

describe("a stream in the log", () => {
  test("whose client leaves in the middle is there as one that was left", async () => {
    const system = await start({ backends: [{ name: "one", demo: { imageMs: 2000 } }] });
    const leaving = new AbortController();
    const body = { model: "jimeng-4.5", stream: true, messages: [{ role: "user", content: "a cat" }] };
    const answer = await system.post("/v1/chat/completions", body, {}, leaving.signal);
    await answer.body?.getReader().read();
    leaving.abort();
    const logs = async (): Promise<unknown> =>
      (await jsonOf<{ logs: unknown[] }>(system.operate("/api/logs?path=/v1/chat"))).logs;
    await expect.poll(logs, { timeout: 10_000 }).toMatchObject([{ status: 200, outcome: "aborted", attempts: 1 }]);
  });
});

describe("what is changed", () => {
  test("works across the edge within 3 s, fails no request, and is in the ledger with its operator", async () => {
    const system = await start({ backends: [{ name: "one" }, { name: "two" }, { name: "three" }] });
    await system.get("/health");
    const seen: { name: string; status: number; atMs: number }[] = [];
    const over = new AbortController();
    const client = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const answer = await system.get("/ping");
        await answer.text();
        const name = answer.headers.get("x-jimeng-edge-backend") ?? "";
        seen.push({ name, status: answer.status, atMs: Date.now() });
        await sleep(20);
      }
    };
    const clients = [client(), client()];
    await sleep(500);
    const drained = await jsonOf<{ left: number }>(system.operate("/api/backends/one/drain", { method: "POST" }));
    expect(drained.left).toBeGreaterThanOrEqual(0);
    await system.operate("/api/backends/two", { method: "PATCH", body: { weight: 0 } });
    const changedMs = Date.now();
    await sleep(4000);
    over.abort();
    await Promise.all(clients);
    const late = seen.filter(({ atMs }) => atMs > changedMs + 3000);
    expect(new Set(late.map(({ name }) => name))).toEqual(new Set(["three"]));
    expect(new Set(seen.map(({ name }) => name)).size).toBe(3);
    expect(seen.filter(({ status }) => status !== 200)).toEqual([]);
    const { events } = await jsonOf<{ events: { kind: string; actor: string; detail: { from: string } }[] }>(
      system.operate("/api/events?since=0"),
    );
    const acts = events.filter(({ actor }) => actor === "admin");
    expect(acts.map(({ kind, detail }) => [kind, detail.from])).toEqual([
      ["backend_changed", "127.0.0.1"],
      ["backend_drained", "127.0.0.1"],
    ]);
  });

  test("stays over a restart of everything, until the configured value of it changes; then that wins and an event says so", async () => {
    const stateFolder = await folder();
    const backends = [{ name: "one", server: { weight: 3 } }, { name: "two" }];
    const first = await start({ backends, stateFolder });
    const values = { "RATE_LIMIT.requests": 7, "CACHE.ttl.models": 5 };
    await system200(first.operate("/api/config/overrides", { method: "PUT", body: { values } }));
    await system200(first.operate("/api/backends/one", { method: "PATCH", body: { weight: 9 } }));
    await system200(
      first.operate("/api/blocks", { method: "POST", body: { client: "203.0.113.9", seconds: 600 } }),
      201,
    );
    await first.stopEdge();

    const restart = async (config: Readonly<Record<string, unknown>>): Promise<EdgeSystem> => {
      const edge = await startEdgeBefore(first.backends, {
        stateFolder,
        config: { RATE_LIMIT: { enabled: false }, ...config },
      });
      endings.push(() => edge.stopEdge());
      return edge;
    };
    const second = await restart({});
    const shown = await jsonOf<{ values: { CACHE: { ttl: { models: number } } }; origins: Record<string, string> }>(
      second.operate("/api/config"),
    );
    expect([shown.values.CACHE.ttl.models, shown.origins["CACHE.ttl.models"]]).toEqual([5, "override"]);
    const { backends: after } = await jsonOf<{ backends: { name: string; weight: number }[] }>(
      second.operate("/api/backends"),
    );
    expect(after.find(({ name }) => name === "one")?.weight).toBe(9);
    expect((await jsonOf<{ blocks: unknown[] }>(second.operate("/api/blocks"))).blocks).toHaveLength(1);
    await second.stopEdge();

    const third = await restart({ CACHE: { ttl: { models: 30 } } });
    const overrides = await jsonOf<{ overrides: { values: Record<string, unknown> } }>(third.operate("/api/config"));
    expect(overrides.overrides.values).toEqual({ "RATE_LIMIT.requests": 7 });
    await expect
      .poll(
        async () =>
          (await jsonOf<{ events: { subject: string }[] }>(third.operate("/api/events?kind=override_ended"))).events,
      )
      .toMatchObject([{ subject: "CACHE.ttl.models", actor: "system", detail: { value: 5, configuredNow: 30 } }]);
  });
});

describe("the IP tester", () => {
  test("ranks the edge's servers, names the dead one's cause, exits with 1, and --apply changes the weights on the edge", async () => {
    const system = await start({
      backends: [{ name: "dead" }, { name: "slow" }, { name: "quick", server: { healthPath: "/v1/models" } }],
    });
    await system.backend("dead").kill();
    await system.backend("slow").fault({ kind: "delay", ms: 150 });
    let out = "";
    const options = ["--duration", "2", "--interval", "20", "--timeout", "1", "--concurrency", "12"];
    const code = await testServers(["--edge", system.url, "--apply", "--json", ...options], {
      environment: { ADMIN_TOKEN: adminToken },
      variablesFile: "none",
      out: (text) => (out += text),
      err: () => undefined,
      terminal: null,
      signal: new AbortController().signal,
    });
    const { servers } = JSON.parse(out) as {
      servers: { name: string; path: string; suggestedWeight: number; errors: { cause: string }[] }[];
    };
    expect(code).toBe(1);
    expect(servers.map(({ name, path, errors }) => [name, path, errors.map(({ cause }) => cause)])).toEqual([
      ["quick", "/v1/models", []],
      ["slow", "/ping", []],
      ["dead", "/ping", ["refused"]],
    ]);
    const { backends } = await jsonOf<{ backends: { name: string; weight: number }[] }>(
      system.operate("/api/backends"),
    );
    const suggested = servers.map(({ name, suggestedWeight }) => [name, suggestedWeight]);
    expect(Object.fromEntries(backends.map(({ name, weight }) => [name, weight]))).toEqual(
      Object.fromEntries(suggested),
    );
    expect(suggested).toEqual([
      ["quick", 10],
      ["slow", expect.toSatisfy((weight: number) => weight >= 1 && weight < 10)],
      ["dead", 0],
    ]);
  });
});

describe("an assertion of Access", () => {
  interface Team {
    readonly system: EdgeSystem;
    /** The header that a service token of the team's operators sends. */
    headersFor(audience: string): Promise<Record<string, string>>;
  }

  /** `serve` answers a request for the keys, with `send`, when it likes. */
  async function startTeam(serve: (send: () => void) => void): Promise<Team> {
    const { privateKey, publicKey } = await generateKeyPair("RS256");
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "RS256" }] };
    const keyServer = createServer((request, response) => {
      const found = request.url === "/cdn-cgi/access/certs";
      const send = () =>
        void response.writeHead(found ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(jwks));
      serve(send);
    }).listen(0, "127.0.0.1");
    await once(keyServer, "listening");
    endings.push(async () => {
      keyServer.close();
      keyServer.closeAllConnections();
    });
    const issuer = `http://127.0.0.1:${(keyServer.address() as AddressInfo).port}`;
    const ACCESS = JSON.stringify({ teamDomain: issuer, aud: "tag", groups: { operator: ["ops"] } });
    const system = await start({ backends: [{ name: "one" }], variables: { ACCESS } });
    const headersFor = async (audience: string): Promise<Record<string, string>> => {
      const assertion = await new SignJWT({ email: "olga@example.com", groups: ["ops"] })
        .setProtectedHeader({ alg: "RS256", kid: "k" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setExpirationTime("1m")
        .sign(privateKey);
      return { "cf-access-jwt-assertion": assertion };
    };
    return { system, headersFor };
  }

  test("is verified against the keys that the team's own server hands out", async () => {
    const { system, headersFor } = await startTeam((send) => send());
    const drain = async (audience: string): Promise<number> => {
      const init = { method: "POST", headers: await headersFor(audience) };
      return (await fetch(`${system.url}/api/backends/one/drain`, init)).status;
    };
    expect([await drain("another"), await drain("tag")]).toEqual([401, 200]);
  });

  test("is verified though whoever fetched the keys first has left before they came", async () => {
    const held: (() => void)[] = [];
    const { system, headersFor } = await startTeam((send) => void held.push(send));
    const headers = await headersFor("tag");
    const asked = (): number => held.length;

    const leaver = await openRaw(system.port, requestBytes("/api/backends", { headers }));
    await expect.poll(asked, { interval: 10 }).toBe(1);
    const second = system.get("/api/backends", headers);
    const third = system.get("/api/backends", headers);
    // Nobody waits for another's fetch, so nobody hangs when that is torn down with its client.
    await expect.poll(asked, { interval: 10 }).toBe(3);
    leaver.resetAndDestroy();
    await sleep(100);
    for (const send of held) send();
    expect([(await second).status, (await third).status]).toEqual([200, 200]);

    // What they found serves whoever comes next.
    expect((await system.get("/api/backends", headers)).status).toBe(200);
    expect(asked()).toBe(3);
  });
});

async function system200(answer: Promise<Response>, status = 200): Promise<void> {
  const got = await answer;
  expect(`${got.status} ${await got.text()}`).toMatch(new RegExp(`^${status} `));
}
