import { expect, test } from "vitest";
import { AnalyticsSink } from "../../../src/worker/log/analytics.ts";
import type { LogEntry } from "../../../src/worker/log/entry.ts";

const entry: LogEntry = {
  id: "i",
  timestamp: "2026-11-23T00:00:00.000Z",
  method: "POST",
  url: "/v1/images/generations",
  route: "POST /v1/images/generations",
  status: 200,
  latency: 18_000,
  client_ip: "203.0.113.7",
  client_key: "key:bob",
  api_key: "bob",
  limit_reported: false,
  backend: "a",
  attempts: 2,
  user_agent: "curl",
  cache: null,
  outcome: "success",
  reason: "ok",
  region: "HKG",
};

test("a data point has the route as its index, labels and numbers, and nothing of the client", () => {
  const points: AnalyticsEngineDataPoint[] = [];
  const dataset = { writeDataPoint: (point?: AnalyticsEngineDataPoint) => void points.push(point ?? {}) };
  const sink = new AnalyticsSink(dataset, () => undefined);
  sink.write(entry);
  sink.write({ ...entry, route: null });
  expect(points).toEqual([
    {
      indexes: ["POST /v1/images/generations"],
      blobs: ["POST /v1/images/generations", "POST", "success", "ok", "a", null, "HKG", "bob"],
      doubles: [200, 18_000, 2],
    },
    expect.objectContaining({ indexes: ["none"] }),
  ]);
  expect(JSON.stringify(points)).not.toMatch(/203\.0\.113|curl|key:bob/);
});

test("an index is never longer than Analytics Engine takes", () => {
  const points: AnalyticsEngineDataPoint[] = [];
  const sink = new AnalyticsSink({ writeDataPoint: (point) => void points.push(point ?? {}) }, () => undefined);
  sink.write({ ...entry, route: `GET /${"é".repeat(300)}` });
  expect(new TextEncoder().encode(String(points[0]?.indexes?.[0])).length).toBeLessThanOrEqual(96);
});

test("a failing dataset is warned of and counted, and throws nothing", () => {
  const warnings: string[] = [];
  const failing = {
    writeDataPoint(): void {
      throw new Error("down");
    },
  };
  const sink = new AnalyticsSink(failing, (event) => void warnings.push(event));
  sink.write(entry);
  expect([warnings, sink.takeDropped(), sink.takeDropped()]).toEqual([["analytics_unavailable"], 1, 0]);
});
