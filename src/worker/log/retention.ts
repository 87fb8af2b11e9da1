/** The cron trigger's part in the request log: what is too old goes. */
import { edgeOf } from "../edge.ts";
import type { WaitUntil } from "../edge.ts";
import type { Env } from "../env.ts";
import { deleteOld } from "./d1.ts";

/** Where the edge knows no region: the trigger runs anywhere. */
const region = "cron";

/** Never throws: the next minute is another chance. */
export async function sweepLogs(env: Env, waitUntil: WaitUntil): Promise<void> {
  const reading = edgeOf(env);
  if (!reading.ok || env.DB === undefined) return;
  const { edge } = reading;
  try {
    // An operator may have changed LOG.retentionDays at run time.
    await edge.freshen(region, waitUntil, Date.now());
    await deleteOld(env.DB, edge.config.LOG.retentionDays, Date.now());
  } catch (error) {
    edge.warnOncePerMinute("log_retention_failed", error);
  }
}
