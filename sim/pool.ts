/** Many runs on as many threads as the machine has. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { GlobeOptions, GlobeRow } from "./globe.ts";
import type { RunOptions } from "./run.ts";
import type { Outcome } from "./task.ts";

export type Task =
  { readonly kind: "run"; readonly options: RunOptions } | { readonly kind: "globe"; readonly options: GlobeOptions };

/** @returns the outcomes in the order of `runs`. */
export function performRuns(runs: readonly RunOptions[], onDone: (done: number) => void): Promise<Outcome[]> {
  return performAll<Outcome>(
    runs.map((options) => ({ kind: "run", options })),
    onDone,
  );
}

/** @returns the rows in the order of `runs`. */
export function performGlobe(runs: readonly GlobeOptions[]): Promise<GlobeRow[]> {
  return performAll<GlobeRow>(
    runs.map((options) => ({ kind: "globe", options })),
    () => undefined,
  );
}

async function performAll<Result>(tasks: readonly Task[], onDone: (done: number) => void): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  let done = 0;
  const workers = Array.from({ length: Math.min(availableParallelism(), tasks.length) }, () => newWorker());
  const drain = async (worker: Worker): Promise<void> => {
    for (let index = next++; index < tasks.length; index = next++) {
      results[index] = await ask<Result>(worker, tasks[index]!);
      done += 1;
      onDone(done);
    }
  };
  try {
    await Promise.all(workers.map(drain));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
}

function newWorker(): Worker {
  return new Worker(new URL("worker-thread.ts", import.meta.url));
}

function ask<Result>(worker: Worker, task: Task): Promise<Result> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      worker.off("message", onMessage);
      worker.off("error", onError);
    };
    const onMessage = (result: Result): void => {
      settle();
      resolve(result);
    };
    const onError = (error: unknown): void => {
      settle();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    worker.on("message", onMessage);
    worker.on("error", onError);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread of Node has no origin
    worker.postMessage(task);
  });
}
