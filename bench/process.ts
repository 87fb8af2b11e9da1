/** The origin and the generator: processes of Node that end with this one. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Load, LoadResult } from "./load/load.ts";

function start(file: string): ChildProcess {
  return fork(join(import.meta.dirname, file), { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
}

export interface Origin {
  readonly ports: readonly number[];
  stop(): void;
}

export async function startOrigin(): Promise<Origin> {
  const child = start("origin.ts");
  const [message] = (await once(child, "message")) as [{ ports: number[] }];
  return { ports: message.ports, stop: () => void (child.connected && child.disconnect()) };
}

export interface Generator {
  run(load: Load): Promise<LoadResult>;
  stop(): void;
}

export async function startGenerator(): Promise<Generator> {
  const child = start(join("load", "generator.ts"));
  await once(child, "message");
  return {
    async run(load) {
      child.send(load);
      const [answer] = (await once(child, "message")) as [{ result: LoadResult } | { error: string }];
      if ("error" in answer) throw new Error(`the load generator: ${answer.error}`);
      return answer.result;
    },
    stop: () => void (child.connected && child.disconnect()),
  };
}
