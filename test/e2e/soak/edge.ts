/** A self-hosted edge as `npm run serve` starts it, its log in a file, as a service's is. */
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { adminToken, serversOf } from "../edge.ts";
import type { TestBackend } from "../edge.ts";
import { becomes } from "../forwarding/observed.ts";
import { childrenOf, launchServe, servedUrl } from "../serve-process.ts";
import { readExposition } from "../../shared/metrics/exposition-lint.ts";
import type { ReadFamily } from "../../shared/metrics/exposition-lint.ts";

export interface SelfHostedEdge {
  readonly port: number;
  /** The one process of workerd: the Worker and all its objects. */
  readonly pid: number;
  readonly logFile: string;
  metrics(): Promise<readonly ReadFamily[]>;
  stop(): Promise<void>;
}

/** Building the Worker is part of it. */
const startPatienceMs = 60_000;

export async function startSelfHosted(
  folder: string,
  backends: readonly TestBackend[],
  config: Readonly<Record<string, unknown>>,
): Promise<SelfHostedEdge> {
  const logFile = join(folder, "edge.log");
  const variables = {
    BACKEND_SERVERS: serversOf(backends),
    ADMIN_TOKEN: adminToken,
    CONFIG: JSON.stringify(config),
  };
  const log = openSync(logFile, "w");
  const child = launchServe(["--port", "0", "--state", join(folder, "state")], variables, ["ignore", log, log]);
  closeSync(log);
  const gone = once(child, "exit");
  const printed = (): Promise<string> => readFile(logFile, "utf8");
  try {
    const isUp = (text: string): boolean => servedUrl(text) !== null || child.exitCode !== null;
    await becomes(printed, isUp, "the edge's output", startPatienceMs);
    const url = servedUrl(await printed());
    if (url === null) throw new Error(`the edge did not start: ${await printed()}`);
    const [pid] = await childrenOf(child.pid as number);
    if (pid === undefined) throw new Error("the edge runs no workerd");
    return {
      port: Number(new URL(url).port),
      pid,
      logFile,
      async metrics() {
        const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } });
        return readExposition(await answer.text());
      },
      async stop() {
        child.kill("SIGTERM");
        await gone;
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}
