/**
 * What operators do to the fleet at run time. Each change is computed from what stands, put in force, stored together with
 * its event, and answered; requests in flight are not touched.
 */
import type { BackendConfig, Config, ConfigReading } from "../shared/config/config.ts";
import { readBackend } from "../shared/config/backends.ts";
import type {
  BackendChange,
  BackendReply,
  BackendView,
  ChangeRefusal,
  LedgerEvent,
  OperatorIdentity,
  OperatorState,
  OverridesReply,
  OverridesRequest,
  OverridesView,
  ProbeReply,
} from "../shared/contract.ts";
import type { Effects, Fleet, ProbeFact } from "../shared/fleet/fleet.ts";
import { backendView } from "../shared/fleet/observation.ts";
import { emptyOverlay, patchableFields, withAdded, without, withPatch, withState } from "../shared/fleet/overlay.ts";
import type { EndedChange, Overlay } from "../shared/fleet/overlay.ts";
import { withOverrides, withoutOverride } from "../shared/fleet/overrides.ts";
import type { EndedOverride, StandingOverrides } from "../shared/fleet/overrides.ts";
import type { RegistryStore } from "./registry-store.ts";

/** What the registry lends. */
export interface OperationsHost {
  readonly fleet: Fleet | null;
  readonly reading: ConfigReading;
  readonly store: RegistryStore;
  /** The environment, to read the configuration anew. */
  readonly source: Readonly<Record<string, unknown>>;
  /** Stores the events, and sends them when it can. */
  tell(events: readonly LedgerEvent[]): void;
  /** The fleet was changed: probes, alarm, publication follow. */
  reformed(effects: Effects): void;
  probe(name: string): Promise<ProbeFact | null>;
}

const stateEvents: Readonly<Record<OperatorState, string>> = {
  active: "backend_resumed",
  draining: "backend_drained",
  disabled: "backend_disabled",
};

export class RegistryOperations {
  readonly #host: OperationsHost;
  #overrides: StandingOverrides;

  constructor(host: OperationsHost, overrides: StandingOverrides) {
    this.#host = host;
    this.#overrides = overrides;
  }

  listBackends(): readonly BackendView[] {
    const { fleet } = this.#host;
    return fleet === null ? [] : fleet.backends.map((backend) => backendView(fleet, backend));
  }

  changeBackend(change: BackendChange, by: OperatorIdentity, nowMs: number): BackendReply {
    const { fleet } = this.#host;
    if (fleet === null) return this.#misconfigured();
    if (change.kind === "add") return this.#add(fleet, change.backend, by, nowMs);
    if (fleet.backend(change.name) === null) return unknown(fleet);
    switch (change.kind) {
      case "patch":
        return this.#patch(fleet, change.name, change.values, by, nowMs);
      case "state":
        return this.#setState(fleet, change.name, change.state, by, nowMs);
      case "remove":
        return this.#remove(fleet, change.name, by, nowMs);
    }
  }

  async probeBackend(name: string, by: OperatorIdentity): Promise<ProbeReply> {
    const { fleet } = this.#host;
    if (fleet === null) return this.#misconfigured();
    const fact = await this.#host.probe(name);
    const backend = fleet.backend(name);
    if (fact === null || backend === null) return unknown(fleet);
    const { ok, reason, latencyMs } = fact;
    this.#tell("backend_probed", name, by, Date.now(), { ok, reason });
    return { kind: "ok", result: { ok, reason, latencyMs }, backend: backendView(fleet, backend) };
  }

  // ── Backends ──────────────────────────────────────────────────────────────────────────────────

  #add(fleet: Fleet, given: Readonly<Record<string, unknown>>, by: OperatorIdentity, nowMs: number): BackendReply {
    if (Object.hasOwn(given, "headers")) {
      const allowed = "set in BACKEND_SERVERS: headers are secrets, and secrets live in the configuration";
      return { kind: "invalid", faults: [{ field: "headers", allowed, received: "***" }] };
    }
    const reading = readBackend(given, fleet.config.RUNTIME, configsOf(fleet));
    if (!reading.ok) return taken(reading.faults) ?? { kind: "invalid", faults: reading.faults };
    const { backend } = reading;
    this.#reform(fleet, fleet.config, withAdded(fleet.overlay, backend), nowMs);
    const view = viewOf(fleet, backend.name);
    this.#tell("backend_added", backend.name, by, nowMs, { before: null, after: described(view) });
    return { kind: "ok", backend: view };
  }

  #patch(
    fleet: Fleet,
    name: string,
    given: Readonly<Record<string, unknown>>,
    by: OperatorIdentity,
    nowMs: number,
  ): BackendReply {
    const base = baseOf(fleet, name) as BackendConfig;
    const others = configsOf(fleet).filter((config) => config.name !== name);
    const values = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const reading = readBackend({ url: base.url, name, ...values }, fleet.config.RUNTIME, others);
    if (!reading.ok) return { kind: "invalid", faults: reading.faults };
    const before = patchable(fleet, name);
    const wanted = Object.fromEntries(
      patchableFields.filter((field) => Object.hasOwn(values, field)).map((field) => [field, reading.backend[field]]),
    );
    this.#reform(fleet, fleet.config, withPatch(fleet.overlay, base, wanted), nowMs);
    const changed = differing(before, patchable(fleet, name));
    if (changed !== null) this.#tell("backend_changed", name, by, nowMs, changed);
    return { kind: "ok", backend: viewOf(fleet, name) };
  }

  #setState(fleet: Fleet, name: string, state: OperatorState, by: OperatorIdentity, nowMs: number): BackendReply {
    const before = fleet.backend(name)?.operatorState;
    if (before === state) return { kind: "ok", backend: viewOf(fleet, name) };
    this.#reform(fleet, fleet.config, withState(fleet.overlay, name, state), nowMs);
    const view = viewOf(fleet, name);
    this.#tell(stateEvents[state], name, by, nowMs, { before, after: state, inFlight: view.inFlight });
    return { kind: "ok", backend: view };
  }

  #remove(fleet: Fleet, name: string, by: OperatorIdentity, nowMs: number): BackendReply {
    if (!fleet.overlay.added.some((backend) => backend.name === name)) {
      const message = `${name} stands in BACKEND_SERVERS: take it out there. Until then, POST /api/backends/${name}/disable keeps requests and probes away from it.`;
      return { kind: "conflict", message };
    }
    const view = viewOf(fleet, name);
    this.#reform(fleet, fleet.config, without(fleet.overlay, name), nowMs);
    const gone = { before: described(view), after: null, inFlight: view.inFlight };
    this.#tell("backend_removed", name, by, nowMs, gone);
    return { kind: "ok", backend: view };
  }

  // ── Configuration ─────────────────────────────────────────────────────────────────────────────

  overrides(): OverridesView {
    const { version, values, beneath } = this.#overrides;
    const configured = Object.keys(values).map((path) => [path, beneath[path] ?? null] as const);
    return { version, values, configured: Object.fromEntries(configured) };
  }

  overlay(): Overlay {
    return this.#host.fleet?.overlay ?? emptyOverlay;
  }

  changeOverrides(request: OverridesRequest, by: OperatorIdentity, nowMs: number): OverridesReply {
    const { fleet, source } = this.#host;
    if (fleet === null) return this.#misconfigured();
    const standing = this.#overrides;
    if (request.version !== null && request.version !== standing.version) {
      const message = `The overrides are at version ${standing.version}, not ${request.version}: somebody changed them. Read them again and decide anew.`;
      return { kind: "conflict", message };
    }
    if (request.kind === "remove" && !stands(standing, request.path))
      return { kind: "unknown", known: Object.keys(standing.values) };
    const change =
      request.kind === "set"
        ? withOverrides(source, standing, request.values)
        : withoutOverride(source, standing, request.path);
    if (!change.ok) return { kind: "invalid", faults: change.faults };
    this.#overrides = change.standing;
    this.#reform(fleet, change.config, fleet.overlay, nowMs);
    this.#tellOverrides(standing, change.standing, by, nowMs);
    return { kind: "ok", overrides: this.overrides() };
  }

  #tellOverrides(before: StandingOverrides, after: StandingOverrides, by: OperatorIdentity, nowMs: number): void {
    for (const path of new Set([...Object.keys(before.values), ...Object.keys(after.values)])) {
      const was = Object.hasOwn(before.values, path) ? before.values[path] : (after.beneath[path] ?? null);
      const is = Object.hasOwn(after.values, path) ? after.values[path] : (before.beneath[path] ?? null);
      if (Object.hasOwn(before.values, path) && JSON.stringify(was) === JSON.stringify(is)) continue;
      const kind = Object.hasOwn(after.values, path) ? "override_set" : "override_removed";
      this.#tell(kind, path, by, nowMs, { before: was, after: is, version: after.version });
    }
  }

  /** At the start: what the configuration has overtaken is struck out, stored and told. */
  settle(endedOverrides: readonly EndedOverride[], nowMs: number): void {
    const { fleet } = this.#host;
    if (fleet === null) return;
    const events = endedOverrides.map(({ path, value, reason, configuredThen, configuredNow }) => ({
      kind: "override_ended",
      atMs: nowMs,
      subject: path,
      actor: "system",
      detail: { reason, value, configuredThen, configuredNow },
    }));
    this.#save(fleet);
    this.#host.tell([...events, ...fleet.takeEnded().map((ended) => endedEvent(ended, nowMs))]);
  }

  purgeCache(paths: readonly string[] | null, by: OperatorIdentity, nowMs: number): Readonly<Record<string, number>> {
    const { fleet } = this.#host;
    if (fleet === null) return {};
    fleet.purge(paths);
    this.#host.store.writeFact("generations", "", fleet.cacheGenerations);
    const unread = fleet.backends.filter((backend) => backend.learned.modelsReadMs === null);
    const asked = unread.filter((backend) => backend.operatorState !== "disabled");
    this.#host.reformed({ transitions: [], probeNow: asked.map((backend) => backend.name) });
    const subject = paths === null ? "*" : paths.length === 1 ? (paths[0] ?? "*") : `${paths.length} paths`;
    this.#tell("cache_purged", subject, by, nowMs, paths === null ? {} : { paths: paths.slice(0, 20) });
    return fleet.cacheGenerations;
  }

  // ── What follows ──────────────────────────────────────────────────────────────────────────────

  #reform(fleet: Fleet, config: Config, overlay: Overlay, nowMs: number): void {
    const { version, values } = this.#overrides;
    const effects = fleet.reform(config, overlay, { version, values }, nowMs);
    this.#save(fleet);
    this.#host.reformed(effects);
    this.#host.tell(fleet.takeEnded().map((ended) => endedEvent(ended, nowMs)));
  }

  #save(fleet: Fleet): void {
    this.#host.store.writeFact("overlay", "", fleet.overlay);
    this.#host.store.writeFact("overrides", "", this.#overrides);
  }

  #tell(kind: string, subject: string, by: OperatorIdentity, atMs: number, detail: Record<string, unknown>): void {
    this.#host.tell([{ kind, atMs, subject, actor: by.name, detail: { from: by.from, ...detail } }]);
  }

  #misconfigured(): ChangeRefusal {
    const { reading } = this.#host;
    return { kind: "misconfigured", faults: reading.ok ? [] : reading.faults };
  }
}

function unknown(fleet: Fleet): ChangeRefusal {
  return { kind: "unknown", known: fleet.backends.map((backend) => backend.name) };
}

/** A name or URL that is taken is no mistake of form: it contradicts what there is. */
function taken(faults: readonly { readonly field: string; readonly allowed: string }[]): ChangeRefusal | null {
  if (!faults.every(({ allowed }) => allowed.endsWith("that no other backend has"))) return null;
  const fields = faults.map(({ field }) => field).join(" and ");
  return { kind: "conflict", message: `Another backend has this ${fields}; GET /api/backends shows which.` };
}

function configsOf(fleet: Fleet): readonly BackendConfig[] {
  return fleet.backends.map((backend) => backend.config);
}

/** The backend without what operators patched. */
function baseOf(fleet: Fleet, name: string): BackendConfig | undefined {
  return [...fleet.config.BACKENDS, ...fleet.overlay.added].find((backend) => backend.name === name);
}

function viewOf(fleet: Fleet, name: string): BackendView {
  const backend = fleet.backend(name);
  if (backend === null) throw new Error("a backend left between its change and its view");
  return backendView(fleet, backend);
}

/** What it takes to add it again. */
function described({ url, weight, priority, region, maxInFlight, dialect, healthPath }: BackendView): unknown {
  return { url, weight, priority, region, maxInFlight, dialect, healthPath };
}

function patchable(fleet: Fleet, name: string): Record<string, unknown> {
  const backend = fleet.backend(name);
  return Object.fromEntries(patchableFields.map((field) => [field, backend?.[field]]));
}

function differing(before: Record<string, unknown>, after: Record<string, unknown>): Record<string, unknown> | null {
  const fields = Object.keys(before).filter((field) => before[field] !== after[field]);
  if (fields.length === 0) return null;
  const only = (values: Record<string, unknown>) => Object.fromEntries(fields.map((field) => [field, values[field]]));
  return { before: only(before), after: only(after) };
}

function stands({ values }: StandingOverrides, path: string | null): boolean {
  return path === null || Object.keys(values).some((known) => known === path || known.startsWith(`${path}.`));
}

function endedEvent({ backend, field, reason }: EndedChange, atMs: number): LedgerEvent {
  return { kind: "backend_change_ended", atMs, subject: backend, actor: "system", detail: { field, reason } };
}
