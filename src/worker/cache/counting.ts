/** How an answer was come by, for the counters and the log. */
export const sources = ["hit", "miss", "stale", "collapsed", "bypass"] as const;
export type Source = (typeof sources)[number];
export type CacheCounters = Record<Source, number>;

export function zeroCounters(): CacheCounters {
  return { hit: 0, miss: 0, stale: 0, collapsed: 0, bypass: 0 };
}
