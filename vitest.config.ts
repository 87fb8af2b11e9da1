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
          name: "pure",
          include: ["test/shared/**/*.test.ts", "test/conformance/**/*.test.ts", "test/tools/**/*.test.ts"],
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
          name: "workerd",
          include: ["test/worker/**/*.test.ts", "test/durable/**/*.test.ts"],
          exclude: ["**/*.socket.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        // A part of the Worker in workerd, seen from outside over real sockets.
        test: {
          name: "socket",
          include: ["test/worker/**/*.socket.test.ts"],
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          // After the others: it measures time, and starts processes of its own.
          sequence: { groupOrder: 1 },
          include: ["test/e2e/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
