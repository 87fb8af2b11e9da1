/** `node tools/cost.ts`: dollars for a million requests, by mix and rate; the tables of docs/cost.md. */
import { parseArgs } from "node:util";
import { isolatesAt, dollarsPerM, naiveUsage, ourUsage, registryRps } from "./cost/model.ts";
import type { Fleet, Mix } from "./cost/model.ts";
import { measuredCpu, mixes, rates, usualFleet } from "./cost/mixes.ts";
import { listPrices } from "./cost/prices.ts";
import type { Prices } from "./cost/prices.ts";

const inputs: Readonly<Record<string, number>> = { ...listPrices, ...usualFleet };

/** Something is divided by these. */
const divisors: ReadonlySet<string> = new Set(["perClientRps", "isolateRps", "dataCentres"] satisfies (keyof Fleet)[]);

function option(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function read(argv: readonly string[]): Record<string, number> {
  const options = Object.fromEntries(Object.keys(inputs).map((name) => [option(name), { type: "string" as const }]));
  const { values } = parseArgs({ args: [...argv], options });
  const chosen: Record<string, number> = { ...inputs };
  for (const name of Object.keys(inputs)) {
    const text = values[option(name)];
    if (text === undefined) continue;
    const value = Number(text);
    const isDivisor = divisors.has(name);
    if (!(isDivisor ? value > 0 : value >= 0) || value === Infinity) {
      const allowed = isDivisor ? "a number above 0" : "a number of at least 0";
      throw new Error(`--${option(name)}: ${allowed}; received ${JSON.stringify(text)}`);
    }
    chosen[name] = value;
  }
  return chosen;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));

/** A row for each mix: at each rate the naive figure and ours. */
function rowsOf(figures: (mix: Mix, rps: number) => readonly [naive: number, ours: number]): string[][] {
  return mixes.map((mix) => [mix.name].concat(rates.map((rps) => figures(mix, rps).map(short).join(" → "))));
}

export function report(argv: readonly string[]): string {
  const given = read(argv);
  const prices = given as unknown as Prices;
  const fleet = given as unknown as Fleet;
  const head = ["naive → ours", ...rates.map((rps) => `${rps.toLocaleString("en")} rps`)];
  const dollars = rowsOf((mix, rps) => [
    dollarsPerM(naiveUsage(mix, rps, fleet, measuredCpu), prices),
    dollarsPerM(ourUsage(mix, rps, fleet, measuredCpu), prices),
  ]);
  const calls = rowsOf((mix, rps) => {
    const { naive, ours } = registryRps(mix, rps, fleet);
    return [naive, ours];
  });
  const isolates = rates.map((rps) => `${Math.round(isolatesAt(rps, fleet))} at ${rps.toLocaleString("en")} rps`);
  return [
    "Dollars for a million requests:",
    table(head, dollars),
    "Calls of the one registry in a second:",
    table(head, calls),
    `Isolates: ${isolates.join(", ")}.`,
  ].join("\n\n");
}

if (import.meta.main) {
  try {
    console.log(report(process.argv.slice(2)));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
