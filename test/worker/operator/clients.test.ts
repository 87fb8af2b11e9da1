import { describe, expect, test, vi } from "vitest";
import type { OperationsLedgerApi } from "../../../src/shared/contract.ts";
import type { Env } from "../../../src/worker/env.ts";
import { ledgerOf } from "../../../src/worker/env.ts";
import { ask, bindings, environment, json, startAnew } from "./fixture.ts";

startAnew();

const ledger = (): OperationsLedgerApi => ledgerOf(bindings);

async function block(at: Env, client: string): Promise<void> {
  expect((await ask(at, "/api/blocks", { method: "POST", body: { client, seconds: 60 } })).status).toBe(201);
  await vi.waitFor(async () => expect(await listed(at)).toHaveLength(1));
}

async function listed(at: Env): Promise<readonly string[]> {
  const { blocks } = (await json(await ask(at, "/api/blocks"))) as { blocks: { clientKey: string }[] };
  return blocks.map(({ clientKey }) => clientKey);
}

async function lifts(): Promise<number> {
  return (await ledger().events({ sinceMs: 0, kind: "client_unblocked", limit: 10 })).length;
}

describe("lifting a block", () => {
  test.each(["2001:db8::9", "198.51.100.9", "operator:2001:db8::9"])(
    "takes the key of %s as the list shows it",
    async (client) => {
      const at = environment();
      await block(at, client);
      const [key] = await listed(at);
      expect(await json(await ask(at, `/api/clients/${key}`))).toMatchObject({ client: key, block: { byHand: true } });
      const answer = await ask(at, `/api/blocks/${key}`, { method: "DELETE" });
      expect([answer.status, await json(answer)]).toEqual([200, { client: key, lifted: true }]);
      await vi.waitFor(async () => expect(await listed(at)).toEqual([]));
    },
  );

  test("is 404 where there is none, and then nothing is told of it in the timeline", async () => {
    const at = environment();
    const answer = await ask(at, "/api/blocks/198.51.100.9", { method: "DELETE" });
    expect([answer.status, await json(answer)]).toMatchObject([404, { error: { code: "not_found" } }]);
    expect(await lifts()).toBe(0);
  });

  test("works on a block that the list has lost", async () => {
    const at = environment();
    await block(at, "198.51.100.9");
    await ledger().unblocked("198.51.100.9");
    expect((await ask(at, "/api/blocks/198.51.100.9", { method: "DELETE" })).status).toBe(200);
    expect(await lifts()).toBe(1);
  });

  test("takes from the list what no limiter knows of", async () => {
    const at = environment();
    const untilMs = Date.now() + 60_000;
    const stale = { clientKey: "198.51.100.9", sinceMs: 1, untilMs, reason: "stale", refused: 0, byHand: false };
    await ledger().blocked(stale);
    expect(await listed(at)).toEqual(["198.51.100.9"]);
    expect((await ask(at, "/api/blocks/198.51.100.9", { method: "DELETE" })).status).toBe(404);
    await vi.waitFor(async () => expect(await listed(at)).toEqual([]));
  });
});
