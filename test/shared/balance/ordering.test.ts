import * as fc from "fast-check";
import { expect, it } from "vitest";
import { orderedPlaces, sortByScore } from "../../../src/shared/balance/ordering.ts";
import { member } from "./members.ts";

const rows = fc.array(fc.record({ score: fc.integer({ min: 0, max: 6 }), turn: fc.integer({ min: -3, max: 3 }) }), {
  minLength: 1,
  maxLength: 60,
});

it("puts the first places in the order of score, turn and name, and all equals of the first in front", () => {
  fc.assert(
    fc.property(rows, (given) => {
      const table = given.map((row, index) => ({ ...row, member: member(`m${String(index).padStart(2, "0")}`) }));
      const expected = table.toSorted(
        (a, b) => a.score - b.score || b.turn - a.turn || (a.member.name < b.member.name ? -1 : 1),
      );
      const members = table.map((row) => row.member);
      const turns = new Map(table.map((row) => [row.member.name, row.turn]));
      const scores = table.map((row) => row.score);
      const equals = sortByScore(members, scores, turns);
      const best = expected[0]!.score;
      expect(members.slice(0, orderedPlaces)).toEqual(expected.slice(0, orderedPlaces).map((row) => row.member));
      expect(equals).toBe(given.filter((row) => row.score === best).length);
      expect(scores.slice(0, equals).every((score) => score === best)).toBe(true);
      expect(members.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(table.map((row) => row.member));
    }),
  );
});
