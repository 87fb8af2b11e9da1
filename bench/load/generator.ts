/** The load generator's process: takes a `Load` as a message, answers with a `LoadResult`. */
import { Connection } from "./connection.ts";
import { encodeRequests } from "./load.ts";
import type { ClosedLoop, Load, LoadResult, OpenLoop } from "./load.ts";

/** Connections of an open loop; what is due beyond them waits here, and its latency counts from when it was due. */
const mostConnections = 256;

class Run {
  readonly startedMs = performance.now();
  readonly #cpu = process.cpuUsage();
  readonly latenciesMs: number[] = [];
  readonly statuses: Record<number, number> = {};
  readonly connections: Connection[] = [];

  answered(status: number, dueMs: number): void {
    this.latenciesMs.push(performance.now() - dueMs);
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
  }

  result(): LoadResult {
    const { user, system } = process.cpuUsage(this.#cpu);
    for (const connection of this.connections) connection.close();
    return {
      elapsedMs: performance.now() - this.startedMs,
      statuses: this.statuses,
      latenciesMs: this.latenciesMs.sort((a, b) => a - b),
      ownCpuUs: (user + system) / Math.max(1, this.latenciesMs.length),
    };
  }
}

function closed(load: ClosedLoop): Promise<LoadResult> {
  const run = new Run();
  const requests = encodeRequests(load.shape, load.port);
  let sent = 0;
  return new Promise((resolve, reject) => {
    const next = (connection: Connection): void => {
      if (sent === load.requests) {
        if (run.latenciesMs.length === load.requests) resolve(run.result());
        return;
      }
      const request = requests[sent % requests.length] as Buffer;
      sent += 1;
      const sentMs = performance.now();
      connection.send(request, (status) => {
        run.answered(status, sentMs);
        next(connection);
      });
    };
    for (let made = 0; made < load.connections; made += 1) {
      const connection = new Connection(load.port, reject);
      run.connections.push(connection);
      next(connection);
    }
  });
}

function open(load: OpenLoop): Promise<LoadResult> {
  const run = new Run();
  const requests = encodeRequests(load.shape, load.port);
  const gapMs = 1000 / load.rate;
  const idle: Connection[] = [];
  /** When requests were due that no connection is free for. */
  const waiting: number[] = [];
  let sent = 0;
  return new Promise((resolve, reject) => {
    const sendDue = (connection: Connection, dueMs: number): void => {
      const request = requests[sent % requests.length] as Buffer;
      sent += 1;
      connection.send(request, (status) => {
        run.answered(status, dueMs);
        if (run.latenciesMs.length === load.requests) return resolve(run.result());
        const next = waiting.shift();
        if (next === undefined) idle.push(connection);
        else sendDue(connection, next);
      });
    };
    const free = (): Connection | null => {
      const known = idle.pop();
      if (known !== undefined) return known;
      if (run.connections.length >= mostConnections) return null;
      const connection = new Connection(load.port, reject);
      run.connections.push(connection);
      return connection;
    };
    let due = 0;
    const dueMs = (): number => run.startedMs + due * gapMs;
    const take = (): void => {
      const connection = free();
      if (connection === null) waiting.push(dueMs());
      else sendDue(connection, dueMs());
      due += 1;
    };
    const tick = (): void => {
      while (due < load.requests && dueMs() <= performance.now()) take();
      if (due >= load.requests) return;
      // A timer is late by up to a millisecond; the last stretch is spent looking at the clock again and again.
      const leftMs = dueMs() - performance.now();
      if (leftMs > 1.5) setTimeout(tick, leftMs - 1);
      else setImmediate(tick);
    };
    tick();
  });
}

process.on("message", (load: Load) => {
  (load.kind === "closed" ? closed(load) : open(load)).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.once("disconnect", () => process.exit(0));
process.send?.({ ready: true });
