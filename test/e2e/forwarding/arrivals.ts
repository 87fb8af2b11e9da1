/** When the events of a stream arrived. */

/** Numbers of the events `data: <number>` and the time each arrived, in order of arrival. */
export async function arrivalsOf(answer: Response): Promise<Map<number, number>> {
  const arrivals = new Map<number, number>();
  const decoder = new TextDecoder();
  let pending = "";
  for await (const bytes of answer.body as unknown as AsyncIterable<Uint8Array>) {
    const atMs = performance.now();
    pending += decoder.decode(bytes, { stream: true });
    const events = pending.split("\n\n");
    pending = events.pop() ?? "";
    for (const event of events) {
      const number = /^data: (\d+)$/.exec(event)?.[1];
      if (number !== undefined) arrivals.set(Number(number), atMs);
    }
  }
  return arrivals;
}

/** Of any number of values; `share` between 0 and 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
