import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../src/shared/config/read.ts";

const tool = fileURLToPath(new URL("../../tools/config-check.ts", import.meta.url));
const node = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-check-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program in the folder, which holds nothing but the files given. */
async function run(options: {
  args?: string[];
  env?: Record<string, string>;
  files?: Record<string, string>;
}): Promise<Run> {
  const { args = [], env = {}, files = {} } = options;
  const cwd = await mkdtemp(join(folder, "run-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
  return new Promise((resolve) => {
    execFile(
      node,
      ["--", tool, ...args],
      { cwd, env: { PATH: process.env["PATH"] ?? "", ...env } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

const backends = (host: string) =>
  JSON.stringify([{ url: `https://${host}`, headers: { "X-Origin-Secret": "hunter2" } }]);

describe("config:check", () => {
  test("finds what is wrong with the clients' and the operators' keys, and shows none of them", async () => {
    const env = {
      BACKEND_SERVERS: backends("a.example.com"),
      API_KEYS: '{"team":{"key":"hunter2 with blanks"}}',
      ADMIN_TOKENS: '{"ops":{"token":"hunter2","role":"emperor"}}',
    };
    const { code, stdout } = await run({ args: ["--json"], env });
    expect(code).toBe(1);
    const verdict = JSON.parse(stdout) as { faults: { field: string }[]; warnings: string[] };
    expect(verdict.faults.map(({ field }) => field)).toEqual(["API_KEYS.team.key"]);
    expect(verdict.warnings.join()).toMatch(/ADMIN_TOKENS\.ops\.role.*operators' API/);
    expect(stdout).not.toContain("hunter2");
    const right = await run({ env: { ...env, API_KEYS: '{"team":{"key":"hunter2-and-hunter3"}}', ADMIN_TOKENS: "" } });
    expect([right.code, right.stdout.includes("hunter2")]).toEqual([0, false]);
  });

  test("prints the same faults as the Worker finds, and exits 1", async () => {
    const env = {
      BACKEND_SERVERS: '[{"url":"http://127.0.0.1","weight":-1},{"url":"https://u:hunter2@a.example.com"}]',
      CONFIG: '{"RATELIMIT":{}}',
    };
    const reading = readConfig(env);
    const { code, stdout } = await run({ args: ["--json"], env });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, faults: reading.ok ? [] : reading.faults, config: null });
    expect(stdout).not.toContain("hunter2");
    const readable = await run({ env });
    expect(readable.code).toBe(1);
    for (const words of [
      "BACKEND_SERVERS[0].weight",
      "a whole number from 0 to 1000",
      "did you mean RATE_LIMIT?",
      "503 configuration_invalid",
    ]) {
      expect(readable.stdout).toContain(words);
    }
    expect(readable.stdout).not.toContain("hunter2");
  });

  test("exits 0 on a valid configuration and shows it without its secrets", async () => {
    const { code, stdout } = await run({
      env: { BACKEND_SERVERS: backends("a.example.com"), CONFIG: '{"RATE_LIMIT":{"requests":5}}' },
    });
    expect(code).toBe(0);
    expect(stdout).toContain("a.example.com");
    expect(stdout).toMatch(/RATE_LIMIT\.requests\s*│ 5\s*│ CONFIG/u);
    expect(stdout).toMatch(/RATE_LIMIT\.window\s*│ 60\s*│ default/u);
    expect(stdout).not.toContain("hunter2");
  });

  test("with nothing set it says how to set the backends", async () => {
    const { code, stdout } = await run({});
    expect(code).toBe(1);
    expect(stdout).toContain("wrangler secret put");
  });

  test("the environment wins over .dev.vars, which wins over wrangler.toml", async () => {
    const files = {
      ".dev.vars": `BACKEND_SERVERS='${backends("b.example.com")}'\nPICKS=exact\n`,
      "wrangler.toml":
        '[vars]\nBACKEND_SERVERS = [{ url = "https://c.example.com" }]\nPICKS = "auto"\nBASE_PATH = ""\n',
    };
    const result = async (env: Record<string, string>, names: string[]) => {
      const kept = Object.fromEntries(Object.entries(files).filter(([name]) => names.includes(name)));
      return JSON.parse((await run({ args: ["--json"], env, files: kept })).stdout) as {
        config: { BACKENDS: { name: string }[] };
        from: Record<string, string>;
        warnings: string[];
      };
    };
    const all = await result({ BACKEND_SERVERS: backends("a.example.com") }, [".dev.vars", "wrangler.toml"]);
    expect(all.config).toMatchObject({ BACKENDS: [{ name: "a.example.com" }], PICKS: "exact", BASE_PATH: "" });
    expect(all.from).toEqual({
      BACKEND_SERVERS: "the environment",
      PICKS: ".dev.vars",
      BASE_PATH: "[vars] of wrangler.toml",
    });
    expect(all.warnings.some((warning) => warning.includes("not used"))).toBe(true);
    expect((await result({}, [".dev.vars", "wrangler.toml"])).config.BACKENDS[0]?.name).toBe("b.example.com");
    const toml = await result({}, ["wrangler.toml"]);
    expect(toml.config.BACKENDS[0]?.name).toBe("c.example.com");
    expect(toml.warnings.join()).toContain("`wrangler secret put BACKEND_SERVERS` is refused");
  });

  test("another file can be named; one that isn't there is an error", async () => {
    const files = { "production.vars": `BACKEND_SERVERS='${backends("p.example.com")}'\n` };
    const { code, stdout } = await run({ args: ["--json", "--env-file", "production.vars"], files });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ from: { BACKEND_SERVERS: "production.vars" } });
    const missing = await run({ args: ["--env-file", "nothing.vars"] });
    expect(missing.code).toBe(1);
    expect(missing.stderr + missing.stdout).toContain("nothing.vars");
  });

  test("[vars] of a named environment count with --env", async () => {
    const files = {
      "wrangler.toml": '[env.production.vars]\nBACKEND_SERVERS = \'[{"url":"https://p.example.com"}]\'\n',
    };
    expect((await run({ args: ["--env", "production"], files })).code).toBe(0);
    expect((await run({ args: ["--env", "staging"], files })).code).toBe(1);
  });

  test("more than 5 KB is a warning, not a fault", async () => {
    const { code, stdout } = await run({ env: { BACKEND_SERVERS: backends("a.example.com") + " ".repeat(6000) } });
    expect(code).toBe(0);
    expect(stdout).toContain("warning: BACKEND_SERVERS");
  });
});
