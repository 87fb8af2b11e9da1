/** The edge before backends that a test writes byte by byte. */
import { startEdgeBefore, type EdgeSystem } from "../edge.ts";
import { RawBackend } from "./raw-backend.ts";

export interface RawSystem {
  readonly edge: EdgeSystem;
  readonly backends: readonly RawBackend[];
  stop(): Promise<void>;
}

/** `/test/*` is an extra route of class query, uncached unless the configuration says otherwise. */
export async function startRawSystem(count = 1, config: Readonly<Record<string, unknown>> = {}): Promise<RawSystem> {
  const backends = await Promise.all(Array.from({ length: count }, () => RawBackend.start()));
  const servers = backends.map(({ url }, index) => ({ name: `raw-${index}`, url }));
  const routes = [{ path: "/test/*", methods: ["GET", "POST", "DELETE"], class: "query", cache: "none" }];
  const edge = await startEdgeBefore([], {
    config: { ROUTES: routes, ...config },
    variables: { BACKEND_SERVERS: JSON.stringify(servers) },
  });
  await edge.get("/health");
  const stop = async (): Promise<void> => {
    await edge.stop();
    for (const backend of backends) backend.close();
  };
  return { edge, backends, stop };
}
