/** Who started this process, as /proc tells; nothing is known where the system has none. */
import { readFileSync } from "node:fs";

/** npm comes to its script within seconds, so what has run for longer is not npm, nor the shell that it starts. */
const longestWayS = 20;
/** Of the kernel's times in /proc, the same on every Linux. */
const ticksPerS = 100;

interface Ancestor {
  readonly name: string;
  readonly parent: number;
  readonly startedS: number;
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; the name may hold blanks and brackets. */
function ancestor(pid: number): Ancestor | null {
  try {
    const [, name = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    const fields = rest.split(" ");
    return { name, parent: Number(fields[1]), startedS: Number(fields[19]) / ticksPerS };
  } catch {
    return null;
  }
}

/** Null where the system has no /proc. */
export function parentOf(pid: number): number | null {
  return ancestor(pid)?.parent ?? null;
}

/**
 * Whether npm, or the shell between, ended before we came to look: somebody old has then taken their place. To be asked
 * when this process begins.
 */
export function isOrphanedByNpm(): boolean {
  const own = ancestor(process.pid);
  const parent = ancestor(process.ppid);
  if (own === null || parent === null) return false;
  const isOld = (other: Ancestor): boolean => own.startedS - other.startedS > longestWayS;
  if (isOld(parent)) return true;
  const grandparent = parent.name.endsWith("sh") ? ancestor(parent.parent) : null;
  return grandparent !== null && isOld(grandparent);
}
