/** `node demo/backend.ts --dialect mapped --port 9101 --name a`: one stand-in Jimeng server as a process of its own. */
import { parseArgs } from "node:util";
import { DemoBackend } from "./backend-server.ts";
import { dialectNames, type DialectName } from "./dialect.ts";
import { exitWithParent } from "./lifeline.ts";
import { demoDefaults, type DemoOptions } from "./state.ts";

const text = { type: "string" } as const;

function readOptions(): { readonly options: DemoOptions; readonly lifeline: boolean } {
  const { values } = parseArgs({
    options: {
      dialect: text,
      name: text,
      host: text,
      port: text,
      "control-port": text,
      "image-ms": text,
      "video-ms": text,
      "retry-gap-ms": text,
      "dot-ms": text,
      lifeline: { type: "boolean", default: false },
    },
  });
  const number = (given: string | undefined, fallback: number): number =>
    given === undefined ? fallback : Number(given);
  const dialect = values.dialect ?? demoDefaults.dialect;
  if (!dialectNames.some((known) => known === dialect)) {
    throw new Error(`--dialect: one of ${dialectNames.join(", ")}; received ${dialect}`);
  }
  const options: DemoOptions = {
    dialect: dialect as DialectName,
    name: values.name ?? `demo-${dialect}`,
    host: values.host ?? demoDefaults.host,
    port: number(values.port, demoDefaults.port),
    controlPort: number(values["control-port"], demoDefaults.controlPort),
    imageMs: number(values["image-ms"], demoDefaults.imageMs),
    videoMs: number(values["video-ms"], demoDefaults.videoMs),
    retryGapMs: number(values["retry-gap-ms"], demoDefaults.retryGapMs),
    dotMs: number(values["dot-ms"], demoDefaults.dotMs),
  };
  return { options, lifeline: values.lifeline };
}

const { options, lifeline } = readOptions();
const backend = new DemoBackend(options);
const ports = await backend.listen();
console.log(JSON.stringify({ name: options.name, dialect: options.dialect, ...ports }));
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
if (lifeline) exitWithParent(() => process.exit(0));
