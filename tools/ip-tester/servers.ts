/**
 * Where the list of servers comes from: arguments, a file, the running edge, or what the edge itself would read
 * (`BACKEND_SERVERS` in the environment or in `.dev.vars`). Whatever the place, the edge's own reading judges it.
 */
import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { readConfig } from "../../src/shared/config/read.ts";
import type { Config } from "../../src/shared/config/config.ts";
import type { EdgeTarget } from "./edge.ts";
import type { Target } from "./probe.ts";
import { UsageError } from "../flags.ts";

export interface ServerSources {
  readonly urls: readonly string[];
  readonly file: string | null;
  readonly edge: readonly EdgeTarget[] | null;
  /** The process's environment over the values of `.dev.vars`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** null: each server's own health path. */
  readonly path: string | null;
}

/** The first place that names any: arguments and file together, else the edge, else the environment. Null: none does. */
export async function listServers(sources: ServerSources): Promise<Target[] | null> {
  const listed: unknown[] = sources.urls.map(entryOf);
  if (sources.file !== null) listed.push(...(await readServerFile(sources.file)));
  if (listed.length > 0) return targetsOf(judgeListed(listed), sources.path);
  if (sources.edge !== null) return sources.edge.length === 0 ? null : targetsOfEdge(sources.edge, sources);
  const { BACKEND_SERVERS, CONFIG } = sources.environment;
  if (BACKEND_SERVERS === undefined || BACKEND_SERVERS.trim() === "") return null;
  const config = judge({ BACKEND_SERVERS, CONFIG }, (field) => field);
  return targetsOf(config, sources.path);
}

/** The edge shows no header's value: those that the same servers have in the environment are sent. */
function targetsOfEdge(edge: readonly EdgeTarget[], { environment, path }: ServerSources): Target[] {
  const config = judgeListed(edge.map(({ name, url, path: healthPath }) => ({ name, url, healthPath })));
  const { BACKEND_SERVERS } = environment;
  const here = readConfig({ BACKEND_SERVERS, RUNTIME: "local" });
  const known = new Map(here.ok ? here.config.BACKENDS.map(({ url, headers }) => [url, headers]) : []);
  return targetsOf(config, path).map((target) => ({ ...target, headers: known.get(target.url) ?? {} }));
}

/** Servers that the edge asks with headers which are not known here: what they answer without says nothing about them. */
export function askedWithout(edge: readonly EdgeTarget[], targets: readonly Target[]): readonly string[] {
  return targets
    .filter(({ url, headers }) => {
      const wanted = edge.find((server) => server.url === url)?.headerNames ?? [];
      const sent = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
      return wanted.some((name) => !sent.has(name.toLowerCase()));
    })
    .map(({ name }) => name);
}

/** The environment, filled up from a file of `NAME=value` lines; a file that isn't there adds nothing. */
export async function readEnvironment(
  file: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Record<string, string | undefined>> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });
  return { ...parseEnv(text), ...environment };
}

/** `https://host`, or `name=https://host`. */
function entryOf(text: string): { url: string; name?: string } {
  const named = /^([\w.-]+)=(.+)$/.exec(text);
  return named?.[1] === undefined || named[2] === undefined ? { url: text } : { name: named[1], url: named[2] };
}

/** JSON in the shape of BACKEND_SERVERS, or one server a line (`#` begins a comment). */
async function readServerFile(file: string): Promise<unknown[]> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new UsageError(`--file ${file}: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (!text.trimStart().startsWith("[")) {
    const lines = text.split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, "").trim());
    return lines.filter((line) => line !== "").map(entryOf);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--file ${file}: not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function judgeListed(servers: readonly unknown[]): Config {
  return judge({ BACKEND_SERVERS: servers }, (field) => field.replace(/^BACKEND_SERVERS\b/, "servers"));
}

/** `RUNTIME: local`, since this program runs on the operator's machine, where addresses and loopback can be reached. */
function judge(source: Readonly<Record<string, unknown>>, nameOf: (field: string) => string): Config {
  const reading = readConfig({ ...source, RUNTIME: "local" });
  if (reading.ok) return reading.config;
  const faults = reading.faults.map(
    ({ field, allowed, received }) => `${nameOf(field)}: expected ${allowed}, got ${received}`,
  );
  throw new UsageError(faults.join("\n"));
}

function targetsOf(config: Config, path: string | null): Target[] {
  return config.BACKENDS.map(({ name, url, headers, healthPath }) => ({
    name,
    url,
    headers,
    path: path ?? healthPath ?? config.HEALTH_CHECK.path,
  }));
}
