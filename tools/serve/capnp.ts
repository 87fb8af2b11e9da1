/**
 * Configurations of plain workerd as text. The schema with every field explained ships with the package `workerd`
 * (`workerd.capnp`); only what this project uses is written here.
 */

export type Binding =
  | { readonly kind: "text"; readonly name: string; readonly text: string }
  /** The value stays in the environment of the process, so that no secret is written to a file. */
  | { readonly kind: "environment"; readonly name: string; readonly variable: string }
  | { readonly kind: "objects"; readonly name: string; readonly className: string; readonly service: string | null }
  /** The way to another process's objects, through its debug port. */
  | { readonly kind: "peer"; readonly name: string };

export interface WorkerService {
  readonly name: string;
  /** The first is the main module; `file` lies beside the configuration. */
  readonly modules: readonly { readonly name: string; readonly file: string }[];
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly bindings: readonly Binding[];
  /** Classes of Durable Objects of this service. */
  readonly classes: readonly string[];
  /** `memory`: nothing is kept; for a service whose classes only lend their names. */
  readonly storage: "disk" | "memory";
}

export interface Listener {
  readonly name: string;
  /** `host:port`, where a port of 0 takes a free one; null: an open socket is handed over at the start. */
  readonly address: string | null;
  readonly service: string;
  /** Of the service's exports the one that answers; the default one unless it is given. */
  readonly entrypoint?: string;
}

export interface Setup {
  readonly services: readonly WorkerService[];
  readonly listeners: readonly Listener[];
  /** Folder of the objects, from the configuration's own. */
  readonly objectsFolder: string;
  /** Part of every object's identity: another name is another set of objects. */
  readonly uniquePrefix: string;
  /** For the engine. */
  readonly v8Flags?: readonly string[];
}

const storageService = "disk";
const networkService = "network";

export function configText(setup: Setup): string {
  const services = [
    ...setup.services.map((service) => workerService(service, setup)),
    `(name = ${text(storageService)}, disk = (path = ${text(setup.objectsFolder)}, writable = true))`,
    // A backend may stand in a private network, or on this machine; the default reaches public addresses alone.
    `(name = ${text(networkService)}, network = (allow = ["public", "private", "local"], tlsOptions = (trustBrowserCas = true)))`,
  ];
  const sockets = setup.listeners.map(({ name, address, service, entrypoint }) => {
    const where = address === null ? "" : `address = ${text(address)}, `;
    const which = entrypoint === undefined ? "" : `, entrypoint = ${text(entrypoint)}`;
    return `(name = ${text(name)}, ${where}http = (), service = (name = ${text(service)}${which}))`;
  });
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = ${list(services, 2)},
  sockets = ${list(sockets, 2)},
  v8Flags = [${(setup.v8Flags ?? []).map(text).join(", ")}]
);
`;
}

function workerService(service: WorkerService, setup: Setup): string {
  const modules = service.modules.map(({ name, file }) => `(name = ${text(name)}, esModule = embed ${text(file)})`);
  const classes = service.classes.map(
    (className) =>
      `(className = ${text(className)}, uniqueKey = ${text(`${setup.uniquePrefix}-${className}`)}, enableSql = true)`,
  );
  const place = service.storage === "disk" ? `localDisk = ${text(storageService)}` : "inMemory = void";
  const storage = `durableObjectStorage = (${place}),`;
  return `(name = ${text(service.name)}, worker = (
      modules = ${list(modules, 6)},
      compatibilityDate = ${text(service.compatibilityDate)},
      compatibilityFlags = [${service.compatibilityFlags.map(text).join(", ")}],
      bindings = ${list(service.bindings.map(binding), 6)},
      durableObjectNamespaces = ${list(classes, 6)},
      ${classes.length > 0 ? storage : ""}
      globalOutbound = ${text(networkService)}
    ))`;
}

function binding(given: Binding): string {
  const name = `name = ${text(given.name)}`;
  switch (given.kind) {
    case "text":
      return `(${name}, text = ${text(given.text)})`;
    case "environment":
      return `(${name}, fromEnvironment = ${text(given.variable)})`;
    case "peer":
      return `(${name}, workerdDebugPort = void)`;
    case "objects": {
      const service = given.service === null ? "" : `, serviceName = ${text(given.service)}`;
      return `(${name}, durableObjectNamespace = (className = ${text(given.className)}${service}))`;
    }
  }
}

function list(items: readonly string[], indent: number): string {
  const space = " ".repeat(indent);
  return items.length === 0 ? "[]" : `[\n${items.map((item) => `${space}  ${item},\n`).join("")}${space}]`;
}

/** A text literal: https://capnproto.org/language.html; bytes outside of ASCII stand as they are, in UTF-8. */
export function text(value: string): string {
  const escaped = [...value].map((character) => {
    if (character === "\\" || character === '"') return `\\${character}`;
    const code = character.codePointAt(0) as number;
    return code < 0x20 || code === 0x7f ? `\\x${code.toString(16).padStart(2, "0")}` : character;
  });
  return `"${escaped.join("")}"`;
}
