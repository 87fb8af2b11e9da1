/** Sums of what isolates counted. */
import type { EdgeCounters } from "../contract.ts";

export const noCounters: EdgeCounters = {
  requests: 0,
  retries: 0,
  retriesDenied: 0,
  limiter: {},
  cache: {},
  registryCalls: {},
  logsDropped: 0,
};

type Counts = Readonly<Partial<Record<string, number>>>;

function addCounts<C extends Counts>(left: C, right: C): C {
  const sum: Record<string, number> = {};
  for (const counts of [left, right]) {
    for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + (count ?? 0);
  }
  return sum as C;
}

export function addCounters(left: EdgeCounters, right: EdgeCounters): EdgeCounters {
  return {
    requests: left.requests + right.requests,
    retries: left.retries + right.retries,
    retriesDenied: left.retriesDenied + right.retriesDenied,
    limiter: addCounts(left.limiter, right.limiter),
    cache: addCounts(left.cache, right.cache),
    registryCalls: addCounts(left.registryCalls, right.registryCalls),
    logsDropped: left.logsDropped + right.logsDropped,
  };
}
