/** The servers as they are in force, for operators: what the configuration says, with what was changed at run time over it. */
import type { BackendConfig } from "../config/config.ts";
import { maskBackend } from "../config/mask.ts";
import type { Origin } from "../config/mask.ts";
import type { OperatorState } from "../contract.ts";
import { layOver, overriddenFields } from "./overlay.ts";
import type { Overlay } from "./overlay.ts";

export interface BackendInForce extends BackendConfig {
  readonly operatorState: OperatorState;
  /** Fields changed at run time, with the value beneath. */
  readonly overridden: Readonly<Record<string, { readonly value: unknown; readonly configured: unknown }>>;
}

/** Secrets masked. */
export function backendsInForce(configured: readonly BackendConfig[], overlay: Overlay): readonly BackendInForce[] {
  const laid = layOver(configured, overlay);
  return laid.backends.map((backend) => {
    const { name } = backend;
    const operatorState = laid.overlay.states[name] ?? "active";
    const state = { operatorState: { value: operatorState, configured: "active" } };
    const overridden = { ...overriddenFields(laid.overlay, name), ...(operatorState === "active" ? {} : state) };
    return { ...maskBackend(backend), operatorState, overridden };
  });
}

/** By dotted path, beside those of the settings: each server, and what of it is overridden. */
export function backendOrigins(backends: readonly BackendInForce[], overlay: Overlay): Record<string, Origin> {
  const origins: Record<string, Origin> = {};
  for (const { name, overridden } of backends) {
    origins[`BACKENDS.${name}`] = overlay.added.some((added) => added.name === name) ? "override" : "variable";
    for (const field of Object.keys(overridden)) origins[`BACKENDS.${name}.${field}`] = "override";
  }
  return origins;
}
