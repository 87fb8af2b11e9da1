/** A request as it goes to the backends, and what came of it. */
import type { Outcome } from "../shared/outcome.ts";

/** What goes upstream: the client's own, or what a cache asks on behalf of many. */
export interface Upstream {
  readonly headers: Headers;
  /** Others may get this answer too: it doesn't end with this client, and nothing of this client goes with it. */
  readonly shared: boolean;
  /** A stale answer is at hand: fail at once. */
  readonly standIn: boolean;
}

export interface Produced {
  readonly response: Response;
  readonly verdict: "ok" | "refused" | "failed";
}

export function verdictOf({ kind }: Outcome): Produced["verdict"] {
  if (kind === "success") return "ok";
  return kind === "client_fault" || kind === "token_fault" ? "refused" : "failed";
}
