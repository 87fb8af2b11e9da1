import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Changes } from "../../../src/shared/cache/changes.ts";

test("no change is ever missed, however many there are, and none is made up while they are few", () => {
  const steps = fc.array(fc.constantFrom("note", "mark"), { maxLength: 40 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 5 }), fc.constantFrom(1, 100), (steps, targets, repeated) => {
      const changes = new Changes();
      const noted: string[] = [];
      const marks: { readonly at: number; readonly before: number }[] = [];
      for (const [index, step] of steps.entries()) {
        if (step === "mark") marks.push({ at: changes.mark, before: noted.length });
        else
          for (let times = 0; times < repeated; times += 1) {
            const target = `/${index % targets}/${repeated === 1 ? 0 : times}`;
            changes.note(target);
            noted.push(target);
          }
      }
      for (const { at, before } of marks) {
        for (const target of new Set([...noted, "/never"])) {
          const changed = noted.indexOf(target, before) >= 0;
          if (changed) expect(changes.since(at, target)).toBe(true);
          else if (repeated === 1) expect(changes.since(at, target)).toBe(false);
        }
      }
    }),
  );
});
