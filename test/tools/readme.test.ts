import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { backendDefaults, defaults } from "../../src/shared/config/defaults.ts";
import { resolvePath, settingPaths, valueAt } from "../../src/shared/config/override.ts";
import type { Config } from "../../src/shared/config/config.ts";
import { jimengRoutes } from "../../src/shared/jimeng/routes.ts";

const root = resolve(import.meta.dirname, "../..");

/** `defaults` is a configuration without backends; its own paths are all that is looked up in it. */
const defaultConfig: Config = { ...defaults, BACKENDS: [] };

interface Row {
  readonly key: string;
  /** The second column's code; null where it is empty. */
  readonly value: string | null;
}

/** The tables from a marker to the next one, or to the next heading: rows that begin with a name in code. */
function rowsAfter(text: string, marker: string): Row[] {
  const part = text.split(`<!-- ${marker} -->`)[1]?.split(/^(?:<!--|#)/m)[0] ?? "";
  const rows = [...part.matchAll(/^\| `([^`|]+)` +\| (?:`([^`]*)`)? *\|/gm)];
  return rows.map(([, key = "", value]) => ({ key, value: value ?? null }));
}

/** A row may name a group: then it speaks of all settings beneath it. */
function settingsOf(key: string): readonly string[] {
  return settingPaths.filter((path) => path === key || path.startsWith(`${key}.`));
}

describe.each(["README.md", "README.zh-CN.md"])("%s", (file) => {
  const text = readFileSync(join(root, file), "utf8");

  test("names every setting of the configuration once, and none that there isn't", () => {
    const rows = rowsAfter(text, "settings");
    for (const { key } of rows) expect(settingsOf(key), key).not.toEqual([]);
    expect(rows.flatMap(({ key }) => settingsOf(key)).sort()).toEqual([...settingPaths].sort());
  });

  test("shows the default that the code has", () => {
    for (const { key, value } of rowsAfter(text, "settings")) {
      expect({ [key]: JSON.parse(value ?? "null") }).toEqual({ [key]: valueAt(defaultConfig, key) });
    }
  });

  test("names every field of a backend, with its default", () => {
    const rows = rowsAfter(text, "backend fields");
    expect(rows.map(({ key }) => key).sort()).toEqual(["url", "name", ...Object.keys(backendDefaults)].sort());
    const shown = rows.filter(({ value }) => value !== null).map(({ key, value }) => [key, JSON.parse(value ?? "")]);
    expect(Object.fromEntries(shown)).toEqual(backendDefaults);
  });

  test("names every route that a client has", () => {
    const paths = new Set(jimengRoutes.map(({ id }) => id.slice(id.indexOf(" ") + 1)));
    for (const path of paths) expect(text).toContain(path);
  });
});

const guides = ["", "docs", "docs/adr", "demo"].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name)),
);

/** As GitHub makes them: lower case, no punctuation, a dash for each blank. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
}

function anchors(file: string): string[] {
  const prose = readFileSync(file, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading));
}

describe.each(guides)("%s", (guide) => {
  const file = join(root, guide);
  const text = readFileSync(file, "utf8");

  test("every link to a file or a chapter leads somewhere", () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
    for (const link of links.filter((one) => !/^[a-z]+:/.test(one))) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? file : join(dirname(file), path);
      expect(existsSync(target), `${guide} → ${link}`).toBe(true);
      if (anchor !== undefined) expect(anchors(target), `${guide} → ${link}`).toContain(decodeURIComponent(anchor));
    }
  });

  test("every setting it speaks of exists", () => {
    const groups = new Set(Object.keys(defaults));
    const spoken = [...text.matchAll(/`([A-Z_]{3,}(?:\.[A-Za-z_0-9]+)+)/g)].map(([, name = ""]) => name);
    const settings = spoken.filter((name) => groups.has(name.split(".")[0] ?? ""));
    for (const name of settings) expect(resolvePath(name), `${guide}: ${name}`).not.toBeNull();
  });
});
