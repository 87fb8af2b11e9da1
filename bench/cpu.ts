/** What the operating system says a process has used. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Ticks of `/proc/PID/stat` in a second: `USER_HZ`, 100 on every Linux of today. */
const ticksPerS = 100;

/**
 * CPU time of a process and all its threads, in microseconds. `schedstat` counts nanoseconds; where the kernel has none,
 * `stat` counts ticks of 10 ms. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
export function cpuUs(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) throw new Error("the CPU of a process is read from /proc, which only Linux has");
  if (existsSync(`/proc/${pid}/schedstat`)) {
    const ns = readdirSync(tasks).map((task) =>
      Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]),
    );
    return ns.reduce((sum, one) => sum + one, 0) / 1000;
  }
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / ticksPerS;
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}
