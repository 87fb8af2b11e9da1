/**
 * Operators' values at run time, laid over the configuration. Each is kept with the configured value beneath it: when
 * that changes later, the new value wins and the override ends.
 */
import type { Config, ConfigFault, ConfigReading } from "../config/config.ts";
import { fault } from "../config/fault.ts";
import { settingPaths, valueAt } from "../config/override.ts";
import { applyOverrides, readConfig } from "../config/read.ts";
import type { Source } from "../config/source.ts";
import type { ConfigOverrides } from "../contract.ts";

export interface StandingOverrides extends ConfigOverrides {
  /** By path: the configured value when the override was made; a path whose place was empty is absent. */
  readonly beneath: Readonly<Record<string, unknown>>;
}

export const noOverrides: StandingOverrides = { version: 0, values: {}, beneath: {} };

/** An override that the configuration has overtaken. */
export interface EndedOverride {
  readonly path: string;
  readonly value: unknown;
  readonly reason: "configured_value_changed" | "no_longer_valid";
  readonly configuredThen: unknown;
  readonly configuredNow: unknown;
}

export interface SettledOverrides {
  /** The effective configuration, or what is wrong with the configured one. */
  readonly reading: ConfigReading;
  readonly standing: StandingOverrides;
  readonly ended: readonly EndedOverride[];
}

export type OverridesChange =
  | { readonly ok: true; readonly config: Config; readonly standing: StandingOverrides }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] };

/** The table carries them to every isolate, every second: so many, and so many characters of JSON together. */
export const maxOverrides = 200;
export const maxOverridesCharacters = 32_768;

type Values = Readonly<Record<string, unknown>>;

/** What of the stored overrides still stands over the configuration as it is now. */
export function settleOverrides(source: Source, stored: StandingOverrides): SettledOverrides {
  const configured = readConfig(source);
  if (!configured.ok) return { reading: configured, standing: stored, ended: [] };
  const ended: EndedOverride[] = [];
  const end = (path: string, value: unknown, reason: EndedOverride["reason"]): void => {
    const configuredNow = valueAt(configured.config, path);
    ended.push({ path, value, reason, configuredThen: stored.beneath[path], configuredNow });
  };
  const stands = ([path]: readonly [string, unknown]): boolean =>
    same(valueAt(configured.config, path), stored.beneath[path]);
  const entries = Object.entries(stored.values);
  for (const [path, value] of entries.filter((entry) => !stands(entry))) end(path, value, "configured_value_changed");
  let values: Values = Object.fromEntries(entries.filter(stands));
  if (!applyOverrides(source, values).ok) {
    const { standing, fallen } = tolerable(source, values);
    values = standing;
    for (const [path, value] of fallen) end(path, value, "no_longer_valid");
  }
  const reading = applyOverrides(source, values);
  if (ended.length === 0) return { reading, standing: stored, ended };
  return { reading, standing: { version: stored.version + 1, values, beneath: among(stored.beneath, values) }, ended };
}

/** Taken one after the other: those with which the configuration stays right, and the others. */
function tolerable(source: Source, given: Values): { standing: Values; fallen: [string, unknown][] } {
  let standing: Values = {};
  const fallen: [string, unknown][] = [];
  for (const [path, value] of Object.entries(given)) {
    const together = { ...standing, [path]: value };
    if (applyOverrides(source, together).ok) standing = together;
    else fallen.push([path, value]);
  }
  return { standing, fallen };
}

/** `given`: dotted paths, or groups, to values; other paths stay as they are. */
export function withOverrides(source: Source, standing: StandingOverrides, given: Values): OverridesChange {
  const configured = readConfig(source);
  if (!configured.ok) return configured;
  const flat = flatten(given);
  const faults = Object.keys(flat).filter(holdsWebhooks).map(webhookFault);
  if (faults.length > 0) return { ok: false, faults };
  const kept = Object.entries(standing.values).filter(([path]) => !Object.hasOwn(flat, path));
  // What came last is last: `enabled` and `mode` of the rate limit say the same thing, and the later one is right.
  const values: Values = Object.fromEntries([...kept, ...Object.entries(flat)]);
  const bounds = boundFaults(values);
  if (bounds.length > 0) return { ok: false, faults: bounds };
  const beneath = Object.entries(flat).flatMap(([path]) => {
    const value = valueAt(configured.config, path);
    return value === undefined ? [] : [[path, value] as const];
  });
  return changed(source, standing, values, { ...standing.beneath, ...Object.fromEntries(beneath) });
}

/** null takes all away. What stays must be right without what goes. */
export function withoutOverride(source: Source, standing: StandingOverrides, path: string | null): OverridesChange {
  const values = Object.fromEntries(
    Object.entries(standing.values).filter(
      ([known]) => path !== null && known !== path && !known.startsWith(`${path}.`),
    ),
  );
  return changed(source, standing, values, standing.beneath);
}

function changed(source: Source, standing: StandingOverrides, values: Values, beneath: Values): OverridesChange {
  const reading = applyOverrides(source, values);
  if (!reading.ok) return reading;
  const next = { version: standing.version + 1, values, beneath: among(beneath, values) };
  return { ok: true, config: reading.config, standing: next };
}

function among(beneath: Values, values: Values): Values {
  return Object.fromEntries(Object.entries(beneath).filter(([path]) => Object.hasOwn(values, path)));
}

/** A group's value as its settings', so that each of them has one value beneath. */
function flatten(given: Values): Values {
  const flat: [string, unknown][] = [];
  const visit = (path: string, value: unknown): void => {
    const isGroup = settingPaths.some((known) => known.startsWith(`${path}.`));
    if (!isGroup || typeof value !== "object" || value === null || Array.isArray(value)) flat.push([path, value]);
    else for (const [key, inner] of Object.entries(value)) visit(`${path}.${key}`, inner);
  };
  for (const [path, value] of Object.entries(given)) visit(path, value);
  return Object.fromEntries(flat);
}

function holdsWebhooks(path: string): boolean {
  return path === "ALERTS.webhooks" || path.startsWith("ALERTS.webhooks.");
}

/** A webhook's URL and secret are credentials: at run time they would stand in the table, in KV and in the ledger. */
function webhookFault(path: string): ConfigFault {
  const field = path.slice(0, 120);
  return { field, allowed: "set in CONFIG, with the deployment: it holds secrets", received: "an override" };
}

function boundFaults(values: Values): readonly ConfigFault[] {
  const count = Object.keys(values).length;
  if (count > maxOverrides) return [fault(["values"], `at most ${maxOverrides} overrides in all`, count)];
  const characters = JSON.stringify(values).length;
  if (characters <= maxOverridesCharacters) return [];
  return [fault(["values"], `at most ${maxOverridesCharacters} characters of JSON in all`, characters)];
}

/** Both were made by the same reading, so their keys stand in the same order. */
function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
