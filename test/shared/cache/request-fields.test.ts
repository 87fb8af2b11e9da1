import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  negotiating,
  roleOf,
  selectingNames,
  selectingValue,
  unaccounted,
} from "../../../src/shared/cache/request-fields.ts";

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/);

test("every field is dropped, keyed, a credential, or keeps the answer from being stored", () => {
  fc.assert(
    fc.property(name, fc.array(name), (field, vary) => {
      const names = selectingNames(vary);
      const role = roleOf(field);
      const keyed = names.includes(field);
      const blocks = unaccounted([field], names).length === 1;
      expect(role === "dropped" || role === "credentials" || keyed || blocks).toBe(true);
      if (role === "dropped") expect(keyed).toBe(false);
    }),
  );
});

test("what names another host, address, method or path is dropped", () => {
  const names = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-for",
    "x-forwarded-scheme",
    "x-forwarded-anything",
    "x-real-ip",
    "x-host",
  ];
  const more = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "cf-connecting-ip",
    "true-client-ip",
    "host",
  ];
  for (const field of [...names, ...more]) expect(roleOf(field), field).toBe("dropped");
});

test("the negotiating fields always select, and names are sorted", () => {
  expect(selectingNames([])).toEqual(negotiating);
  expect(selectingNames(["x-z", "accept", "a", "accept-encoding"])).toEqual(["a", ...negotiating, "x-z"]);
});

test("no field and any value are the same wish", () => {
  expect(selectingValue("accept", "*/*")).toBe(selectingValue("accept", null));
  expect(selectingValue("accept-language", "*")).toBe(selectingValue("accept-language", null));
  expect(selectingValue("x-a", "*")).not.toBe(selectingValue("x-a", null));
});

test("a value's normal form is its own normal form", () => {
  fc.assert(
    fc.property(fc.constantFrom("accept", "accept-language", "prefer", "x-a"), fc.string(), (field, text) => {
      const once = selectingValue(field, text);
      expect(selectingValue(field, once)).toBe(once);
    }),
  );
});
