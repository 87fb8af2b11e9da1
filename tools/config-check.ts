/**
 * `npm run config:check`: reads what the Worker would read – the environment, `.dev.vars`, `[vars]` of wrangler.toml –
 * and says what the Worker would say. Exit code 0 when it would start, 1 when it would answer `configuration_invalid`.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import { defineCommand, runMain } from "citty";
import Table from "cli-table3";
import { readApiKeys } from "../src/shared/api-key.ts";
import type { ConfigFault, Runtime } from "../src/shared/config/config.ts";
import { showConfig } from "../src/shared/config/mask.ts";
import type { ShownConfig } from "../src/shared/config/mask.ts";
import { readConfig } from "../src/shared/config/read.ts";
import { settingPaths, valueAt } from "../src/shared/config/override.ts";
import { variableNames } from "../src/shared/config/source.ts";
import { readOperatorAccess } from "../src/shared/operator-access.ts";

/** Secrets besides, which are checked and never shown. */
const secretNames = ["API_KEYS", "ADMIN_TOKEN", "ADMIN_TOKENS", "ACCESS"] as const;
const names = ["BACKEND_SERVERS", "CONFIG", ...variableNames, ...secretNames] as const;

interface Place {
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

interface Gathered {
  readonly source: Readonly<Record<string, unknown>>;
  /** Setting → the place it was read from. */
  readonly from: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** The first place that has a name wins, as `wrangler dev` has it: a variable of the shell, then the file, then wrangler.toml. */
function gather(places: readonly Place[]): Gathered {
  const source: Record<string, unknown> = {};
  const from: Record<string, string> = {};
  const warnings: string[] = [];
  for (const place of places) {
    for (const name of names) {
      const value = place.values[name];
      if (value === undefined) continue;
      if (Object.hasOwn(source, name))
        warnings.push(`${name}: the one in ${place.name} is not used, ${from[name]} has it too`);
      else [source[name], from[name]] = [value, place.name];
    }
  }
  return { source, from, warnings };
}

interface Given {
  readonly envFile: string | undefined;
  readonly configFile: string;
  readonly environment: string | undefined;
}

async function readPlaces({ envFile, configFile, environment }: Given): Promise<readonly Place[]> {
  const places: Place[] = [{ name: "the environment", values: process.env }];
  const file = envFile ?? ".dev.vars";
  if (existsSync(file)) places.push({ name: file, values: parseEnv(readFileSync(file, "utf8")) });
  else if (envFile !== undefined) throw new Error(`--env-file: there is no file ${envFile}`);
  if (existsSync(configFile))
    places.push({ name: `[vars] of ${configFile}`, values: await wranglerVars(configFile, environment) });
  return places;
}

/** As text: what Cloudflare stores, and what its size is counted in. */
async function wranglerVars(
  configFile: string,
  environment: string | undefined,
): Promise<Readonly<Record<string, string>>> {
  const { experimental_readRawConfig: readRawConfig } = await import("wrangler");
  const raw = readRawConfig({ config: resolve(configFile) }).rawConfig as WranglerFile;
  const vars = environment === undefined ? raw.vars : raw.env?.[environment]?.vars;
  if (environment !== undefined && raw.env?.[environment] === undefined) {
    throw new Error(`--env: ${configFile} has no [env.${environment}]`);
  }
  return Object.fromEntries(
    Object.entries(vars ?? {}).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

interface WranglerFile {
  readonly vars?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, { readonly vars?: Readonly<Record<string, unknown>> }>>;
}

interface Verdict {
  readonly ok: boolean;
  readonly from: Readonly<Record<string, string>>;
  readonly faults: readonly ConfigFault[];
  readonly warnings: readonly string[];
  readonly shown: ShownConfig | null;
}

function judge({ source, from, warnings }: Gathered): Verdict {
  const declared = ["BACKEND_SERVERS", "CONFIG"].filter((name) => from[name]?.startsWith("[vars]"));
  const blocked = declared.map(
    (name) => `${name}: while it is declared in ${from[name]}, \`wrangler secret put ${name}\` is refused`,
  );
  const reading = readConfig(source);
  const keys = readApiKeys(source["API_KEYS"]);
  const faults = [...(reading.ok ? [] : reading.faults), ...(keys.ok ? [] : keys.faults)];
  const closed = accessWarnings(source, reading.ok ? reading.config.RUNTIME : "cloudflare");
  const said = [...(reading.ok ? reading.warnings : []), ...warnings, ...blocked, ...closed];
  const shown = reading.ok && keys.ok ? showConfig(reading.config, source) : null;
  return { ok: faults.length === 0, from, faults, warnings: said, shown };
}

/** A mistake in who may operate closes the operators' API and takes no client's request down. */
function accessWarnings(source: Gathered["source"], runtime: Runtime): readonly string[] {
  return readOperatorAccess(source, runtime).faults.map(
    ({ field, allowed, received }) =>
      `${field}: it takes ${allowed}; received ${received}. Whoever it is for can't use the operators' API`,
  );
}

// ── Printing ─────────────────────────────────────────────────────────────────────────────────────

function print({ ok, from, faults, warnings, shown }: Verdict): void {
  const read = Object.entries(from).map(([name, place]) => `${name} from ${place}`);
  console.log(read.length === 0 ? "Nothing is set." : `Read ${read.join(", ")}.`);
  if (shown !== null) printConfig(shown);
  if (faults.length > 0) {
    console.log(`\n${faults.length} ${faults.length === 1 ? "fault" : "faults"}:`);
    console.log(
      table(
        ["setting", "allowed", "received"],
        faults.map(({ field, allowed, received }) => [field, allowed, received]),
        { colWidths: [32, 60, 34] },
      ),
    );
  }
  for (const warning of warnings) console.log(`warning: ${warning}`);
  console.log(
    ok ? "\nThe configuration is valid." : "\nThe Worker would answer 503 configuration_invalid to every request.",
  );
}

function printConfig({ values, origins }: ShownConfig): void {
  console.log("\nBackends, in the order they are tried:");
  const backends = values.BACKENDS.toSorted((one, other) => one.priority - other.priority);
  const rows = backends.map(({ name, url, priority, region, weight, maxInFlight, headers }) => [
    name,
    url,
    String(priority),
    region,
    String(weight),
    maxInFlight === null ? "no bound" : String(maxInFlight),
    Object.keys(headers)
      .map((header) => `${header}: ***`)
      .join("\n"),
  ]);
  console.log(table(["name", "url", "priority", "region", "weight", "max in flight", "headers"], rows));
  console.log("Settings (times in seconds):");
  console.log(
    table(
      ["setting", "value", "from"],
      settingPaths.map((path) => [path, JSON.stringify(valueAt(values, path)), origins[path] ?? ""]),
      { colWidths: [40, 60, 12], wrapOnWordBoundary: false, style: { compact: true } },
    ),
  );
}

interface Layout {
  readonly colWidths?: number[];
  readonly style?: { readonly compact: boolean };
  readonly wrapOnWordBoundary?: boolean;
}

function table(head: string[], rows: readonly string[][], layout: Layout = {}): string {
  const grid = new Table({ head, wordWrap: true, ...layout, style: { head: [], border: [], ...layout.style } });
  grid.push(...rows);
  return grid.toString();
}

const command = defineCommand({
  meta: { name: "config:check", description: "Checks BACKEND_SERVERS and CONFIG as the Worker would read them." },
  args: {
    "env-file": {
      type: "string",
      description: "file of variables (default: .dev.vars, where there is one)",
      valueHint: "file",
    },
    config: { type: "string", description: "wrangler's configuration", default: "wrangler.toml", valueHint: "file" },
    env: {
      type: "string",
      description: "environment of wrangler's configuration whose [vars] count",
      valueHint: "name",
    },
    json: { type: "boolean", description: "one JSON object on stdout", default: false },
  },
  async run({ args }) {
    const places = await readPlaces({ envFile: args["env-file"], configFile: args.config, environment: args.env });
    const verdict = judge(gather(places));
    const { shown, ...rest } = verdict;
    if (args.json)
      console.log(JSON.stringify({ ...rest, config: shown?.values ?? null, origins: shown?.origins ?? null }, null, 2));
    else print(verdict);
    process.exitCode = verdict.ok ? 0 : 1;
  },
});

await runMain(command);
