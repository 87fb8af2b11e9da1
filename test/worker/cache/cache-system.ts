/** The cache step in workerd between a scripted origin and a client with connections of its own, for all tests of a file. */
import { afterAll, beforeAll } from "vitest";
import type { FixtureHost } from "./fixture-host.ts";
import { startFixture } from "./fixture-host.ts";
import { RawClient } from "./raw-client.ts";
import { ScriptedOrigin } from "./scripted-origin.ts";

export class CacheSystem {
  /** There from the first test on. */
  origin!: ScriptedOrigin;
  edge!: FixtureHost;
  client!: RawClient;

  constructor(connections: number) {
    beforeAll(async () => {
      this.origin = await ScriptedOrigin.start();
      this.edge = await startFixture(this.origin.url);
      this.client = new RawClient(this.edge.url, connections);
    });
    afterAll(async () => {
      this.client?.close();
      await this.edge?.stop();
      await this.origin?.stop();
    });
  }
}
