import { describe, expect, test } from "vitest";
import { classifyAnswer, classifyThrown } from "../../../src/shared/jimeng/answer.ts";
import type { Executed, Outcome, OutcomeKind } from "../../../src/shared/outcome.ts";
import { aborted, outcomeKinds, success } from "../../../src/shared/outcome.ts";
import type { Again } from "../../../src/shared/retry/matrix.ts";
import { anotherAttempt, happenings, retryMatrix, shouldRetryHeader } from "../../../src/shared/retry/matrix.ts";
import { routeClasses } from "../../../src/shared/route.ts";
import type { RouteClass } from "../../../src/shared/route.ts";

function outcome(kind: OutcomeKind, executed: Executed, reason = "x"): Outcome {
  return { kind, executed, seenByProbe: false, reason };
}

const cheap = ["query", "token"] as const;
const tied = ["usage", "task"] as const;
const paid = ["generate", "stream", "task"] as const;

/** What happened → may it be sent again: cheap, tied to one server, paid, paid under `unsafe`. */
const rows: readonly (readonly [name: string, Outcome, cheap: Again, tied: Again, paid: Again, unsafe: Again])[] = [
  ["success", success, "never", "never", "never", "never"],
  ["the client left", aborted, "never", "never", "never", "never"],
  ["the client's mistake, refused before", outcome("client_fault", "no"), "never", "never", "never", "never"],
  ["the client's mistake, refused after", outcome("client_fault", "yes"), "never", "never", "never", "never"],
  ["a dead token", outcome("token_fault", "no"), "never", "never", "never", "never"],
  ["no credits", outcome("token_fault", "yes"), "never", "never", "never", "never"],
  [
    "no such route there",
    outcome("client_fault", "no", "route_unknown"),
    "elsewhere",
    "never",
    "elsewhere",
    "elsewhere",
  ],
  ["full, not executed", outcome("capacity", "no"), "elsewhere", "never", "elsewhere", "elsewhere"],
  ["full, perhaps executed", outcome("capacity", "unknown"), "anywhere", "same", "never", "anywhere"],
  ["failed, not executed", outcome("backend_fault", "no"), "anywhere", "same", "elsewhere", "anywhere"],
  ["failed, perhaps executed", outcome("backend_fault", "unknown"), "anywhere", "same", "never", "anywhere"],
  ["failed, executed", outcome("backend_fault", "yes"), "anywhere", "same", "never", "never"],
  ["unknown, not executed", outcome("unknown", "no"), "anywhere", "same", "elsewhere", "anywhere"],
  ["unknown, perhaps executed", outcome("unknown", "unknown"), "anywhere", "same", "never", "anywhere"],
  ["unknown, executed", outcome("unknown", "yes"), "anywhere", "same", "never", "never"],
];

describe("the retry matrix", () => {
  test.each(rows)("%s", (_, happened, ifCheap, ifTied, ifPaid, ifUnsafe) => {
    for (const generations of ["safe", "unsafe"] as const) {
      for (const routeClass of cheap)
        expect(anotherAttempt(happened, { routeClass, paid: false, generations })).toBe(ifCheap);
      for (const routeClass of tied)
        expect(anotherAttempt(happened, { routeClass, paid: false, generations })).toBe(ifTied);
    }
    for (const routeClass of paid) {
      expect(anotherAttempt(happened, { routeClass, paid: true, generations: "safe" })).toBe(ifPaid);
      expect(anotherAttempt(happened, { routeClass, paid: true, generations: "unsafe" })).toBe(ifUnsafe);
    }
  });

  test("the rows above stand for every kind × executed", () => {
    const covered = new Set(rows.map(([, { kind, executed }]) => `${kind}/${executed}`));
    const impossible = new Set([
      "success/no",
      "success/unknown",
      "client_fault/unknown",
      "token_fault/unknown",
      "capacity/yes",
      "aborted/yes",
      "aborted/no",
    ]);
    for (const kind of outcomeKinds) {
      for (const executed of ["yes", "no", "unknown"]) {
        if (!impossible.has(`${kind}/${executed}`)) expect(covered).toContain(`${kind}/${executed}`);
      }
    }
    expect(Object.keys(retryMatrix).sort()).toEqual([...happenings].sort());
  });

  test("what may have been executed is never paid for twice, whatever its class and kind", () => {
    for (const routeClass of routeClasses) {
      for (const kind of outcomeKinds) {
        for (const executed of ["yes", "unknown"] as const) {
          const question = { routeClass, paid: true, generations: "safe" } as const;
          expect(anotherAttempt(outcome(kind, executed), question)).toBe("never");
        }
      }
    }
  });

  test("a generation is paid even if its route forgot to say so", () => {
    for (const routeClass of ["generate", "stream"] as const) {
      expect(anotherAttempt(outcome("unknown", "unknown"), { routeClass, paid: false, generations: "safe" })).toBe(
        "never",
      );
    }
  });
});

describe("a generation after a real happening", () => {
  const again = (happened: Outcome, routeClass: RouteClass = "generate") =>
    anotherAttempt(happened, { routeClass, paid: true, generations: "safe" });
  const answer = (status: number, code: number | null = null, message = "") =>
    classifyAnswer(
      {
        status,
        code,
        message,
        hasRetryAfter: false,
        isJimengBody: code !== null,
        bodyState: "complete",
        elapsedMs: 10,
      },
      "generate",
    );

  test.each([521, 522, 523, 525, 526, 530])(
    "goes elsewhere after %d, which proves that it was never delivered",
    (status) => {
      expect(again(answer(status))).toBe("elsewhere");
    },
  );
  test.each([500, 502, 503, 504, 520, 524, 529])("is not sent again after %d", (status) => {
    expect(again(answer(status))).toBe("never");
  });
  test.each([-1000, -2000, -2001, -2002, -2003, -2004, -2006, -2007, -2008, -2009])(
    "is not sent again after %d, mapped or flat",
    (code) => {
      expect(again(answer(500, code))).toBe("never");
      expect(again(answer(200, code))).toBe("never");
    },
  );
  test("goes elsewhere when that server has no such route, and not when its JSON is broken", () => {
    expect(again(answer(200, -1000, "[请求有误]: …"))).toBe("elsewhere");
    expect(again(answer(500, -1000, "无效的JSON格式"))).toBe("never");
    expect(again(answer(500, -1000, "不支持的参数"))).toBe("never");
  });
  test("is sent again after a refusal that is known as such, and after no other transport failure", () => {
    expect(again(classifyThrown("refused", "connecting", 2))).toBe("elsewhere");
    for (const cause of ["reset", "timeout", "unclear", "refused", "dns", "tls", "deadline"] as const) {
      for (const phase of ["sent", "headers", "body"] as const)
        expect(again(classifyThrown(cause, phase, 20))).toBe("never");
    }
  });
});

describe("x-should-retry", () => {
  test("is false for every failed generation that is not proven unexecuted", () => {
    for (const kind of outcomeKinds) {
      for (const executed of ["yes", "unknown"] as const) {
        for (const status of [400, 401, 408, 409, 429, 500, 502, 503, 504, 529]) {
          expect(shouldRetryHeader(outcome(kind, executed), status, true)).toBe("false");
        }
      }
    }
  });
  test("is left to the SDK where the generation was proven unexecuted and another time may go better", () => {
    expect(shouldRetryHeader(outcome("capacity", "no"), 429, true)).toBeNull();
    expect(shouldRetryHeader(outcome("backend_fault", "no"), 502, true)).toBeNull();
  });
  test("is false for mistakes and dead tokens, paid or not, since a mapped server answers them with 500s too", () => {
    for (const isPaid of [true, false]) {
      expect(shouldRetryHeader(outcome("client_fault", "no"), 500, isPaid)).toBe("false");
      expect(shouldRetryHeader(outcome("token_fault", "no"), 401, isPaid)).toBe("false");
    }
  });
  test("is false for a flat dialect's failed generation, which has the status 200 until it is given its own", () => {
    for (const kind of outcomeKinds) {
      if (kind !== "success") expect(shouldRetryHeader(outcome(kind, "unknown"), 200, true)).toBe("false");
    }
  });
  test("is absent from cheap failures and from successes", () => {
    expect(shouldRetryHeader(outcome("backend_fault", "unknown"), 502, false)).toBeNull();
    expect(shouldRetryHeader(success, 200, true)).toBeNull();
    expect(shouldRetryHeader(success, 304, false)).toBeNull();
  });
});
