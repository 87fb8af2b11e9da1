/** The balance in full: every promise of the simulation with five seeds, and a million random events of each kind. */
import { judgeClaims } from "../../sim/report.ts";
import { playRandomEvents } from "../conformance/random-events.ts";
import { playFleet } from "../shared/fleet/random-events.ts";
import { checkRandomEvents } from "../shared/health/random-events.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const events = 1_000_000;

function drawSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

async function promises(report: VerificationReport): Promise<void> {
  const short = (value: number): string => String(Number(value.toPrecision(3)));
  for (const { claim, values, held } of await judgeClaims()) {
    report.check(`${claim.text}: ${claim.holds} ${claim.bound}`, held, values.map(short).join(" "));
  }
}

async function randomEvents(report: VerificationReport): Promise<void> {
  const [forPicks, forFleet, forHealth] = [drawSeed(), drawSeed(), drawSeed()];
  const picks = playRandomEvents(events, forPicks);
  const about = `${picks.picks} picks, ${picks.refusals} refusals, seed ${forPicks}`;
  report.check(`a pick keeps its rules through ${events} random events, whatever the policy`, true, about);
  const { restarts, trials, ...told } = playFleet(events, forFleet);
  const moves = `${told.moves} failovers that found room, ${told.stranded} that found none`;
  const lives = `${told.picks} picks, ${told.refusals} refusals, ${moves}, ${trials} trials, ${restarts} restarts, seed ${forFleet}`;
  report.check(
    `a fleet keeps its leases, within every maxInFlight, its health and its table through ${events} random events`,
    true,
    lives,
  );
  checkRandomEvents(events, 200, undefined, forHealth);
  report.check(`health keeps every invariant through ${events} random events`, true, `seed ${forHealth}`);
}

export default [
  { name: "The balance: promises of the simulation", run: promises },
  { name: "The balance: a million random events", run: randomEvents },
] satisfies Verification[];
