import * as fc from "fast-check";
import { expect, test } from "vitest";
import { mergeModels, modelsAnswer, parseModels, servedModels } from "../../../src/shared/jimeng/models.ts";

const model = (id: string, more: object = {}) => ({ id, object: "model", owned_by: "jimeng-api", ...more });

test("a server's list is read with its extra fields, and an id that appears twice counts once", () => {
  const answer = {
    data: [
      model("jimeng-4.5"),
      model("jimeng-video-3.0", { description: "…" }),
      model("jimeng-4.5", { description: "again" }),
    ],
  };
  expect(parseModels(answer)).toEqual([model("jimeng-4.5"), model("jimeng-video-3.0", { description: "…" })]);
});

test("entries without an id are left out, missing fields are filled in", () => {
  expect(
    parseModels({ data: [{ id: "a" }, {}, null, "b", { id: 3 }, { id: "" }, { id: "c", object: 1, owned_by: "x" }] }),
  ).toEqual([
    { id: "a", object: "model", owned_by: "jimeng" },
    { id: "c", object: "model", owned_by: "x" },
  ]);
});

test("what is no list is null, which an empty list is not", () => {
  for (const json of [
    null,
    undefined,
    1,
    "x",
    [],
    {},
    { data: null },
    { data: {} },
    { code: -1000, message: "x", data: null },
  ]) {
    expect(parseModels(json)).toBeNull();
  }
  expect(parseModels({ data: [] })).toEqual([]);
});

test("one server can't fill the registry", () => {
  const data = Array.from({ length: 5000 }, (_, index) => ({ id: `m${index}` }));
  expect(parseModels({ data })).toHaveLength(1000);
  expect(parseModels({ data: [{ id: "x".repeat(201) }] })).toEqual([]);
});

test("the union keeps the order of the servers and the first one's entry", () => {
  const merged = mergeModels([
    [model("a"), model("b", { from: 1 })],
    [],
    [model("c"), model("b", { from: 2 }), model("a")],
  ]);
  expect(merged).toEqual([model("a"), model("b", { from: 1 }), model("c")]);
  expect(modelsAnswer(merged)).toEqual({ object: "list", data: merged });
});

test("the union holds exactly every id once, and a server that answers twice changes nothing", () => {
  const list = fc.array(fc.constantFrom("a", "b", "c", "d", "e", "__proto__", "constructor").map((id) => model(id)));
  fc.assert(
    fc.property(fc.array(list, { maxLength: 6 }), (lists) => {
      const ids = mergeModels(lists).map((entry) => entry.id);
      expect(ids).toEqual([...new Set(lists.flat().map((entry) => entry.id))]);
      expect(mergeModels([...lists, ...lists]).map((entry) => entry.id)).toEqual(ids);
    }),
    { numRuns: 300 },
  );
});

test("no JSON makes the reader throw", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.jsonValue(), fc.record({ data: fc.array(fc.jsonValue()) })),
      (json) => parseModels(json) !== undefined,
    ),
  );
});

test("a configured list binds: what a server lists beyond it is left out, what it doesn't list stands", () => {
  const read = [model("a"), { ...model("b"), description: "of the server" }];
  expect(servedModels(read, null)).toBe(read);
  expect(servedModels(read, ["b", "c"])).toEqual([
    { ...model("b"), description: "of the server" },
    { id: "c", object: "model", owned_by: "jimeng" },
  ]);
});
