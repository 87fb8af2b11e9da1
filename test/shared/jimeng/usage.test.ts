import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mergeUsage } from "../../../src/shared/jimeng/usage.ts";
import type { UsageAnswering } from "../../../src/shared/jimeng/usage.ts";

const date = "2026-11-23";

/** One server's statistics as it computes them: `sessions` were active, each with its pictures and so on. */
function stats(total: number, active: number, images: number, videos: number, avatars: number) {
  const average = (count: number) => (active === 0 ? 0 : count / active);
  return {
    success: true,
    data: {
      total_sessions: total,
      active_sessions_today: active,
      total_images_today: images,
      total_videos_today: videos,
      total_avatars_today: avatars,
      avg_images_per_session: average(images),
      avg_videos_per_session: average(videos),
      avg_avatars_per_session: average(avatars),
    },
    date,
  };
}

function session(images: number, videos: number, avatars: number) {
  return {
    success: true,
    data: {
      session_id: "s1",
      date,
      image_count: images,
      video_count: videos,
      avatar_count: avatars,
      remaining_images: Math.max(0, 10 - images),
      remaining_videos: Math.max(0, 2 - videos),
      remaining_avatars: Math.max(0, 1 - avatars),
    },
  };
}

describe("/usage/stats", () => {
  test("sums what is a sum and recomputes what is an average", () => {
    expect(mergeUsage("usage_stats", [stats(4, 4, 5, 4, 0), stats(6, 1, 10, 0, 2), stats(0, 0, 0, 0, 0)], 4)).toEqual({
      ...stats(10, 5, 15, 4, 2),
      meta: { backends_asked: 4, backends_answered: 3, sessions: "upper bound" },
    });
  });

  test("one server's answer is itself, one dead server fails nothing, none at all is null", () => {
    const one = stats(4, 4, 5, 4, 0);
    expect(
      mergeUsage(
        "usage_stats",
        [null, one, { code: -1000, message: "x", data: null }, undefined, "x", { success: false, data: {} }],
        6,
      ),
    ).toEqual({
      ...one,
      meta: { backends_asked: 6, backends_answered: 1, sessions: "upper bound" },
    });
    expect(mergeUsage("usage_stats", [null, { code: -1000, message: "x", data: null }], 2)).toBeNull();
    expect(mergeUsage("usage_stats", [], 0)).toBeNull();
  });

  test("the merge of any fleet is what one server would say that had served it all, in any order", () => {
    const share = fc.tuple(fc.nat(50), fc.nat(50), fc.nat(500), fc.nat(500), fc.nat(500));
    fc.assert(
      fc.property(fc.array(share, { minLength: 1, maxLength: 8 }), (shares) => {
        const total = shares.reduce(
          (sum, part) => part.map((value, index) => value + (sum[index] as number)) as typeof part,
        );
        // A server without active sessions has served nothing that day.
        if (total[1] === 0) return;
        const merged = mergeUsage(
          "usage_stats",
          shares.map((part) => stats(...part)),
          shares.length,
        );
        expect(merged).toMatchObject(stats(...total));
        expect(
          mergeUsage(
            "usage_stats",
            shares.toReversed().map((part) => stats(...part)),
            shares.length,
          ),
        ).toEqual(merged);
      }),
      { numRuns: 300 },
    );
  });
});

describe("/usage/session/:id", () => {
  test("counts are summed, what remains is one server's limit less the sum, and never negative", () => {
    expect(mergeUsage("usage_session", [session(4, 1, 0), session(3, 1, 1)], 2)).toEqual({
      ...session(7, 2, 1),
      meta: { backends_asked: 2, backends_answered: 2, sessions: "upper bound" },
    });
    expect(mergeUsage("usage_session", [session(9, 2, 1), session(9, 2, 1)], 2)).toMatchObject({
      data: { image_count: 18, remaining_images: 0, remaining_videos: 0, remaining_avatars: 0 },
    });
  });
});

describe("/usage/session/:id/history", () => {
  test("days are merged, the newest first, each with what remained of it", () => {
    const day = (when: string, images: number, made: string) => ({
      ...session(images, 0, 0).data,
      date: when,
      created_at: made,
      updated_at: made,
    });
    const answer = (...history: object[]) => ({ success: true, data: { session_id: "s1", days: 7, history } });
    const merged = mergeUsage(
      "usage_history",
      [
        answer(day("2026-11-22", 3, "2026-11-22 09:00:00"), day("2026-11-21", 1, "2026-11-21 09:00:00")),
        answer(day("2026-11-23", 2, "2026-11-23 01:00:00"), day("2026-11-22", 9, "2026-11-22 07:00:00")),
      ],
      3,
    );
    expect(merged).toEqual({
      success: true,
      data: {
        session_id: "s1",
        days: 7,
        history: [
          day("2026-11-23", 2, "2026-11-23 01:00:00"),
          { ...day("2026-11-22", 12, "2026-11-22 07:00:00"), updated_at: "2026-11-22 09:00:00" },
          day("2026-11-21", 1, "2026-11-21 09:00:00"),
        ],
      },
      meta: { backends_asked: 3, backends_answered: 2, sessions: "upper bound" },
    });
  });
});

describe("/usage/range", () => {
  const day = (when: string, active: number, images: number) => ({
    date: when,
    active_sessions: active,
    total_images: images,
    total_videos: 0,
    total_avatars: 0,
    avg_images: images / active,
    avg_videos: 0,
    avg_avatars: 0,
  });
  const answer = (...daily_stats: unknown[]) => ({
    success: true,
    data: { start_date: "a", end_date: "b", daily_stats },
  });

  test("days are merged with their averages", () => {
    expect(
      mergeUsage(
        "usage_range",
        [answer(day("2026-11-22", 2, 3)), answer(day("2026-11-22", 2, 7), day("2026-11-23", 1, 1))],
        2,
      ),
    ).toMatchObject({
      data: { start_date: "a", end_date: "b", daily_stats: [day("2026-11-23", 1, 1), day("2026-11-22", 4, 10)] },
    });
  });

  test("rows that are none and lists that are missing do no harm", () => {
    expect(
      mergeUsage("usage_range", [answer(null, 3, "x", [], day("d", 1, 1)), { success: true, data: {} }], 2),
    ).toMatchObject({
      data: { daily_stats: [day("d", 1, 1)] },
      meta: { backends_answered: 2 },
    });
  });

  test("a server with rows without end fills no memory", () => {
    const rows = Array.from({ length: 10_000 }, (_, index) => day(`d${index}`, 1, 1));
    const merged = mergeUsage("usage_range", [answer(...rows)], 1) as { data: { daily_stats: unknown[] } };
    expect(merged.data.daily_stats).toHaveLength(4000);
  });
});

test("no JSON makes a merge throw, and no field name reaches a prototype", () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constant(JSON.parse('{"__proto__": 1, "constructor": 2, "hasOwnProperty": 3}') as unknown),
  );
  const answer = fc.oneof(
    value,
    fc.record({ success: value, data: value }),
    fc.record({ data: fc.record({ history: fc.array(value), daily_stats: fc.array(value) }) }),
  );
  const kinds: readonly UsageAnswering[] = ["usage_stats", "usage_session", "usage_history", "usage_range"];
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 4 }), fc.constantFrom(...kinds), (answers, kind) => {
      const before = JSON.stringify(answers);
      const merged = mergeUsage(kind, answers, answers.length);
      return (
        (merged === null || Object.getPrototypeOf(merged) === Object.prototype) && JSON.stringify(answers) === before
      );
    }),
    { numRuns: 1500 },
  );
});
