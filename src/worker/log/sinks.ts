/** Where log entries go: what is bound, and what the configuration wants. */
import type { Config } from "../../shared/config/config.ts";
import type { Env } from "../env.ts";
import { AnalyticsSink } from "./analytics.ts";
import { consoleSink } from "./console.ts";
import { D1Sink } from "./d1.ts";
import type { LogSink } from "./entry.ts";

export function openSinks(env: Env, warn: (event: string, error: unknown) => void): readonly LogSink[] {
  const sinks: LogSink[] = [consoleSink];
  if (env.DB !== undefined) sinks.push(new D1Sink(env.DB, warn));
  if (env.ANALYTICS !== undefined) sinks.push(new AnalyticsSink(env.ANALYTICS, warn));
  return sinks;
}

export function isWanted(sink: LogSink, { LOG }: Config): boolean {
  return sink !== consoleSink || LOG.console;
}
