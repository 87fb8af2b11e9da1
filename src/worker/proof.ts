/** Proof of life before something expensive is sent. */
import type { PickedBackend } from "../shared/contract.ts";
import { isGatewaysWord } from "../shared/jimeng/answer.ts";
import type { Edge } from "./edge.ts";

/** The servers close a connection that was idle for five seconds, and a ping may be what finds out. */
const tries = 2;

/** Whether the backend answers its health path within `WATCH.pingTimeout`. Anything that its process says will do. */
export async function isAlive(edge: Edge, backend: PickedBackend): Promise<boolean> {
  const { WATCH, HEALTH_CHECK, BACKENDS } = edge.config;
  const path = BACKENDS.find((configured) => configured.name === backend.name)?.healthPath ?? HEALTH_CHECK.path;
  const signal = AbortSignal.timeout(WATCH.pingTimeout * 1000);
  for (let tried = 0; tried < tries && !signal.aborted; tried += 1) {
    try {
      const response = await fetch(backend.url + path, {
        headers: { ...edge.secretHeaders[backend.name], "user-agent": "jimeng-edge-probe" },
        redirect: "manual",
        signal,
      });
      await response.body?.cancel();
      return !isGatewaysWord(response.status);
    } catch {
      // Once more, on a connection of its own.
    }
  }
  return false;
}
