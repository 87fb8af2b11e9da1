import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

/** Everything the objects and the Worker read; the tests of the configuration itself make their own. */
const testBindings = {
  RUNTIME: "local",
  BACKEND_SERVERS: JSON.stringify([
    { url: "http://127.0.0.1:9101", name: "a", weight: 3 },
    { url: "http://127.0.0.1:9102", name: "b", weight: 2 },
    { url: "http://127.0.0.1:9103", name: "c", weight: 1 },
  ]),
  ADMIN_TOKEN: "test-admin-token",
};

/**
 * Three at once, also on two cores: many of these files wait most of their time. One environment serves many files,
 * since making it and reading all modules again costs more than their tests: what a file changes outside, it puts back.
 */
const shared = { isolate: false, maxWorkers: 3 } as const;

/** Random runs by the ten thousand and virtual hours: counting lines would cost more than the tests, and finds no new line. */
const manyRuns = [
  "test/shared/**/*.property.test.ts",
  "test/shared/health/pool.test.ts",
  "test/conformance/**/*.test.ts",
];

/** They measure time, so nothing else may run beside them. */
const timed = [
  "test/tools/ip-tester.test.ts",
  "test/e2e/rate-limit.test.ts",
  "test/e2e/forwarding/faults.test.ts",
  "test/e2e/forwarding/frozen.test.ts",
  "test/e2e/forwarding/streams.test.ts",
];

export default defineConfig({
  test: {
    coverage: {
      provider: "istanbul",
      include: ["src/**/*.ts"],
      reporter: ["text-summary", "json-summary"],
      thresholds: { lines: 90 },
    },
    projects: [
      {
        test: {
          ...shared,
          name: "pure",
          include: ["test/shared/**/*.test.ts"],
          exclude: manyRuns,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...shared,
          name: "property",
          include: manyRuns,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...shared,
          name: "tools",
          include: ["test/tools/**/*.test.ts"],
          exclude: timed,
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: testBindings, cf: false },
          }),
        ],
        test: {
          ...shared,
          name: "workerd",
          include: ["test/worker/**/*.test.ts", "test/durable/**/*.test.ts"],
          exclude: ["**/*.socket.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        // A part of the Worker in workerd, seen from outside over real sockets.
        test: {
          ...shared,
          name: "socket",
          include: ["test/worker/**/*.socket.test.ts"],
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The whole system, with processes of its own; mostly it waits for them.
        test: {
          name: "e2e",
          sequence: { groupOrder: 1 },
          include: ["test/e2e/**/*.test.ts"],
          exclude: timed,
          globalSetup: "test/e2e/bundle.ts",
          maxWorkers: 4,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "timed",
          sequence: { groupOrder: 2 },
          include: timed,
          globalSetup: "test/e2e/bundle.ts",
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
