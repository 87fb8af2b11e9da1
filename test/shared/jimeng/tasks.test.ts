import * as fc from "fast-check";
import { expect, test } from "vitest";
import { taskIdOf } from "../../../src/shared/jimeng/tasks.ts";

test("the id of a submitted task is found with and without its envelope", () => {
  const id = "2615e11f-fc3b-43be-819d-c9a309dce4b8";
  expect(taskIdOf({ success: true, data: { task_id: id, status: "pending" } })).toBe(id);
  expect(taskIdOf({ task_id: id, status: "pending" })).toBe(id);
});

test("an error, a refusal or an absurd id is none", () => {
  for (const json of [
    { code: -2000, message: "bad", data: null },
    { success: false, data: { task_id: "x" } },
    { data: { task_id: "" } },
    { data: { task_id: 7 } },
    { data: { task_id: "x".repeat(129) } },
    { data: [] },
    null,
    "task_id",
    [],
  ]) {
    expect(taskIdOf(json)).toBeNull();
  }
});

test("no JSON makes the reader throw", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (json) =>
      [null, "string"].includes(taskIdOf(json) === null ? null : typeof taskIdOf(json)),
    ),
  );
});
