/** The edge before backends that a test writes byte by byte. */
import { startEdgeBefore, TestBackend, type BackendSpec, type EdgeSystem } from "../edge.ts";
import { RawBackend } from "./raw-backend.ts";

export interface RawSystem {
  readonly edge: EdgeSystem;
  readonly backends: readonly RawBackend[];
  stop(): Promise<void>;
}

export interface RawOptions {
  readonly count?: number;
  readonly config?: Readonly<Record<string, unknown>>;
  /** The models that the written ones serve; all, if not given. */
  readonly models?: readonly string[];
  /** Stand-ins in the same fleet. */
  readonly beside?: readonly BackendSpec[];
  readonly logFile?: string;
}

/** `/test/*` is an extra route of class query, uncached unless the configuration says otherwise. */
export async function startRawSystem({
  count = 1,
  config = {},
  models,
  beside = [],
  logFile,
}: RawOptions = {}): Promise<RawSystem> {
  const backends = await Promise.all(Array.from({ length: count }, () => RawBackend.start()));
  const standIns = await Promise.all(beside.map((spec) => TestBackend.start(spec)));
  const servers = [
    ...backends.map(({ url }, index) => ({ name: `raw-${index}`, url, ...(models === undefined ? {} : { models }) })),
    ...standIns.map(({ name, url, spec }) => ({ name, url, ...spec.server })),
  ];
  const routes = [{ path: "/test/*", methods: ["GET", "POST", "DELETE"], class: "query", cache: "none" }];
  const edge = await startEdgeBefore(standIns, {
    config: { ROUTES: routes, ...config },
    variables: { BACKEND_SERVERS: JSON.stringify(servers) },
    ...(logFile === undefined ? {} : { logFile }),
  });
  await edge.get("/health");
  const stop = async (): Promise<void> => {
    await edge.stop();
    for (const backend of backends) backend.close();
  };
  return { edge, backends, stop };
}
