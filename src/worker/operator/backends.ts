/** The servers: who is in, with which weight, in which state. */
import type { BackendChange, BackendView, OperatorState } from "../../shared/contract.ts";
import { askRegistry, refusal, showSoon } from "./asking.ts";
import { described, list, nullable, object, oneOf, optional, pathText, someOf, text, whole } from "./field.ts";
import { define, nothing, told } from "./route.ts";
import type { Asked, OperatorRoute, Told } from "./route.ts";

/** Each try of a probe may take a minute, and there may be ten. */
const probePatienceMs = 660_000;

const name = described(
  text(/^[A-Za-z0-9._:[\]-]{1,255}$/u, "a backend's name: 1 to 255 characters of A–Z a–z 0–9 . _ : -"),
  "As in GET /api/backends.",
);
const parameters = { name };

/** The bounds are those of BACKEND_SERVERS. */
const patchable = {
  weight: optional(described(whole(0, 1000), "0 takes no new requests.")),
  priority: optional(described(whole(0, 1000), "The lower number is tried first.")),
  region: optional(text(/^[\p{L}\p{N}._ -]{1,64}$/u, "1 to 64 letters, digits, dots, dashes or blanks")),
  maxInFlight: optional(described(nullable(whole(1, 100_000)), "null: no bound.")),
};

const pattern = text(/^(?:[A-Z]+ )?\/\S{0,512}$/u, "a path pattern, with its method or without: POST /v1/images/*");
const model = text(/^[^\s](?:.{0,126}[^\s])?$/u, "a model's id");
const listed = { min: 1, max: 1000 };

const addition = object({
  url: described(text(/^https?:\/\/\S{1,2000}$/u, "an http(s) URL"), "Origin and, where needed, a path prefix."),
  name: optional(name),
  ...patchable,
  dialect: optional(nullable(oneOf(["mapped", "flat-1", "flat-2"]))),
  healthPath: optional(nullable(pathText("a path beginning with /"))),
  routes: optional(nullable(list(pattern, "a list of routes, not empty", listed))),
  models: optional(nullable(list(model, "a list of model ids, not empty", listed))),
});

const headersHint = "set in BACKEND_SERVERS: headers are secrets, and secrets live in the configuration";

async function change({ exchange, by }: Asked<unknown, unknown, unknown>, wanted: BackendChange): Promise<Told> {
  const reply = await askRegistry(exchange, (registry) => registry.changeBackend(wanted, by));
  if (reply.kind !== "ok") return refusal(reply, wanted.kind === "add" ? "This backend" : `Backend ${wanted.name}`);
  showSoon(exchange);
  const { backend } = reply;
  if (wanted.kind === "remove") return told({ name: backend.name, left: backend.inFlight });
  return told(changed(backend));
}

function changed(backend: BackendView): unknown {
  return { backend, left: backend.inFlight };
}

function stateRoute(verb: string, state: OperatorState, summary: string): OperatorRoute {
  return define({
    method: "POST",
    path: `/api/backends/:name/${verb}`,
    role: "operator",
    name: `${verb}Backend`,
    summary,
    parameters,
    query: nothing,
    body: null,
    status: 200,
    answer: "Changed",
    failures: ["not_found", "registry_unavailable"],
    run: (asked) => change(asked, { kind: "state", name: asked.path.name, state }),
  });
}

export const backendRoutes: readonly OperatorRoute[] = [
  define({
    method: "GET",
    path: "/api/backends",
    role: "viewer",
    name: "listBackends",
    summary: "All servers, with what was changed at run time and the requests that are on them.",
    parameters: nothing,
    query: nothing,
    body: null,
    status: 200,
    answer: "Backends",
    failures: ["registry_unavailable"],
    run: async ({ exchange }) => told({ backends: await askRegistry(exchange, (registry) => registry.listBackends()) }),
  }),
  define({
    method: "POST",
    path: "/api/backends",
    role: "operator",
    name: "addBackend",
    summary: "Adds a server until it is removed, or BACKEND_SERVERS names it.",
    parameters: nothing,
    query: nothing,
    body: addition,
    hints: { headers: headersHint },
    status: 201,
    answer: "Changed",
    failures: ["conflict", "registry_unavailable"],
    run: (asked) => change(asked, { kind: "add", backend: given(asked.body) }),
  }),
  define({
    method: "PATCH",
    path: "/api/backends/:name",
    role: "operator",
    name: "patchBackend",
    summary: "Overrides weight, priority, region or maxInFlight; the configured value again ends the override.",
    parameters,
    query: nothing,
    body: someOf(patchable),
    hints: {
      headers: headersHint,
      url: "a new backend: POST /api/backends",
      name: "a new backend: POST /api/backends",
    },
    status: 200,
    answer: "Changed",
    failures: ["not_found", "registry_unavailable"],
    run: (asked) => change(asked, { kind: "patch", name: asked.path.name, values: given(asked.body) }),
  }),
  define({
    method: "DELETE",
    path: "/api/backends/:name",
    role: "operator",
    name: "removeBackend",
    summary: "Removes a server that was added at run time. Requests that are on it run to their ends.",
    parameters,
    query: nothing,
    body: null,
    status: 200,
    answer: "Removed",
    failures: ["not_found", "conflict", "registry_unavailable"],
    run: (asked) => change(asked, { kind: "remove", name: asked.path.name }),
  }),
  stateRoute("drain", "draining", "No new requests; those that are on it end. `left` says how many."),
  stateRoute("resume", "active", "Takes requests again."),
  stateRoute("disable", "disabled", "Neither requests nor probes."),
  define({
    method: "POST",
    path: "/api/backends/:name/probe",
    role: "operator",
    name: "probeBackend",
    summary: "Probes it now and waits for the result.",
    parameters,
    query: nothing,
    body: null,
    status: 200,
    answer: "Probed",
    failures: ["not_found", "registry_unavailable"],
    async run({ exchange, by, path: { name: backend } }) {
      const reply = await askRegistry(exchange, (registry) => registry.probeBackend(backend, by), probePatienceMs);
      if (reply.kind !== "ok") return refusal(reply, `Backend ${backend}`);
      return told({ probe: reply.result, backend: reply.backend });
    },
  }),
];

/** What is undefined was left out. */
function given(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
