/** Where the demo's servers listen: the same ports again for the same `PORT`, so that stored state stays meaningful. */
import { createServer } from "node:net";

/** Below the range that systems hand out for outgoing connections (Linux: from 32768). */
const lowest = 10_000;
const span = 21_999;

/** Three ports in a row for an edge on `edgePort`; those of neighbouring edges don't overlap. */
export function preferredPorts(edgePort: number, count: number): number[] {
  const first = lowest + ((edgePort * count) % span);
  return Array.from({ length: count }, (_, index) => first + index);
}

/** The port itself if it is free, else 0: any free one. */
export async function freeOrAny(port: number): Promise<number> {
  return (await isFree(port)) ? port : 0;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}
