import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { failures } from "../../src/worker/failure.ts";

const docs = resolve(import.meta.dirname, "../../docs");

interface Chapter {
  readonly code: string;
  readonly text: string;
}

/** Headings whose only words are a code. */
function chapters(file: string): Chapter[] {
  const [, ...parts] = readFileSync(resolve(docs, file), "utf8").split(/^### (?=`)/m);
  return parts.map((part) => ({
    code: /^`([a-z_]+)`/.exec(part)?.[1] ?? part.slice(0, 40),
    text: part.split(/^## /m)[0] ?? "",
  }));
}

describe.each(["failure-modes.md", "failure-modes.zh-CN.md"])("docs/%s", (file) => {
  test("has one chapter for every failure code, and none for a code that there isn't", () => {
    const codes = chapters(file).map(({ code }) => code);
    expect(codes.sort()).toEqual(Object.keys(failures).sort());
  });

  test("tells the status and the number that the code sends", () => {
    for (const { code, text } of chapters(file)) {
      const { status, number } = failures[code as keyof typeof failures];
      expect(text, code).toContain(`${status} · ${number}`);
    }
  });

  test("says for each what to check", () => {
    for (const { code, text } of chapters(file)) {
      const [, ...lines] = text.split("\n");
      expect(lines.join("").trim().length, code).toBeGreaterThan(40);
    }
  });
});
