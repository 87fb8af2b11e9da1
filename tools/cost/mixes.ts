/** Five kinds of days, and how the fleet looks on all of them. */
import type { CpuMs, Fleet, Mix } from "./model.ts";

export const mixes: readonly Mix[] = [
  { name: "pictures", table: 0.1, hit: 0.3, exact: 0.6, blocked: 0, floodRps: 50, generationS: 60 },
  { name: "videos", table: 0.3, hit: 0.3, exact: 0.4, blocked: 0, floodRps: 50, generationS: 600 },
  { name: "a site's page", table: 0.25, hit: 0.7, exact: 0.05, blocked: 0, floodRps: 50, generationS: 60 },
  { name: "monitoring", table: 0.95, hit: 0.05, exact: 0, blocked: 0, floodRps: 50, generationS: 0 },
  { name: "under attack", table: 0.03, hit: 0.05, exact: 0.02, blocked: 0.9, floodRps: 50, generationS: 60 },
];

export const rates = [10, 100, 1_000, 10_000, 100_000] as const;

export const usualFleet: Fleet = { perClientRps: 0.5, isolateRps: 500, dataCentres: 20, backends: 8 };

/** As measured on plain workerd for docs/performance.md, rounded up. */
export const measuredCpu: CpuMs = { table: 0.5, hit: 0.25, exact: 0.8, blocked: 0.12 };
