/** How long a pick takes, and making a table: printed, not promised, since it is the machine's as much as ours. */
import { createSelectionMemory, select } from "../src/shared/balance/select.ts";
import { policyNames, type PolicyName } from "../src/shared/config/config.ts";
import { emptyMemory, Fleet } from "../src/shared/fleet/fleet.ts";
import { Records } from "../src/shared/fleet/records.ts";
import { seededRng } from "../src/shared/rng.ts";
import { parsePolicy } from "./policies.ts";
import { configFor } from "./run.ts";

const rounds = 5000;
const tableRounds = 200;

export interface Speed {
  readonly what: string;
  readonly fewUs: number;
  readonly hundredUs: number;
}

export function measureSpeed(): Speed[] {
  const picks = policyNames.map((policy) => ({
    what: `pick, ${policy}`,
    fewUs: pickUs(policy, 4),
    hundredUs: pickUs(policy, 100),
  }));
  return [...picks, { what: "making a table", fewUs: tableUs(4), hundredUs: tableUs(100) }];
}

function fleetOf(policy: PolicyName, backends: number): Fleet {
  const names = Array.from({ length: backends }, (_, index) => `s${index + 1}`);
  return new Fleet(configFor(parsePolicy(policy), names), emptyMemory, new Records(), 0);
}

function pickUs(policy: PolicyName, backends: number): number {
  const { backends: members, config } = fleetOf(policy, backends);
  for (const [index, member] of members.entries()) {
    member.inFlight = index % 5;
    member.load = { query: { costMs: 100 + index, atMs: 0 } };
  }
  const memory = createSelectionMemory();
  const now = { nowMs: 1000, rng: seededRng(1) };
  const request = {
    routeClass: "query",
    routeId: "GET /v1/models",
    model: null,
    affinityKey: null,
    edgeRegion: "local",
  } as const;
  return medianUs(rounds, () => select(members, request, config.BALANCE, memory, now));
}

/** With a changed fleet every time, so that none is served again. */
function tableUs(backends: number): number {
  const fleet = fleetOf("weighted-round-robin", backends);
  let nowMs = 0;
  return medianUs(tableRounds, () => {
    nowMs += 1000;
    fleet.probed({ backend: "s1", ok: true, reason: "ok", latencyMs: 1, alive: true }, nowMs);
    fleet.table(nowMs);
  });
}

function medianUs(count: number, work: () => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < count; round += 1) {
    const start = process.hrtime.bigint();
    work();
    times.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  return times.sort((a, b) => a - b)[count >> 1]!;
}

export function speedMarkdown(rows: readonly Speed[]): string {
  return [
    "## Speed",
    "",
    "Microseconds, median, on the machine that wrote this page.",
    "",
    "| | 4 backends | 100 backends |",
    "| --- | --: | --: |",
    ...rows.map(({ what, fewUs, hundredUs }) => `| ${what} | ${fewUs.toFixed(1)} | ${hundredUs.toFixed(1)} |`),
    "",
  ].join("\n");
}
