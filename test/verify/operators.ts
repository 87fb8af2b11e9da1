/** What operators do while clients ask: nothing fails, everything works within seconds, and nothing is done by a refused request. */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { adminToken, startSystem, TestBackend, type EdgeSystem } from "../e2e/edge.ts";
import { Isolates, type IsolateOptions } from "../e2e/isolates.ts";
import { WebhookReceiver } from "../e2e/webhook-receiver.ts";
import type { Verification, VerificationReport } from "../verification.ts";
import { clientKeys, operationsOf, requestsTo, targetOf, type Operation } from "../worker/operator/generated.ts";
import { violations, type Schema } from "../worker/operator/json-schema.ts";

const rate = 200;
const changesWithinMs = 3000;
const requestsPerRoute = 1000;

interface Answered {
  readonly status: number;
  readonly backend: string;
  readonly atMs: number;
  readonly tookMs: number;
}

/** Requests at a steady rate, to each isolate in turn, whatever the answers do, until it is ended. */
class Load {
  readonly answered: Answered[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 100 });
  readonly #timer: NodeJS.Timeout;
  #open = 0;

  constructor(urls: readonly string[], address: string, perSecond = rate) {
    const began = performance.now();
    let sent = 0;
    this.#timer = setInterval(() => {
      for (const due = ((performance.now() - began) / 1000) * perSecond; sent < due; sent += 1)
        this.#send(urls[sent % urls.length] ?? "", address);
    }, 5);
  }

  #send(url: string, address: string): void {
    const began = performance.now();
    this.#open += 1;
    const done = (status: number, backend: string): void => {
      this.#open -= 1;
      this.answered.push({ status, backend, atMs: Date.now(), tookMs: performance.now() - began });
    };
    const sending = request(`${url}/ping`, { agent: this.#agent, headers: { "cf-connecting-ip": address } });
    sending.on("response", (answer) => {
      const backend = String(answer.headers["x-jimeng-edge-backend"] ?? "");
      answer.resume().on("end", () => done(answer.statusCode ?? 0, backend));
    });
    sending.on("error", () => done(0, ""));
    sending.end();
  }

  /** Milliseconds from `sinceMs` until the last answer of this kind. */
  lastAfter(sinceMs: number, matches: (answered: Answered) => boolean): number {
    return Math.max(0, ...this.answered.filter(matches).map(({ atMs }) => atMs - sinceMs));
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#open > 0) await sleep(20);
    this.#agent.destroy();
  }
}

function p99(answered: readonly Answered[]): number {
  const times = answered.map(({ tookMs }) => tookMs).sort((one, other) => one - other);
  return times[Math.floor(times.length * 0.99)] ?? 0;
}

const ms = (value: number): string => `${Math.round(value)} ms`;

function checkNoneFailed(report: VerificationReport, claim: string, answered: readonly Answered[]): void {
  const failed = answered.filter(({ status }) => status !== 200);
  report.check(claim, failed.length === 0, `${answered.length} requests, ${failed.length} failed`);
}

function checkWithinNoise(
  report: VerificationReport,
  claim: string,
  calm: readonly Answered[],
  troubled: readonly Answered[],
): void {
  const [usual, now] = [p99(calm), p99(troubled)];
  const within = now <= Math.max(1.5 * usual, usual + 20);
  report.check(claim, within, `${ms(usual)} there, ${ms(now)} here`);
}

// ── Changes under load ───────────────────────────────────────────────────────────────────────────

/** The first hears of a change from the operator, the others from the registry alone. */
const isolates = 3;

interface Fleet {
  readonly edge: Isolates;
  stop(): Promise<void>;
}

async function startFleet(names: readonly string[], options: IsolateOptions): Promise<Fleet> {
  const backends = await Promise.all(names.map((name) => TestBackend.start({ name })));
  const edge = await Isolates.start(backends, options);
  const stop = async (): Promise<void> => {
    await edge.stop();
    await Promise.all(backends.map((backend) => backend.kill()));
  };
  return { edge, stop };
}

async function changesUnderLoad(report: VerificationReport): Promise<void> {
  const { edge, stop } = await startFleet(["one", "two", "three"], { isolates });
  try {
    const load = new Load(edge.urls, "203.0.113.1");
    await sleep(3000);
    const change = async (
      claim: string,
      path: string,
      init: { method: string; body?: unknown },
      gone: string,
    ): Promise<void> => {
      const answer = await edge.operate(path, init);
      const sinceMs = Date.now();
      await sleep(5000);
      const lastMs = load.lastAfter(sinceMs, ({ backend }) => backend === gone);
      report.check(
        `${claim} works in ${isolates} isolates within 3 s under ${rate} rps`,
        answer.ok && lastMs <= changesWithinMs,
        `last request after ${ms(lastMs)}`,
      );
    };
    await change("a drain", "/api/backends/one/drain", { method: "POST" }, "one");
    await change("a weight of 0", "/api/backends/two", { method: "PATCH", body: { weight: 0 } }, "two");
    await edge.operate("/api/backends/one/resume", { method: "POST" });
    await edge.operate("/api/backends/two", { method: "PATCH", body: { weight: 1 } });
    const resumedMs = Date.now();
    await sleep(4000);
    for (const name of ["one", "two"]) {
      const first = load.answered.find(({ backend, atMs }) => backend === name && atMs > resumedMs);
      const tookMs = first === undefined ? Infinity : first.atMs - resumedMs;
      report.check(`${name} takes requests again within 3 s`, tookMs <= changesWithinMs, ms(tookMs));
    }
    await load.end();
    checkNoneFailed(report, "no request fails while servers are drained, weighed and resumed", load.answered);
  } finally {
    await stop();
  }
}

async function resetUnderLoad(report: VerificationReport): Promise<void> {
  const config = { RATE_LIMIT: { requests: 10, window: 60, blockDuration: 300 } };
  const { edge, stop } = await startFleet(["one", "two"], { isolates, config });
  const client = "203.0.113.2";
  try {
    const load = new Load(edge.urls, client);
    await sleep(3000);
    const blocked = load.answered.filter(({ status }) => status === 429).length;
    report.check("a client that asks 200 times a second is blocked", blocked > 0, `${blocked} refusals`);
    // A window that stays open: what is reset must not be blocked again at once, by isolates that refuse everything so far.
    const values = { "RATE_LIMIT.requests": 10_000 };
    await edge.operate("/api/config/overrides", { method: "PUT", body: { values } });
    await sleep(3000);
    const reset = await edge.operate(`/api/blocks/${client}`, { method: "DELETE" });
    const resetMs = Date.now();
    await sleep(4000);
    const lastMs = load.lastAfter(resetMs, ({ status }) => status === 429);
    report.check(
      `a reset lets it in, in ${isolates} isolates, within 3 s under ${rate} rps`,
      reset.ok && lastMs <= changesWithinMs,
      `last refusal after ${ms(lastMs)}`,
    );
    await deniedAndBack(report, edge, load, client);
    await load.end();
    const others = load.answered.filter(({ status }) => ![200, 403, 429].includes(status));
    report.check("no request fails by it", others.length === 0, `${load.answered.length} requests`);
  } finally {
    await stop();
  }
}

/** A mistake that an operator must be able to take back: from then on the isolates see nothing but what they refuse. */
async function deniedAndBack(report: VerificationReport, edge: Isolates, load: Load, client: string): Promise<void> {
  const values = { "RATE_LIMIT.deny": [client] };
  await edge.operate("/api/config/overrides", { method: "PUT", body: { values } });
  const deniedMs = Date.now();
  await sleep(4000);
  const lastServedMs = load.lastAfter(deniedMs, ({ status }) => status === 200);
  report.check("a denial works within 3 s", lastServedMs <= changesWithinMs, `last answer after ${ms(lastServedMs)}`);
  const answer = await edge.operate("/api/config/overrides/RATE_LIMIT.deny", { method: "DELETE" });
  const backMs = Date.now();
  await sleep(4000);
  const lastDeniedMs = load.lastAfter(backMs, ({ status }) => status === 403);
  report.check(
    "taken back, it ends within 3 s, in isolates that have refused everything since",
    answer.ok && lastDeniedMs <= changesWithinMs,
    `last refusal after ${ms(lastDeniedMs)}`,
  );
}

// ── The log's homes and KV in trouble ────────────────────────────────────────────────────────────

/** Longer than a minute, so that a second line may come, and no third. */
const troubledS = 70;
/** So few that two cores bear two edges for that long: a queue that grows would hide what is looked for. */
const troubledRate = 50;

/** Side by side with an edge that is well, so that the machine's own noise meets both. */
async function bindingsInTrouble(report: VerificationReport, trouble: "fails" | "hangs"): Promise<void> {
  const names = ["one", "two"];
  const well = await startFleet(names, { isolates: 1 });
  const ill = await startFleet(names, { isolates: 1, trouble });
  try {
    const [calm, troubled] = [well, ill].map(({ edge }) => new Load(edge.urls, "203.0.113.4", troubledRate)) as [
      Load,
      Load,
    ];
    await sleep(troubledS * 1000);
    await Promise.all([calm.end(), troubled.end()]);
    const what = `D1, KV and Analytics Engine that ${trouble === "fails" ? "are down" : "hang"}`;
    checkNoneFailed(report, `${what} fail no request`, troubled.answered);
    checkWithinNoise(report, `${what} leave the 99th percentile as it is`, calm.answered, troubled.answered);
    const lines = countEvents(ill.edge.log);
    const most = Math.ceil(troubledS / 60);
    for (const event of ["d1_unavailable", "kv_unavailable", "analytics_unavailable"]) {
      // A write to KV that never ends is under way, and says nothing.
      const least = event === "kv_unavailable" && trouble === "hangs" ? 0 : 1;
      const count = lines.get(event) ?? 0;
      report.check(`${event} is one log line a minute`, count >= least && count <= most, `${count} in ${troubledS} s`);
    }
  } finally {
    await Promise.all([well.stop(), ill.stop()]);
  }
}

function countEvents(log: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of log) {
    if (!line.startsWith("{")) continue;
    const { event } = JSON.parse(line) as { event?: string };
    if (event !== undefined) counts.set(event, (counts.get(event) ?? 0) + 1);
  }
  return counts;
}

// ── A webhook in trouble ─────────────────────────────────────────────────────────────────────────

/** A fleet of which one server dies, so that there is something to tell. */
async function startWith(hook: WebhookReceiver): Promise<EdgeSystem> {
  const config = {
    RATE_LIMIT: { enabled: false },
    HEALTH_CHECK: { interval: 2, unhealthyInterval: 1, timeout: 1, retries: 1 },
    ALERTS: { webhooks: [{ kind: "json", url: hook.url("/json") }], rules: { backend_down: { for: 0 } } },
  };
  const system = await startSystem({ backends: [{ name: "one" }, { name: "two" }, { name: "three" }], config });
  await system.get("/health");
  await system.backend("three").kill();
  return system;
}

/** Side by side with one whose webhook answers, so that the machine's own noise meets both. */
async function webhookInTrouble(report: VerificationReport): Promise<void> {
  const [answering, silent] = await Promise.all([WebhookReceiver.start(), WebhookReceiver.start()]);
  silent.answer = "nothing";
  const systems = [await startWith(answering), await startWith(silent)] as const;
  try {
    await sleep(5000);
    const [calm, troubled] = systems.map((system) => new Load([system.url], "203.0.113.3")) as [Load, Load];
    await sleep(15_000);
    await Promise.all([calm.end(), troubled.end()]);
    report.check(
      "the webhook was asked and gave no answer",
      silent.received.length > 0,
      `${silent.received.length} times`,
    );
    checkNoneFailed(report, "a webhook that never answers fails no request", troubled.answered);
    const claim = "and leaves the 99th percentile within noise of an edge beside it whose webhook answers";
    checkWithinNoise(report, claim, calm.answered, troubled.answered);
  } finally {
    await Promise.all(systems.map((system) => system.stop()));
    await Promise.all([answering.stop(), silent.stop()]);
  }
}

// ── Fuzzing ──────────────────────────────────────────────────────────────────────────────────────

/** A block that ends within the run is no lasting change. */
const lastingMs = 200_000;

async function askJson(system: EdgeSystem, path: string): Promise<Record<string, unknown>> {
  return (await (await system.operate(path)).json()) as Record<string, unknown>;
}

/** What a route could change: clients' blocks, or the servers and the configuration. */
function stateFor({ path }: Operation): (system: EdgeSystem) => Promise<string> {
  return path.startsWith("/api/blocks") ? blocksState : fleetState;
}

async function blocksState(system: EdgeSystem): Promise<string> {
  const clients = await Promise.all(
    clientKeys.map((key) => askJson(system, `/api/clients/${encodeURIComponent(key)}`)),
  );
  const blocks = clients.map(({ block }) => block as { sinceMs: number; untilMs: number } | null);
  const lasts = (untilMs: number): boolean => untilMs - Date.now() >= lastingMs;
  return JSON.stringify(blocks.map((block) => (block !== null && lasts(block.untilMs) ? block.sinceMs : null)));
}

async function fleetState(system: EdgeSystem): Promise<string> {
  const { backends } = await askJson(system, "/api/backends");
  const { overrides } = await askJson(system, "/api/config");
  const steady = (backends as Record<string, unknown>[]).map(
    ({ name, url, weight, priority, region, maxInFlight, operatorState }) => [
      name, url, weight, priority, region, maxInFlight, operatorState,
    ],
  ); // prettier-ignore
  return JSON.stringify([steady, overrides]);
}

interface Tally {
  readonly statuses: Map<number, number>;
  readonly problems: string[];
}

async function fuzzOne(system: EdgeSystem, document: Schema, operation: Operation): Promise<Tally> {
  const tally: Tally = { statuses: new Map(), problems: [] };
  const stateOf = stateFor(operation);
  let state = await stateOf(system);
  for (const generated of fc.sample(requestsTo(operation), { numRuns: requestsPerRoute, seed: 7 })) {
    const target = targetOf(operation, generated);
    const answer = await fetch(system.url + target, {
      method: operation.method,
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      ...(generated.body === null ? {} : { body: generated.body }),
    });
    const text = await answer.text();
    tally.statuses.set(answer.status, (tally.statuses.get(answer.status) ?? 0) + 1);
    const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
    const described = operation.responses[String(answer.status)]?.content[type] as { schema: Schema } | undefined;
    const wrong =
      described === undefined
        ? ["not in the document"]
        : violations(described.schema, type === "text/plain" ? text : JSON.parse(text), document);
    if (answer.status >= 500) wrong.push("failed");
    if (operation.role === "operator") {
      const now = await stateOf(system);
      if (!answer.ok && now !== state) wrong.push("was refused and changed something");
      state = now;
    }
    if (wrong.length > 0)
      tally.problems.push(
        `${operation.method} ${target} ${generated.body ?? ""} → ${answer.status}: ${wrong.join("; ")}`,
      );
  }
  return tally;
}

/** A hundred servers that nobody runs would be probed all the time. */
async function removeAdded(system: EdgeSystem): Promise<void> {
  const { backends } = await askJson(system, "/api/backends");
  for (const { name, origin } of backends as { name: string; origin: string }[]) {
    if (origin === "added") await system.operate(`/api/backends/${encodeURIComponent(name)}`, { method: "DELETE" });
  }
}

async function fuzz(report: VerificationReport): Promise<void> {
  const system = await startSystem({ backends: [{ name: "a" }, { name: "b" }, { name: "c" }] });
  try {
    const document = (await (await system.operate("/openapi.json")).json()) as Schema;
    const operations = operationsOf(document);
    for (const operation of operations) {
      const { statuses, problems } = await fuzzOne(system, document, operation);
      await removeAdded(system);
      const shown = [...statuses].sort().map(([status, count]) => `${count}× ${status}`);
      report.check(
        `${operation.method} ${operation.path} answers ${requestsPerRoute} generated requests as its document says`,
        problems.length === 0,
        [shown.join(", "), ...problems.slice(0, 3)].join("; "),
      );
    }
    report.check("all routes were asked", operations.length >= 22, `${operations.length} routes`);
    await system.operate("/api/backends/a/resume", { method: "POST" });
    report.check("the edge goes on", (await system.get("/ping")).ok);
  } finally {
    await system.stop();
  }
}

export default [
  {
    name: "Operators under load",
    async run(report) {
      await changesUnderLoad(report);
      await resetUnderLoad(report);
      await webhookInTrouble(report);
      await bindingsInTrouble(report, "fails");
      await bindingsInTrouble(report, "hangs");
    },
  },
  { name: "Operators' API under fire", run: fuzz },
] satisfies Verification[];
