/**
 * What stays in memory of very many requests, as fast as they are answered, and with the engine's own settings: the soak has
 * those of `npm run serve`, and as many requests as its clients ask for.
 */
import { prepareBundle } from "../../demo/bundle.ts";
import { join } from "node:path";
import { cases } from "../../bench/cases.ts";
import type { Case } from "../../bench/cases.ts";
import { startGenerator } from "../../bench/process.ts";
import { startSystem } from "../../bench/system.ts";
import { residentMiB } from "../e2e/forwarding/observed.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const root = join(import.meta.dirname, "..", "..");
const worker = "product-roomy";
/** Uncached, from memory, and paid: what the ten minutes of the soak are made of, and about as many. */
const mixed = ["table_get", "hit_stats", "exact"] as const;
const rounds = 16;
const requestsEach = 4000;
/** A leak goes on in the second half; what grows before is heaps and pools that find their size. */
const warmRounds = rounds / 2;
const growthAllowed = 0.05;

function caseOf(name: string): Case {
  const found = cases.find((one) => one.name === name);
  if (found === undefined) throw new Error(`the bench has no case ${name}`);
  return found;
}

async function run(report: VerificationReport): Promise<void> {
  const generator = await startGenerator();
  const system = await startSystem(await prepareBundle(root), [worker]);
  const { pid } = system.workers[worker];
  const seenMiB: number[] = [];
  const statuses = new Set<string>();
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const name of mixed) {
        const { shape } = caseOf(name);
        const port = system.portOf(worker);
        const load = { kind: "closed", port, shape, requests: requestsEach, connections: 24 } as const;
        for (const status of Object.keys((await generator.run(load)).statuses)) statuses.add(status);
      }
      seenMiB.push(residentMiB(pid));
    }
  } finally {
    await system.stop();
    generator.stop();
  }
  const growth = (seenMiB.at(-1) as number) / (seenMiB[warmRounds - 1] as number) - 1;
  const perRound = requestsEach * mixed.length;
  report.check(
    "every request was answered with 200",
    statuses.size === 1 && statuses.has("200"),
    [...statuses].join(" "),
  );
  report.check(
    `from ${warmRounds * perRound} requests to ${rounds * perRound}, memory grows by less than 5 %`,
    growth < growthAllowed,
    `${(growth * 100).toFixed(1)} %; MiB after each ${perRound}: ${seenMiB.map((mib) => mib.toFixed(0)).join(" ")}`,
  );
}

export default { name: "Memory of many requests", run } satisfies Verification;
