/**
 * Asks backends whether they live. It states what it saw and leaves what follows from it to the health machine.
 */
import type { ModelEntry } from "../shared/contract.ts";
import type { ProbeFact } from "../shared/fleet/fleet.ts";
import { parseModels } from "../shared/jimeng/models.ts";
import { boundedText } from "./bounded-text.ts";

/** A list of models is a few KiB; a server that sends more than this is not believed. */
const modelsBytes = 1_048_576;

const userAgent = "jimeng-edge-probe";

export interface ProbeTarget {
  readonly name: string;
  /** Without a trailing slash. */
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Tries in all before the probe counts as failed. */
  readonly tries: number;
}

/** Between the tries of one probe: long enough for a closed keep-alive connection to be replaced. */
const betweenTriesMs = 200;

export async function probe(target: ProbeTarget): Promise<ProbeFact> {
  let fact = await tryOnce(target);
  for (let tried = 1; !fact.ok && tried < target.tries; tried += 1) {
    await new Promise((resolve) => setTimeout(resolve, betweenTriesMs));
    fact = await tryOnce(target);
  }
  return fact;
}

async function tryOnce(target: ProbeTarget): Promise<ProbeFact> {
  const startedMs = Date.now();
  try {
    const response = await ask(target, target.path);
    await response.body?.cancel();
    const latencyMs = Date.now() - startedMs;
    const proxyFault = response.status >= 520 && response.status <= 530;
    return {
      backend: target.name,
      ok: response.ok,
      reason: response.ok ? "ok" : `http_${response.status}`,
      latencyMs,
      alive: !proxyFault,
    };
  } catch (error) {
    const timedOut = error instanceof DOMException && error.name === "TimeoutError";
    return {
      backend: target.name,
      ok: false,
      reason: timedOut ? "timeout" : "unreachable",
      latencyMs: null,
      alive: false,
    };
  }
}

function ask(target: ProbeTarget, path: string): Promise<Response> {
  return fetch(target.url + path, {
    headers: { ...target.headers, "user-agent": userAgent },
    redirect: "manual",
    signal: AbortSignal.timeout(target.timeoutMs),
  });
}

/** The backend's list of models; null where it has none that can be read. */
export async function readModels(target: ProbeTarget): Promise<readonly ModelEntry[] | null> {
  try {
    const response = await ask(target, "/v1/models");
    if (!response.ok) {
      await response.body?.cancel();
      return null;
    }
    const text = await boundedText(response, modelsBytes);
    return text === null ? null : parseModels(JSON.parse(text));
  } catch {
    return null;
  }
}
