/** What one stand-in remembers, and the questions its routes ask of it. */
import { setTimeout as sleep } from "node:timers/promises";
import { dialects, JimengError, type DialectName, type DialectRow } from "./dialect.ts";
import { FaultBoard } from "./fault.ts";
import { JobBook } from "./jobs.ts";
import { markersFor, type Markers } from "./markers.ts";
import { TaskList } from "./tasks.ts";
import { UsageCounters } from "./usage.ts";

export interface DemoOptions {
  readonly dialect: DialectName;
  readonly name: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly controlPort: number;
  readonly host: string;
  /** How long a picture takes without a marker, in milliseconds. */
  readonly imageMs: number;
  readonly videoMs: number;
  /** Between the four tries that a chat without `stream` makes inside the server. */
  readonly retryGapMs: number;
  /** Between the `"."` chunks of a video's stream. */
  readonly dotMs: number;
}

export const demoDefaults: DemoOptions = {
  dialect: "mapped",
  name: "demo",
  port: 0,
  controlPort: 0,
  host: "127.0.0.1",
  imageMs: 1500,
  videoMs: 4000,
  retryGapMs: 5000,
  dotMs: 5000,
};

export class DemoState {
  readonly options: DemoOptions;
  readonly dialect: DialectRow;
  readonly faults = new FaultBoard();
  readonly jobs = new JobBook();
  readonly tasks = new TaskList();
  readonly usage = new UsageCounters();
  /** The server's own port, once it listens. */
  port = 0;
  readonly #seen = new Set<string>();

  constructor(options: DemoOptions) {
    this.options = options;
    this.dialect = dialects[options.dialect];
  }

  markersFor(text: string): Markers {
    return markersFor(text, this.options.name, this.#seen);
  }

  deadToken(): JimengError {
    return new JimengError(this.dialect.deadTokenCode, "[登录失效]: 演示令牌已失效");
  }

  async failWhileUpstreamIsDown(): Promise<void> {
    if (!this.faults.upstreamDown()) return;
    await sleep(this.dialect.upstreamDown.afterMs);
    throw new JimengError(this.dialect.upstreamDown.code, "connect ECONNREFUSED");
  }

  pictureUrl(job: string, index: number): string {
    return `http://${this.options.host}:${this.port}/__demo/pictures/${this.options.name}-${job}-${index}.svg`;
  }
}
