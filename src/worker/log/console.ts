/** One JSON line per request on the console: `wrangler tail` and Workers Logs read it. */
import type { LogEntry, LogSink } from "./entry.ts";

export const consoleSink: LogSink = {
  name: "console",
  write(entry: LogEntry): void {
    console.log(JSON.stringify(entry));
  },
  takeDropped: () => 0,
};
