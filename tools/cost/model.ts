/** From a mix of requests and a rate to what a million of them cost: pure arithmetic, every assumption a named number. */
import type { Prices } from "./prices.ts";

/** Shares of all requests; they add up to 1. */
export interface Mix {
  readonly name: string;
  /** `GET /ping`, usage counters and the like that no cache answers: one backend, picked from the table. */
  readonly table: number;
  /** Answered from the isolate's memory or the Cache API. */
  readonly hit: number;
  /** Generations and streams: the registry is asked, and told at the end. */
  readonly exact: number;
  /** Refused: of clients that are known to be blocked. */
  readonly blocked: number;
  /** Requests of one blocked client in a second: who is blocked sends many. */
  readonly floodRps: number;
  /** Seconds that a generation runs, for the renewal of its lease. */
  readonly generationS: number;
}

export interface Fleet {
  /** Requests of one client in a second; with the rate it says how many limiters are awake. */
  readonly perClientRps: number;
  /** What an isolate serves before the platform starts another; below it there is one in each data centre with traffic. */
  readonly isolateRps: number;
  readonly dataCentres: number;
  readonly backends: number;
}

export interface Usage {
  /** All per request. */
  readonly workerRequests: number;
  readonly workerCpuMs: number;
  readonly objectRequests: number;
  readonly rowsWritten: number;
  readonly rowsRead: number;
  readonly gbSeconds: number;
}

const objectGb = 0.128;
/** An object stays in memory, and is paid for, this long after its last call. */
const idleS = 10;
/** A limiter writes what it counted once for each stretch of this, and its alarm once for each window. */
const limiterWriteS = 0.9;
const windowS = 60;
/** A report of an isolate, and with it the next table. */
const reportS = 1;
/** Of a client that is blocked an isolate asks once a second, whatever it refuses. */
const blockedAskS = 1;
const renewS = 30;
/** A lease that lived for less than the write-behind was never written; any other is written once and deleted once. */
const leaseWriteS = 1;
/** Rows of a fleet's figures in a minute, for each backend: facts, health, slots of histograms. */
const figuresPerBackend = 12;
const alarmsPerMinute = 6;

/** Milliseconds of CPU, as `npm run bench` measures them on plain workerd, objects included. */
export interface CpuMs {
  readonly table: number;
  readonly hit: number;
  readonly exact: number;
  readonly blocked: number;
}

/**
 * One limiter and one registry: "may I?" of every request, and "who?" and "it is done" of what goes to a backend. Each
 * call stores what it has counted.
 */
export function naiveUsage(mix: Mix, rps: number, fleet: Fleet, cpu: CpuMs): Usage {
  const limiter = 1;
  const registry = 2 * (mix.table + mix.exact);
  return {
    workerRequests: 1,
    workerCpuMs: cpuOf(mix, cpu),
    objectRequests: limiter + registry,
    rowsWritten: limiter + registry,
    rowsRead: limiter + registry,
    gbSeconds: memory(mix, rps, fleet),
  };
}

export function ourUsage(mix: Mix, rps: number, fleet: Fleet, cpu: CpuMs): Usage {
  const isolates = isolatesAt(rps, fleet);
  const admitted = mix.table + mix.hit + mix.exact;
  // A client comes in at one place: one isolate there asks about it once a second.
  const blockedCalls = Math.min(mix.blocked, mix.blocked / (Math.max(mix.floodRps, 1) * blockedAskS));
  const reports = Math.min(1 / reportS, rps / Math.max(1, isolates)) * isolates;
  const renewals = mix.exact * Math.floor(mix.generationS / renewS);
  const counts = admitted * Math.min(1, 1 / (fleet.perClientRps * limiterWriteS));
  const leases = mix.generationS > leaseWriteS ? 2 * mix.exact : 0;
  const windows = Math.min(admitted, clientsAt(mix, rps, fleet) / windowS / rps);
  const figures = (fleet.backends * figuresPerBackend + alarmsPerMinute) / 60 / rps;
  return {
    workerRequests: 1,
    workerCpuMs: cpuOf(mix, cpu),
    objectRequests: admitted + blockedCalls + 2 * mix.exact + renewals + reports / rps,
    rowsWritten: counts + windows + leases + renewals + figures,
    rowsRead: counts,
    gbSeconds: memory(mix, rps, fleet),
  };
}

/** Calls to the one registry in a second: what must stay below the few hundred that one object serves. */
export function registryRps(mix: Mix, rps: number, fleet: Fleet): { readonly naive: number; readonly ours: number } {
  const isolates = isolatesAt(rps, fleet);
  const reports = Math.min(isolates / reportS, rps);
  const renewals = mix.exact * Math.floor(mix.generationS / renewS);
  return { naive: 2 * rps * (mix.table + mix.exact), ours: rps * (2 * mix.exact + renewals) + reports };
}

export function isolatesAt(rps: number, fleet: Fleet): number {
  return Math.max(Math.min(fleet.dataCentres, Math.max(1, rps)), rps / fleet.isolateRps);
}

function cpuOf(mix: Mix, cpu: CpuMs): number {
  return mix.table * cpu.table + mix.hit * cpu.hit + mix.exact * cpu.exact + mix.blocked * cpu.blocked;
}

/** Clients that are admitted. */
function clientsAt(mix: Mix, rps: number, fleet: Fleet): number {
  return Math.max(1, ((1 - mix.blocked) * rps) / fleet.perClientRps);
}

/** Limiters awake, and the registry; a client that comes less often than `idleS` keeps its limiter for that long each time. */
function memory(mix: Mix, rps: number, fleet: Fleet): number {
  const calm = clientsAt(mix, rps, fleet) * Math.min(1, fleet.perClientRps * idleS);
  const flooding = mix.blocked === 0 ? 0 : (mix.blocked * rps) / mix.floodRps;
  return ((calm + flooding + 1) * objectGb) / rps;
}

/** Dollars for a million requests. */
export function dollarsPerM(usage: Usage, prices: Prices): number {
  return (
    usage.workerRequests * prices.workerRequestsPerM +
    usage.workerCpuMs * prices.workerCpuMsPerM +
    usage.objectRequests * prices.objectRequestsPerM +
    usage.rowsWritten * prices.rowsWrittenPerM +
    usage.rowsRead * prices.rowsReadPerM +
    usage.gbSeconds * prices.gbSecondsPerM
  );
}
