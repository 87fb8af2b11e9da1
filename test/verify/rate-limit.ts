/** The limiter under bursts from one client and from many, and under a flood, through the whole edge. */
import { Agent, get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { startSystem, type EdgeSystem } from "../e2e/edge.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const rounds = 10;
const burstSize = 1000;
const clients = 200;
const requestsEach = 50;
const windowMs = 60_000;
const floodSize = 5000;
const floodSeconds = 5;

function ask(system: EdgeSystem, address: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = get(`${system.url}/ping`, { agent, headers: { "cf-connecting-ip": address } }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode ?? 0));
    });
    request.on("error", reject);
  });
}

function burst(system: EdgeSystem, addresses: readonly string[], connections: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return Promise.all(addresses.map((address) => ask(system, address, agent))).finally(() => agent.destroy());
}

async function bursts(report: VerificationReport): Promise<void> {
  const config = { RATE_LIMIT: { enabled: true } };
  const system = await startSystem({ backends: [{ name: "one" }, { name: "two" }], config });
  try {
    const passed: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const statuses = await burst(system, Array<string>(burstSize).fill(`203.0.113.${round}`), burstSize);
      passed.push(statuses.filter((status) => status === 200).length);
    }
    const claim = `of ${burstSize} concurrent requests of one client exactly 100 pass, in each of ${rounds} rounds`;
    report.check(
      claim,
      passed.every((count) => count === 100),
      `passed: ${passed.join(" ")}`,
    );

    const all = Array.from({ length: clients * requestsEach }, (_, index) => `198.51.100.${index % clients}`);
    const began = performance.now();
    const statuses = await burst(system, all, clients);
    const tookMs = performance.now() - began;
    const tally = Object.entries(Object.groupBy(statuses, String)).map(
      ([status, list]) => `${list?.length} × ${status}`,
    );
    const many = `${clients} clients with ${requestsEach} requests each at once: all pass`;
    report.check(
      many,
      statuses.every((status) => status === 200),
      tally.join(", "),
    );
    // Beyond the window some have left it again.
    if (tookMs < windowMs) {
      const counts = await Promise.all([...new Set(all)].map((address) => countOf(system, address)));
      const right = counts.filter((count) => count === requestsEach).length;
      report.check(
        "and each of them was counted",
        right === clients,
        `${right} of ${clients} clients at ${requestsEach}`,
      );
    } else report.note(`counts not compared: the burst took ${Math.round(tookMs / 1000)} s`);
  } finally {
    await system.stop();
  }
}

async function countOf(system: EdgeSystem, address: string): Promise<number> {
  return ((await (await system.operate(`/api/clients/${address}`)).json()) as { count: number }).count;
}

// ── A flood ──────────────────────────────────────────────────────────────────────────────────────

/** Decisions of the isolate so far; a request of another client makes it tell them. */
async function decisions(system: EdgeSystem): Promise<Record<string, number>> {
  await (await system.get("/ping", { "cf-connecting-ip": "192.0.2.200" })).text();
  await sleep(2000);
  const text = await (await system.operate("/metrics")).text();
  const found = text.matchAll(/^jimeng_edge_limiter_decisions_total\{decision="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, name, count]) => [String(name), Number(count)]));
}

/** At a steady rate, whatever the answers do. */
async function flood(system: EdgeSystem, address: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 100 });
  const answers: Promise<number>[] = [];
  const began = performance.now();
  while (answers.length < floodSize) {
    const due = Math.min(floodSize, ((performance.now() - began) / 1000) * (floodSize / floodSeconds));
    while (answers.length < due) answers.push(ask(system, address, agent));
    await sleep(5);
  }
  return Promise.all(answers).finally(() => agent.destroy());
}

async function underFlood(report: VerificationReport): Promise<void> {
  const config = { RATE_LIMIT: { enabled: true } };
  const system = await startSystem({ backends: [{ name: "one" }, { name: "two" }], config });
  const address = "203.0.113.50";
  try {
    await system.operate("/api/blocks", { method: "POST", body: { client: address, seconds: 300 } });
    await burst(system, [address], 1);
    const before = await decisions(system);
    const began = performance.now();
    const statuses = await flood(system, address);
    const tookS = (performance.now() - began) / 1000;
    const after = await decisions(system);
    const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    const refused = statuses.filter((status) => status === 429).length;
    report.check(
      `a blocked client's ${floodSize} requests in ${floodSeconds} s are all refused`,
      refused === floodSize,
      `${refused} in ${tookS.toFixed(1)} s`,
    );
    const asked = grown("refused") + grown("failed_open");
    report.check(
      "and cost its limiter at most 3 calls a second from this isolate",
      asked <= 3 * tookS,
      `${asked} calls, ${grown("remembered")} from memory`,
    );
    const lifted = await system.operate(`/api/blocks/${address}`, { method: "DELETE" });
    const liftedMs = performance.now();
    let inMs = Number.POSITIVE_INFINITY;
    while (performance.now() - liftedMs < 5000 && inMs === Number.POSITIVE_INFINITY) {
      const [status] = await burst(system, [address], 1);
      if (status === 200) inMs = performance.now() - liftedMs;
      else await sleep(10);
    }
    report.check(
      "an operator's reset works within 1.5 s",
      lifted.status === 200 && inMs <= 1500,
      `${Math.round(inMs)} ms`,
    );
  } finally {
    await system.stop();
  }
}

async function run(report: VerificationReport): Promise<void> {
  await bursts(report);
  await underFlood(report);
}

export default { name: "Rate limit under bursts", run } satisfies Verification;
