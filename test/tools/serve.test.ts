import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { configText, text } from "../../tools/serve/capnp.ts";
import { authority } from "../../tools/serve/server.ts";
import { edgeSetup, objectClasses, wholeSetup } from "../../tools/serve/setup.ts";
import { faultsOf, readVariables } from "../../tools/serve/variables.ts";

const root = join(import.meta.dirname, "..", "..");
const compatibility = { compatibilityDate: "2026-10-23", compatibilityFlags: ["enable_request_signal"] };

describe("workerd's configuration", () => {
  test("a text ends where it should, whatever it contains", () => {
    expect(text('a"b\\c')).toBe('"a\\"b\\\\c"');
    expect(text("two\nlines\u0000\u007f")).toBe('"two\\x0alines\\x00\\x7f"');
    expect(text("即梦")).toBe('"即梦"');
  });

  test("holds no value of a variable, only its name", () => {
    const written = configText(wholeSetup(compatibility, ["ADMIN_TOKEN"], "127.0.0.1:8787"));
    expect(written).toContain('(name = "ADMIN_TOKEN", fromEnvironment = "ADMIN_TOKEN")');
  });

  test("binds the objects that wrangler.toml binds, and no other", async () => {
    const toml = await readFile(join(root, "wrangler.toml"), "utf8");
    const bound = [...toml.matchAll(/\[\[durable_objects\.bindings\]\]\s+name = "(\w+)"\s+class_name = "(\w+)"/g)];
    expect(Object.fromEntries(bound.map(([, name, className]) => [name, className]))).toEqual(objectClasses);
  });

  test("gives the processes that serve and the one that remembers the same ids of objects", () => {
    const keys = (written: string): string[] => written.match(/uniqueKey = "[^"]+"/g) ?? [];
    const whole = keys(configText(wholeSetup(compatibility, [], null)));
    expect(whole).toHaveLength(3);
    expect(keys(configText(edgeSetup(compatibility, [])))).toEqual(whole);
  });

  test("keeps objects on disk in the one process and nowhere else", () => {
    expect(configText(wholeSetup(compatibility, [], null))).toContain("localDisk");
    expect(configText(edgeSetup(compatibility, []))).not.toContain("localDisk");
  });
});

test("every process bounds its young generation", () => {
  for (const setup of [wholeSetup(compatibility, [], null), edgeSetup(compatibility, [])]) {
    expect(configText(setup)).toContain('v8Flags = ["--max-semi-space-size=16"]');
  }
});

test("an IPv6 address to listen on stands in brackets, for workerd and for whoever opens what is said", () => {
  expect([authority("::1", 8787), authority("127.0.0.1", 0)]).toEqual(["[::1]:8787", "127.0.0.1:0"]);
});

describe("variables", () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "serve-variables-"));
    file = join(folder, ".dev.vars");
    await writeFile(file, 'ADMIN_TOKEN="from the file"\nBASE_PATH=/file\nOTHER=1\n');
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("the environment wins over the file, and nothing else of it gets in", () => {
    const { values } = readVariables(file, { BASE_PATH: "/environment", HOME: "/root", AWS_SECRET: "x" });
    expect(values).toEqual({ ADMIN_TOKEN: "from the file", BASE_PATH: "/environment", RUNTIME: "self-hosted" });
  });

  test("the runtime is self-hosted whatever was asked for, and the difference is told", () => {
    const { values, warnings } = readVariables(join(folder, "none"), { RUNTIME: "cloudflare" });
    expect(values["RUNTIME"]).toBe("self-hosted");
    expect(warnings).toEqual([expect.stringContaining('"cloudflare" is not used')]);
    expect(readVariables(join(folder, "none"), { RUNTIME: "self-hosted" }).warnings).toEqual([]);
  });

  test("a configuration that the Worker would refuse is refused before anything starts", () => {
    expect(faultsOf({ BACKEND_SERVERS: "[]" }).map(({ field }) => field)).toContain("BACKEND_SERVERS");
    expect(faultsOf({ BACKEND_SERVERS: '[{"url":"https://jimeng-1.example.com"}]', RUNTIME: "self-hosted" })).toEqual(
      [],
    );
  });
});
