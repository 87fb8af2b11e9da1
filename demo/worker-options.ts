/** `node demo/worker-options.ts wrangler.toml`: the Worker's bindings as Miniflare wants them, as JSON on stdout. */
import { unstable_getMiniflareWorkerOptions as readWorkerOptions } from "wrangler";

const [configPath] = process.argv.slice(2);
if (configPath === undefined) throw new Error("the path of wrangler.toml is missing");
const { workerOptions } = readWorkerOptions(configPath);
// Variables are the start's business: what was in a `.dev.vars` must not be kept in a file.
process.stdout.write(JSON.stringify({ ...workerOptions, bindings: {} }));
