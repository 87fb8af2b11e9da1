/**
 * The conformance table over real sockets: a client, the cache step in workerd, a scripted origin. Each row runs with the Cache API and with the
 * isolate's own memory as the store. The clock is the test's; nothing waits.
 */
import type { ExpectStatic } from "vitest";
import { describe, expect, test } from "vitest";
import type { Case, ExpectedFields, OriginSays, Step } from "./cases/case.ts";
import { startMs } from "./cases/case.ts";
import { freshness } from "./cases/freshness.ts";
import { requests } from "./cases/requests.ts";
import { selecting } from "./cases/selecting.ts";
import { storing } from "./cases/storing.ts";
import { validation } from "./cases/validation.ts";
import { CacheSystem } from "./cache-system.ts";
import type { Received } from "./raw-client.ts";

const system = new CacheSystem(16);

const all: readonly Case[] = [...storing, ...freshness, ...requests, ...validation, ...selecting];

test("the table holds two hundred cases or more, each with a name of its own", () => {
  expect(all.length).toBeGreaterThanOrEqual(200);
  const names = all.map(({ clause, says }, index) => (says.startsWith("…") ? `${index}` : `${clause} ${says}`));
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

for (const storeName of ["api", "memory"] as const) {
  describe.concurrent(`store: ${storeName}`, () => {
    for (const [index, row] of all.entries()) {
      test(`${row.clause}: ${row.says}`, async ({ expect }) => {
        const prefix = `/${storeName}-${index}`;
        for (const [number, step] of row.steps.entries())
          await runStep(expect, prefix, step, `step ${number + 1}`, storeName);
      });
    }
  });
}

async function runStep(expect: ExpectStatic, prefix: string, step: Step, label: string, store: string): Promise<void> {
  const nowMs = startMs + (step.at ?? 0) * 1000;
  const answers: readonly OriginSays[] = step.origin === undefined ? [] : [step.origin].flat();
  const deadline = Date.now() + 5000;
  for (;;) {
    system.origin.expect(prefix, nowMs, ...answers);
    const before = system.origin.asked(prefix).length;
    const received = await ask(prefix + (step.path ?? "/x"), step, nowMs, store);
    try {
      check(expect, step, received, system.origin.asked(prefix).slice(before), label);
      return;
    } catch (error) {
      if (step.eventually !== true || Date.now() > deadline) throw error;
    }
  }
}

function check(
  expect: ExpectStatic,
  step: Step,
  received: Received,
  asked: ReturnType<typeof system.origin.asked>,
  label: string,
): void {
  const got = { label, status: received.status, source: received.headers["x-test-source"], body: received.body };
  expect(got).toEqual({
    ...got,
    status: step.status ?? got.status,
    source: step.source ?? got.source,
    body: step.is ?? got.body,
  });
  if (step.asked !== undefined) expect(asked.length, `${label}: requests at the origin`).toBe(step.asked);
  expectFields(expect, received.headers, step.fields ?? {}, `${label}: answer's`);
  expectFields(expect, asked.at(-1)?.headers ?? {}, step.sent ?? {}, `${label}: upstream request's`);
}

function expectFields(
  expect: ExpectStatic,
  fields: Received["headers"],
  expected: ExpectedFields,
  whose: string,
): void {
  for (const [name, value] of Object.entries(expected)) {
    const got = fields[name];
    if (value === null) expect(got, `${whose} ${name}`).toBeUndefined();
    else if (typeof value === "string") expect(got, `${whose} ${name}`).toBe(value);
    else expect(String(got ?? ""), `${whose} ${name}`).toMatch(value);
  }
}

function ask(target: string, step: Step, nowMs: number, store: string): Promise<Received> {
  const told = { now: String(nowMs), rule: step.rule, generation: step.generation, host: step.host, store };
  const headers: Record<string, string | readonly string[]> = {};
  for (const [name, value] of Object.entries(told)) if (value !== undefined) headers[`x-test-${name}`] = value;
  Object.assign(headers, step.headers);
  const body = step.body === undefined ? {} : { body: step.body };
  return system.client.ask(target, { method: step.method ?? "GET", headers, ...body });
}
