import { createExecutionContext, reset, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, expect, test, vi } from "vitest";
import worker from "../../src/worker/index.ts";
import { bindings, environment } from "./operator/fixture.ts";

afterEach(async () => {
  vi.restoreAllMocks();
  await reset();
});

test("a registry that the cron trigger is the first to ask is made where LOCATION.registry says", async () => {
  const hints: unknown[] = [];
  const namespace = bindings.BACKEND_REGISTRY;
  const watched = new Proxy(namespace, {
    get(target, name) {
      if (name === "idFromName") return (id: string) => target.idFromName(id);
      return (id: DurableObjectId, options?: DurableObjectNamespaceGetDurableObjectOptions) => {
        hints.push(options?.locationHint);
        return target.get(id);
      };
    },
  });
  vi.spyOn(console, "log").mockReturnValue();
  const at = environment({ BACKEND_REGISTRY: watched, CONFIG: '{"LOCATION":{"registry":"apac"}}' });
  const ctx = createExecutionContext();
  await worker.scheduled({} as ScheduledController, at, ctx);
  await waitOnExecutionContext(ctx);
  expect(hints).toEqual(["apac"]);
});
