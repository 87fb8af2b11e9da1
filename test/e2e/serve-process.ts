/** `npm run serve` as a process, in front of stand-ins. */
import { spawn } from "node:child_process";
import type { ChildProcess, StdioOptions } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** Without any of this process's environment, nor the machine's own file of variables. */
export function launchServe(
  args: readonly string[],
  variables: Readonly<Record<string, string>>,
  stdio: StdioOptions,
): ChildProcess {
  return spawn(process.execPath, [join(root, "tools", "serve.ts"), "--env-file", "/dev/null", ...args], {
    cwd: root,
    env: { PATH: process.env["PATH"], ...variables },
    stdio,
  });
}

/** Where it listens, from what it has printed; null until it does. */
export function servedUrl(printed: string): string | null {
  return /listens on (http:\S+)/.exec(printed)?.[1] ?? null;
}

/** Processes that `pid` has started and that still run. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(ids.map((id) => readFile(`/proc/${id}/stat`, "utf8").catch(() => "")));
  return ids.filter((_, index) => stats[index]?.split(") ")[1]?.split(" ")[1] === String(pid)).map(Number);
}
