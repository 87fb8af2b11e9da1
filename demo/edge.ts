/**
 * The edge as a process of its own, leader of its process group. Its options come as the first line on stdin (so no secret
 * shows in a list of processes); the end of stdin means that whoever started it is gone, and ends it.
 */
import { createInterface } from "node:readline";
import { EdgeHost, type EdgeOptions } from "./edge-host.ts";

/** A stop that hangs is ended with everything that this process started. */
const stopPatienceMs = 5000;

let host: EdgeHost | null = null;
let stopping = false;

async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => endGroup(), stopPatienceMs).unref();
  await host?.stop();
  process.exit(code);
}

/** SIGKILL to the group: workerd and this process. Only a group of our own may be ended. */
function endGroup(): void {
  process.kill(-process.pid, "SIGKILL");
}

process.on("uncaughtException", (error) => {
  console.error(error);
  endGroup();
});

const lines = createInterface({ input: process.stdin });
lines.on("close", () => void stop(0));
for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => void stop(0));

lines.once("line", (line) => {
  EdgeHost.start(JSON.parse(line) as EdgeOptions).then(
    (started) => {
      host = started;
      console.log(JSON.stringify({ port: started.port }));
    },
    (error: unknown) => {
      console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
      void stop(1);
    },
  );
});
