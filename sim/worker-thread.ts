/** Does what it is sent, one after another, and sends back what came of it. */
import { parentPort } from "node:worker_threads";
import { simulateGlobe } from "./globe.ts";
import type { Task } from "./pool.ts";
import { perform } from "./task.ts";

parentPort?.on("message", (task: Task) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread of Node has no origin
  parentPort?.postMessage(task.kind === "run" ? perform(task.options) : simulateGlobe(task.options));
});
