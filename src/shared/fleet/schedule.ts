/** When a backend is to be probed next. */
import type { HealthCheckConfig, WatchConfig } from "../config/config.ts";
import type { LiveBackend } from "./backend.ts";

const msPerS = 1000;

/** Milliseconds between probes of this backend as it stands: the shortest that any of its situations asks for. */
export function probeIntervalMs(
  backend: LiveBackend,
  leases: number,
  check: HealthCheckConfig,
  watch: WatchConfig,
): number {
  const calm = backend.state === "healthy" || backend.state === "recovering";
  const byHealth = calm ? check.interval : Math.min(check.interval, check.unhealthyInterval);
  return (leases > 0 ? Math.min(byHealth, watch.interval) : byHealth) * msPerS;
}

/** Epoch time of the next probe; null: never (disabled). A backend that was never checked is due at once. */
export function nextProbeMs(
  backend: LiveBackend,
  leases: number,
  check: HealthCheckConfig,
  watch: WatchConfig,
): number | null {
  if (backend.operatorState === "disabled") return null;
  const last = backend.learned.lastCheckMs;
  return last === null ? 0 : last + probeIntervalMs(backend, leases, check, watch);
}
