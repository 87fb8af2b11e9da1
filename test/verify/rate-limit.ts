/** The limiter under bursts from one client and from many, through the whole edge. */
import { Agent, get } from "node:http";
import { startSystem, type EdgeSystem } from "../e2e/edge.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const rounds = 10;
const burstSize = 1000;
const clients = 200;
const requestsEach = 50;

function burst(system: EdgeSystem, addresses: readonly string[], connections: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const one = (address: string) =>
    new Promise<number>((resolve, reject) => {
      const options = { agent, headers: { "cf-connecting-ip": address } };
      const request = get(`${system.url}/ping`, options, (answer) => {
        answer.resume().on("end", () => resolve(answer.statusCode ?? 0));
      });
      request.on("error", reject);
    });
  return Promise.all(addresses.map(one)).finally(() => agent.destroy());
}

async function run(report: VerificationReport): Promise<void> {
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
    const statuses = await burst(system, all, clients);
    const tally = Object.entries(Object.groupBy(statuses, String)).map(
      ([status, list]) => `${list?.length} × ${status}`,
    );
    const many = `${clients} clients with ${requestsEach} requests each at once: none is refused`;
    report.check(many, !statuses.includes(429), tally.join(", "));
  } finally {
    await system.stop();
  }
}

export default { name: "Rate limit under bursts", run } satisfies Verification;
