/** Before any file of a project runs: the Worker is bundled once, and each start finds it by its content. */
import { join } from "node:path";
import { prepareBundle } from "../../demo/bundle.ts";

export async function setup(): Promise<void> {
  await prepareBundle(join(import.meta.dirname, "..", ".."));
}
