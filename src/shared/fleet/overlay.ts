/**
 * Operators' changes at run time, laid over the backends that the configuration names. They survive restarts and
 * deployments; a backend that leaves `BACKEND_SERVERS` leaves with everything said of it; and when the configured value
 * of a changed field later changes itself, the new value wins and the change ends.
 */
import type { BackendConfig } from "../config/config.ts";
import type { OperatorState } from "../contract.ts";

export const patchableFields = ["weight", "priority", "region", "maxInFlight"] as const;
export type PatchableField = (typeof patchableFields)[number];

export interface Patch {
  readonly value: number | string | null;
  /** The configured value when the change was made. */
  readonly over: number | string | null;
}

export interface Overlay {
  readonly states: Readonly<Record<string, OperatorState>>;
  readonly patches: Readonly<Record<string, Readonly<Partial<Record<PatchableField, Patch>>>>>;
  readonly added: readonly BackendConfig[];
}

export const emptyOverlay: Overlay = { states: {}, patches: {}, added: [] };

/** A change that the configuration has overtaken. */
export interface EndedChange {
  readonly backend: string;
  readonly field: PatchableField | "state" | "added";
  readonly reason: "configured_value_changed" | "backend_left" | "now_configured";
}

export interface LaidOver {
  readonly backends: readonly BackendConfig[];
  readonly overlay: Overlay;
  readonly ended: readonly EndedChange[];
}

/** The backends in force, the overlay without what has ended, and what has ended. */
export function layOver(configured: readonly BackendConfig[], overlay: Overlay): LaidOver {
  const ended: EndedChange[] = [];
  const added = overlay.added.filter((backend) => {
    const taken = configured.some((other) => other.name === backend.name || other.url === backend.url);
    if (taken) ended.push({ backend: backend.name, field: "added", reason: "now_configured" });
    return !taken;
  });
  const base = [...configured, ...added];
  const known = new Set(base.map((backend) => backend.name));
  const states: Record<string, OperatorState> = {};
  for (const [name, state] of Object.entries(overlay.states)) {
    if (known.has(name)) states[name] = state;
    else ended.push({ backend: name, field: "state", reason: "backend_left" });
  }
  const patches: Record<string, Partial<Record<PatchableField, Patch>>> = {};
  for (const [name, fields] of Object.entries(overlay.patches)) {
    const standing = standingPatches(name, fields, base, ended);
    if (Object.keys(standing).length > 0) patches[name] = standing;
  }
  const backends = base.map((backend) => patched(backend, patches[backend.name]));
  return { backends, overlay: { states, patches, added }, ended };
}

function standingPatches(
  name: string,
  fields: Readonly<Partial<Record<PatchableField, Patch>>>,
  base: readonly BackendConfig[],
  ended: EndedChange[],
): Partial<Record<PatchableField, Patch>> {
  const backend = base.find((candidate) => candidate.name === name);
  const standing: Partial<Record<PatchableField, Patch>> = {};
  for (const field of patchableFields) {
    const patch = fields[field];
    if (patch === undefined) continue;
    if (backend === undefined) ended.push({ backend: name, field, reason: "backend_left" });
    else if (backend[field] !== patch.over) ended.push({ backend: name, field, reason: "configured_value_changed" });
    else standing[field] = patch;
  }
  return standing;
}

function patched(backend: BackendConfig, fields: Partial<Record<PatchableField, Patch>> | undefined): BackendConfig {
  if (fields === undefined) return backend;
  const values = Object.fromEntries(Object.entries(fields).map(([field, patch]) => [field, patch.value]));
  return { ...backend, ...values };
}

/** A backend's changed fields, with the value beneath. */
export function overriddenFields(
  overlay: Overlay,
  name: string,
): Readonly<Record<string, { readonly value: unknown; readonly configured: unknown }>> {
  const patches = Object.entries(overlay.patches[name] ?? {});
  return Object.fromEntries(patches.map(([field, { value, over }]) => [field, { value, configured: over }]));
}

/** The overlay with these fields of a backend changed. `configured` is the backend as it stands without patches. */
export function withPatch(
  overlay: Overlay,
  configured: BackendConfig,
  values: Readonly<Partial<Record<PatchableField, number | string | null>>>,
): Overlay {
  const fields: Partial<Record<PatchableField, Patch>> = { ...overlay.patches[configured.name] };
  for (const field of patchableFields) {
    const value = values[field];
    if (value === undefined) continue;
    if (value === configured[field]) delete fields[field];
    else fields[field] = { value, over: configured[field] };
  }
  return { ...overlay, patches: { ...overlay.patches, [configured.name]: fields } };
}

export function withState(overlay: Overlay, name: string, state: OperatorState): Overlay {
  const states = { ...overlay.states };
  if (state === "active") delete states[name];
  else states[name] = state;
  return { ...overlay, states };
}

export function withAdded(overlay: Overlay, backend: BackendConfig): Overlay {
  return { ...overlay, added: [...overlay.added, backend] };
}

/** Forgets an added backend and everything said of it. */
export function without(overlay: Overlay, name: string): Overlay {
  const { [name]: _state, ...states } = overlay.states;
  const { [name]: _patch, ...patches } = overlay.patches;
  return { states, patches, added: overlay.added.filter((backend) => backend.name !== name) };
}
