/** The list of backends: each by its schema, then the rules among them and what the runtime allows. */
import * as v from "valibot";
import { readBackendUrl } from "./backend-url.ts";
import type { BackendUrl } from "./backend-url.ts";
import type { BackendConfig, ConfigFault, Runtime } from "./config.ts";
import { fault } from "./fault.ts";
import type { PathKeys } from "./fault.ts";
import { issueFaults } from "./issue.ts";
import { backendSchema, isInherited } from "./schema.ts";
import type { BackendInput } from "./schema.ts";

export interface BackendsReading {
  readonly backends: readonly BackendConfig[];
  readonly faults: readonly ConfigFault[];
  readonly warnings: readonly string[];
}

/** A table of more is longer than an isolate should fetch every two seconds. */
const maxBackends = 256;

interface Entry {
  readonly keys: PathKeys;
  readonly given: BackendInput;
  readonly url: BackendUrl;
}

export function readBackends(raw: unknown, runtime: Runtime, root = "BACKEND_SERVERS"): BackendsReading {
  if (!Array.isArray(raw) || raw.length === 0 || raw.length > maxBackends) {
    return { backends: [], faults: [fault([root], listRule(raw), raw)], warnings: [] };
  }
  const faults: ConfigFault[] = [];
  const entries: Entry[] = [];
  for (const [index, item] of raw.entries()) {
    const reading = readEntry(item, [root, index]);
    if (Array.isArray(reading)) faults.push(...reading);
    else entries.push(reading);
    faults.push(...runtimeFaults([root, index], urlOf(item), runtime));
  }
  const named = nameBackends(entries);
  faults.push(...duplicateFaults(named));
  const backends = named.map(({ entry, name }) => toBackend(entry, name));
  return { backends, faults, warnings: faults.length > 0 ? [] : backendWarnings(entries, backends, runtime) };
}

export type BackendReading =
  | { readonly ok: true; readonly backend: BackendConfig }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] };

/** One more backend beside those there are, as an operator adds it at run time; fields are named without a list around them. */
export function readBackend(raw: unknown, runtime: Runtime, others: readonly BackendConfig[]): BackendReading {
  const entry = readEntry(raw, []);
  if (Array.isArray(entry)) return { ok: false, faults: entry };
  const name = entry.given.name ?? freeName(entry.url, others);
  const faults = [...runtimeFaults([], entry.url, runtime)];
  if (others.some((other) => other.url === entry.url.href))
    faults.push(fault(["url"], "a URL that no other backend has", entry.given.url));
  if (others.some((other) => other.name === name))
    faults.push(fault(["name"], "a name that no other backend has", name));
  if (others.length >= maxBackends) faults.push(fault([], `at most ${maxBackends} backends`, others));
  return faults.length > 0 ? { ok: false, faults } : { ok: true, backend: toBackend(entry, name) };
}

function readEntry(item: unknown, keys: PathKeys): Entry | ConfigFault[] {
  const parsed = v.safeParse(backendSchema, item);
  if (!parsed.success) return issueFaults(parsed.issues, keys);
  const url = readBackendUrl(parsed.output.url);
  if (!url.ok) return [fault([...keys, "url"], url.problem, parsed.output.url)];
  return { keys, given: parsed.output, url: url.url };
}

function listRule(raw: unknown): string {
  const example = '[{"url":"https://jimeng-1.example.com"}]';
  if (raw === undefined) {
    return `a JSON list of backends such as ${example}; set it with \`wrangler secret put BACKEND_SERVERS\`, as a variable, or in .dev.vars`;
  }
  return `a list of 1 to ${maxBackends} backends, such as ${example}`;
}

/** Of an entry that may have faults elsewhere, so that all of them are told at once. */
function urlOf(item: unknown): BackendUrl | null {
  if (typeof item !== "object" || item === null || !("url" in item) || typeof item.url !== "string") return null;
  const reading = readBackendUrl(item.url);
  return reading.ok ? reading.url : null;
}

function runtimeFaults(keys: PathKeys, url: BackendUrl | null, runtime: Runtime): readonly ConfigFault[] {
  if (runtime !== "cloudflare" || url === null) return [];
  const cure = "use a host name of your own whose DNS record is DNS-only (grey cloud) and points there";
  if (url.loopback) {
    return [
      fault(
        [...keys, "url"],
        `a host that Cloudflare can reach, not loopback (${cure}; or set RUNTIME to local or self-hosted)`,
        url.href,
      ),
    ];
  }
  if (url.hostKind === "name") return [];
  return [
    fault(
      [...keys, "url"],
      `a host name, since Cloudflare refuses raw IP addresses with error 1003 (${cure})`,
      url.href,
    ),
  ];
}

interface Named {
  readonly entry: Entry;
  readonly name: string;
}

/** A given name, else the host, else host and port where two would be alike. */
function nameBackends(entries: readonly Entry[]): readonly Named[] {
  const taken = new Map<string, number>();
  for (const { given, url } of entries) {
    const wanted = given.name ?? plainHost(url);
    taken.set(wanted, (taken.get(wanted) ?? 0) + 1);
  }
  return entries.map((entry) => {
    const host = plainHost(entry.url);
    const alone = taken.get(host) === 1;
    return { entry, name: entry.given.name ?? (alone ? host : `${entry.url.host}:${entry.url.port}`) };
  });
}

function freeName(url: BackendUrl, others: readonly BackendConfig[]): string {
  const host = plainHost(url);
  return others.some((other) => other.name === host) ? `${url.host}:${url.port}` : host;
}

function plainHost(url: BackendUrl): string {
  if (isInherited(url.host)) return `${url.host}:${url.port}`;
  return url.hostKind === "ipv6" ? url.host.slice(1, -1) : url.host;
}

function duplicateFaults(named: readonly Named[]): readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const urls = new Map<string, PathKeys>();
  const names = new Map<string, PathKeys>();
  for (const { entry, name } of named) {
    const sameUrl = urls.get(entry.url.href);
    const sameName = names.get(name);
    if (sameUrl !== undefined) {
      faults.push(
        fault(
          [...entry.keys, "url"],
          `a URL that no other backend has (backend ${String(sameUrl.at(-1))} has it)`,
          entry.given.url,
        ),
      );
    } else if (sameName !== undefined) {
      const rule = `a name that no other backend has (backend ${String(sameName.at(-1))} has it${entry.given.name === undefined ? "; give this one a `name`" : ""})`;
      faults.push(fault([...entry.keys, "name"], rule, name));
    }
    if (sameUrl === undefined) urls.set(entry.url.href, entry.keys);
    if (sameName === undefined) names.set(name, entry.keys);
  }
  return faults;
}

function toBackend({ given, url }: Entry, name: string): BackendConfig {
  const { name: _given, url: _written, ...settings } = given;
  return { name, url: url.href, ...settings };
}

function backendWarnings(
  entries: readonly Entry[],
  backends: readonly BackendConfig[],
  runtime: Runtime,
): readonly string[] {
  const warnings: string[] = [];
  if (backends.every((backend) => backend.weight === 0)) {
    warnings.push("BACKEND_SERVERS: every weight is 0, so no backend takes new requests");
  }
  if (runtime !== "cloudflare") return warnings;
  for (const [index, { url }] of entries.entries()) {
    const field = `BACKEND_SERVERS[${index}].url`;
    if (url.privateName)
      warnings.push(`${field}: ${url.host} looks like a name of a private network, which Cloudflare can't resolve`);
    if (url.scheme === "http")
      warnings.push(`${field}: http:// sends your clients' Jimeng tokens unencrypted over the Internet; use https://`);
  }
  return warnings;
}
