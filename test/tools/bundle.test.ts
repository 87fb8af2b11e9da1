import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { dropOld } from "../../demo/bundle.ts";

const nowMs = Date.parse("2026-11-26T12:00:00Z");
const minuteMs = 60_000;
let bundles: string;

beforeEach(async () => {
  bundles = await mkdtemp(join(tmpdir(), "jimeng-edge-bundles-"));
});

afterEach(async () => {
  await rm(bundles, { recursive: true });
});

async function put(name: string, ageMs: number): Promise<void> {
  await mkdir(join(bundles, name));
  await writeFile(join(bundles, name, "index.js"), "");
  const used = new Date(nowMs - ageMs);
  await utimes(join(bundles, name), used, used);
}

describe("of the bundles that starts leave behind", () => {
  test("the four that were used last stay, whatever they are called", async () => {
    const ages = { aa: 1, bb: 6, cc: 2, dd: 5, ee: 3, ff: 4 };
    for (const [name, minutes] of Object.entries(ages)) await put(name, minutes * minuteMs);
    await dropOld(bundles, nowMs);
    expect((await readdir(bundles)).sort()).toEqual(["aa", "cc", "ee", "ff"]);
  });

  test("a draft stays while somebody may be writing it, and goes with whoever was killed over it", async () => {
    await put("draft-under-way", 5 * minuteMs);
    await put("draft-of-yesterday", 24 * 60 * minuteMs);
    for (const name of ["aa", "bb", "cc", "dd"]) await put(name, 0);
    await dropOld(bundles, nowMs);
    expect((await readdir(bundles)).sort()).toEqual(["aa", "bb", "cc", "dd", "draft-under-way"]);
  });

  test("none is missed where there are none yet", async () => {
    await expect(dropOld(join(bundles, "nowhere"), nowMs)).resolves.toBeUndefined();
  });
});
