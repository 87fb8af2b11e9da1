/** What each party has counted of the same requests: the log, the metrics of the edge, the servers. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { TestBackend } from "../edge.ts";
import type { ReadFamily } from "../../shared/metrics/exposition-lint.ts";

/** Counts by name. */
export type Counts = Readonly<Record<string, number>>;

export interface LogBook {
  /** Requests of clients. */
  readonly lines: number;
  readonly refused: number;
  /** By route, as `GET /ping`. */
  readonly requests: Counts;
  /** By route: attempts at servers. */
  readonly attempts: Counts;
  /** Lines of requests that the edge or a server failed. */
  readonly failures: readonly string[];
  /** Lines beside the requests' that warn or tell of an error. */
  readonly complaints: readonly string[];
}

/** Where a client asked for what there is not. */
export const noRoute = "none";

interface LogLine {
  readonly id?: string;
  readonly level?: string;
  readonly url: string;
  readonly route: string | null;
  readonly status: number;
  readonly attempts: number;
}

export async function readLogBook(file: string): Promise<LogBook> {
  const requests: Record<string, number> = {};
  const attempts: Record<string, number> = {};
  const failures: string[] = [];
  const complaints: string[] = [];
  const book = { lines: 0, refused: 0, requests, attempts, failures, complaints };
  for await (const text of createInterface({ input: createReadStream(file) })) {
    const line = text.startsWith("{") ? (JSON.parse(text) as LogLine) : null;
    // What is no JSON comes from the runtime, apart from the line that says where it listens.
    if (line === null) {
      if (!text.startsWith("jimeng-edge listens")) complaints.push(text);
    } else if (line.id === undefined) {
      if (line.level !== "info") complaints.push(text);
    } else if (line.url !== "/metrics") {
      book.lines += 1;
      if (line.status === 429) book.refused += 1;
      if (line.status >= 500) failures.push(text);
      add(requests, line.route ?? noRoute, 1);
      if (line.route !== null) add(attempts, line.route, line.attempts);
    }
  }
  return book;
}

function add(counts: Record<string, number>, name: string, count: number): void {
  counts[name] = (counts[name] ?? 0) + count;
}

export function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** A family's samples, summed by the values of one of their labels. */
export function samplesBy(families: readonly ReadFamily[], name: string, label: string): Counts {
  const sums: Record<string, number> = {};
  for (const { samples } of families) {
    for (const sample of samples) {
      if (sample.name === name) add(sums, sample.labels.get(label) ?? "", sample.value);
    }
  }
  return sums;
}

const taskPath = /^(?<method>\w+) \/v1\/async\/tasks\/[^/]+\/(?<what>\w+)$/;

/** By route, of all servers together: a task's id is no part of its route. */
export async function countsAtBackends(backends: readonly TestBackend[]): Promise<Counts> {
  const sums: Record<string, number> = {};
  for (const counts of await Promise.all(backends.map((backend) => backend.counts()))) {
    for (const [path, count] of Object.entries(counts)) {
      const task = taskPath.exec(path)?.groups;
      add(sums, task === undefined ? path : `${task["method"]} /v1/async/tasks/:id/${task["what"]}`, count);
    }
  }
  return sums;
}
