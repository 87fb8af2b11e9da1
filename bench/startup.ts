/** What a start costs: the CPU that a process of workerd has used when it listens, with the bundle and with a Worker that does nothing. */
import { cpuUs } from "./cpu.ts";
import { spreadOf } from "./figures.ts";
import { startSystem } from "./system.ts";

export interface Startup {
  /** Medians, in milliseconds of CPU. */
  readonly productMs: number;
  readonly nothingMs: number;
}

const starts = 5;

export async function startups(bundle: string): Promise<Startup> {
  const product: number[] = [];
  const nothing: number[] = [];
  for (let made = 0; made < starts; made += 1) {
    const system = await startSystem(bundle, ["nothing", "product"]);
    product.push(cpuUs(system.workers.product.pid) / 1000);
    nothing.push(cpuUs(system.workers.nothing.pid) / 1000);
    await system.stop();
  }
  return { productMs: spreadOf(product).median, nothingMs: spreadOf(nothing).median };
}
