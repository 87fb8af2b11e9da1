/** One request in the log. No header, no body, no secret: what could hold one is left out or hashed before it comes here. */
import type { OutcomeKind } from "../../shared/outcome.ts";

export interface LogEntry {
  readonly id: string;
  /** RFC 3339, UTC. */
  readonly timestamp: string;
  readonly method: string;
  /** Path and query, secrets removed. */
  readonly url: string;
  readonly route: string | null;
  readonly status: number;
  /** Milliseconds until the answer's headers went out. */
  readonly latency: number;
  readonly client_ip: string | null;
  readonly client_key: string | null;
  readonly api_key: string | null;
  /** The limiter's report mode would have refused it. */
  readonly limit_reported: boolean;
  readonly backend: string | null;
  readonly attempts: number;
  readonly user_agent: string | null;
  readonly cache: string | null;
  readonly outcome: OutcomeKind | "rejected" | "own";
  /** The failure code of an answer of ours, or the reason of the outcome. */
  readonly reason: string | null;
  readonly region: string;
}

/** Somewhere that entries go. `write` never throws and never makes a request wait. */
export interface LogSink {
  readonly name: string;
  write(entry: LogEntry, waitUntil: (work: Promise<unknown>) => void): void;
  /** Entries given up since the last call. */
  takeDropped(): number;
}
