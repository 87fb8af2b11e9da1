/** `npm run serve` from outside: what it believes, what it leaves behind, and how it ends. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestBackend } from "./edge.ts";
import { childrenOf, launchServe, servedUrl } from "./serve-process.ts";

const adminToken = "a-secret-that-must-stay-off-the-disk";

let backend: TestBackend;
let stateFolder: string;
const running: Served[] = [];

beforeAll(async () => {
  backend = await TestBackend.start({ name: "one", demo: { imageMs: 1500 } });
});
afterAll(() => backend.kill());
afterEach(async () => {
  for (const served of running.splice(0)) await served.stop();
  await rm(stateFolder, { recursive: true, force: true });
});

class Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly gone: Promise<number | null>;

  private constructor(child: ChildProcess, url: string, gone: Promise<number | null>) {
    this.child = child;
    this.url = url;
    this.gone = gone;
  }

  static async start(args: readonly string[], variables: Readonly<Record<string, string>> = {}): Promise<Served> {
    stateFolder = await mkdtemp(join(tmpdir(), "jimeng-edge-serve-"));
    const child = launch(["--port", "0", "--state", stateFolder, ...args], variables);
    const gone = once(child, "exit").then(([code]) => code as number | null);
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const url = await new Promise<string>((resolve, reject) => {
      lines.on("line", (line) => {
        const found = servedUrl(line);
        if (found !== null) resolve(found);
      });
      void gone.then((code) => reject(new Error(`serve ended with code ${code}`)));
    });
    const served = new Served(child, url, gone);
    running.push(served);
    return served;
  }

  /** Processes that it started and that still run. */
  children(): Promise<readonly number[]> {
    return childrenOf(this.child.pid as number);
  }

  async stop(): Promise<number | null> {
    this.child.kill("SIGTERM");
    return this.gone;
  }
}

function launch(args: readonly string[], variables: Readonly<Record<string, string>>): ChildProcess {
  const servers = JSON.stringify([{ url: backend.url, name: "one" }]);
  const own = { BACKEND_SERVERS: servers, ADMIN_TOKEN: adminToken };
  return launchServe(args, { ...own, ...variables }, ["ignore", "pipe", "pipe"]);
}

/** A start that is to fail: its exit code and what it says on stderr. */
async function refused(
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly told: string }> {
  const child = launch(["--port", "0", ...args], variables);
  let told = "";
  child.stderr?.on("data", (bytes: Buffer) => (told += bytes.toString("utf8")));
  const [code] = (await once(child, "close")) as [number];
  return { code, told };
}

/** What has ended and that nobody has asked about yet is a zombie: state Z. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

const limited = { CONFIG: JSON.stringify({ RATE_LIMIT: { requests: 2, window: 60, blockDuration: 300 } }) };

async function statusOf(url: string, headers: Readonly<Record<string, string>> = {}): Promise<number> {
  const answer = await fetch(`${url}/ping`, { headers });
  await answer.body?.cancel();
  return answer.status;
}

const picture = { method: "POST", headers: { "content-type": "application/json", authorization: "Bearer any" } };
const askForPicture = (url: string): Promise<Response> =>
  fetch(`${url}/v1/images/generations`, { ...picture, body: JSON.stringify({ prompt: "a cat" }) });

/** That have reached the backend. */
const generations = async (): Promise<number> => (await backend.counts())["POST /v1/images/generations"] ?? 0;

/** Those that the registry has on disk. */
function storedLeases(folder: string): number {
  const objects = join(folder, "objects", "jimeng-edge-BackendRegistry");
  const file = readdirSync(objects).find((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)) ?? "";
  const database = new DatabaseSync(join(objects, file), { readOnly: true });
  try {
    return Number(database.prepare("SELECT count(*) AS count FROM lease").get()?.["count"]);
  } finally {
    database.close();
  }
}

/** That the registry sent. */
const probes = async (): Promise<number> => (await backend.counts())["GET /ping"] ?? 0;

async function inFlight(url: string): Promise<number | undefined> {
  const answer = await fetch(`${url}/api/backends`, { headers: { authorization: `Bearer ${adminToken}` } });
  return ((await answer.json()) as { backends: { inFlight: number }[] }).backends[0]?.inFlight;
}

describe.each([
  ["one process", []],
  ["two workers over one set of objects", ["--workers", "2"]],
])("%s", (_name, args) => {
  test("a forged CF-Connecting-IP or X-Forwarded-For is not believed: the client is who holds the socket", async () => {
    const { url } = await Served.start(args, limited);
    expect(await statusOf(url, { "cf-connecting-ip": "203.0.113.1" })).toBe(200);
    expect(await statusOf(url, { "cf-connecting-ip": "203.0.113.2" })).toBe(200);
    expect(await statusOf(url, { "cf-connecting-ip": "203.0.113.3" })).toBe(429);
    expect(await statusOf(url, { "x-forwarded-for": "203.0.113.4" })).toBe(429);
  });

  test("SIGTERM lets a running generation end, then no process is left", async () => {
    const served = await Served.start(args);
    const before = await generations();
    const answer = askForPicture(served.url);
    await expect.poll(generations).toBe(before + 1);
    const children = await served.children();
    expect(children.length).toBeGreaterThan(0);
    expect(await served.stop()).toBe(0);
    expect((await answer).status).toBe(200);
    expect(children.filter(isRunning)).toEqual([]);
  });

  test("what still runs when the time to drain is over is killed", async () => {
    const served = await Served.start([...args, "--drain", "0"]);
    const before = await generations();
    const answer = askForPicture(served.url).then(
      ({ status }) => status,
      () => "broken",
    );
    await expect.poll(generations).toBe(before + 1);
    const children = await served.children();
    expect(await served.stop()).toBe(0);
    expect(children.filter(isRunning)).toEqual([]);
    expect(await answer).toBe("broken");
  });

  test("killed without a word, or ended while it starts, it leaves no process", async () => {
    const served = await Served.start(args);
    const children = await served.children();
    served.child.kill("SIGKILL");
    await served.gone;
    await expect.poll(() => children.filter(isRunning)).toEqual([]);
    const starting = launch(["--port", "0", "--state", stateFolder, ...args], {});
    await expect.poll(() => childrenOf(starting.pid as number), { interval: 1 }).not.toEqual([]);
    const begun = await childrenOf(starting.pid as number);
    starting.kill("SIGTERM");
    await once(starting, "exit");
    await expect.poll(() => begun.filter(isRunning)).toEqual([]);
  });

  test("a second edge over the same state is refused in one line, and the first goes on", async () => {
    const served = await Served.start(args);
    const { code, told } = await refused(["--state", stateFolder, ...args]);
    expect([code, told]).toEqual([1, `another edge runs over ${stateFolder}; --state takes another folder\n`]);
    expect(await statusOf(served.url)).toBe(200);
  });

  test("a port that is taken is an error, and nothing is left running", async () => {
    const { url } = await Served.start(args);
    const { port } = new URL(url);
    const { code, told } = await refused(["--port", port, "--state", join(stateFolder, "other"), ...args]);
    expect(code).toBe(1);
    expect(told).toMatch(/address already in use/i);
    expect(await statusOf(url)).toBe(200);
  });

  test("a task's home and a generation in flight outlive a kill", async () => {
    const slow = await TestBackend.start({ name: "slow", demo: { imageMs: 60_000 } });
    try {
      const variables = { BACKEND_SERVERS: JSON.stringify([{ url: slow.url, name: "slow" }]) };
      const first = await Served.start(args, variables);
      const made = await fetch(`${first.url}/v1/async/images/generations`, { ...picture, body: '{"prompt":"a dog"}' });
      const { task_id: task } = ((await made.json()) as { data: { task_id: string } }).data;
      void askForPicture(first.url).catch(() => undefined);
      await expect.poll(() => storedLeases(stateFolder), { timeout: 10_000 }).toBe(1);
      first.child.kill("SIGKILL");
      await first.gone;
      const again = await Served.start([...args, "--state", stateFolder], variables);
      expect(await inFlight(again.url)).toBe(1);
      const status = await fetch(`${again.url}/v1/async/tasks/${task}/status`, { headers: picture.headers });
      expect([status.status, status.headers.get("x-jimeng-edge-backend")]).toEqual([200, "slow"]);
    } finally {
      await slow.kill();
    }
  });

  test("probes go on after a kill, without a cron, once a first request has come", async () => {
    const config = { CONFIG: JSON.stringify({ HEALTH_CHECK: { interval: 1, timeout: 1 } }) };
    const first = await Served.start(args, config);
    expect(await statusOf(first.url)).toBe(200);
    first.child.kill("SIGKILL");
    await first.gone;
    const again = await Served.start([...args, "--state", stateFolder], config);
    expect(await statusOf(again.url)).toBe(200);
    const before = await probes();
    await expect.poll(probes, { timeout: 10_000 }).toBeGreaterThanOrEqual(before + 3);
  });

  test("a process that dies takes the others with it, and the exit code says so", async () => {
    const served = await Served.start(args);
    const children = await served.children();
    process.kill(children[0] as number, "SIGKILL");
    expect(await served.gone).toBe(1);
    expect(children.filter(isRunning)).toEqual([]);
  });
});

test("counts of all workers are the same counts", async () => {
  const { url } = await Served.start(["--workers", "3"], {
    CONFIG: JSON.stringify({ RATE_LIMIT: { requests: 20, window: 60, blockDuration: 300 } }),
  });
  const statuses = await Promise.all(Array.from({ length: 40 }, () => statusOf(url, { connection: "close" })));
  expect(statuses.filter((status) => status === 200)).toHaveLength(20);
});

test("no file of the state holds a secret", async () => {
  const { url } = await Served.start([]);
  expect(await statusOf(url)).toBe(200);
  const files = await readdir(stateFolder, { recursive: true, withFileTypes: true });
  const contents = await Promise.all(
    files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), "latin1")),
  );
  expect(contents.length).toBeGreaterThan(2);
  expect(contents.filter((content) => content.includes(adminToken))).toEqual([]);
});

test("a block outlives a restart over the same state", async () => {
  const first = await Served.start([], limited);
  for (const expected of [200, 200, 429]) expect(await statusOf(first.url)).toBe(expected);
  await first.stop();
  const again = await Served.start(["--state", stateFolder], limited);
  expect(await statusOf(again.url)).toBe(429);
});

test("a configuration that can't be used is named on stderr, and nothing starts", async () => {
  const { code, told } = await refused([], { CONFIG: '{"RATE_LIMIT":{"requests":-1}}' });
  expect(code).toBe(1);
  expect(told).toContain("RATE_LIMIT.requests");
});

test.each([
  [["--workers", "0"], '--workers: a whole number from 1 to 64; received "0"'],
  [["--port", "99999"], '--port: a whole number from 0 to 65535; received "99999"'],
  [["--drain", "soon"], '--drain: a whole number from 0 to 86400; received "soon"'],
  [["--wokers", "2"], "--wokers: there is no such option"],
  [["8787"], 'only options are taken, --host --port --workers --state --env-file --drain; received "8787"'],
  [["--state", "/dev/null/state"], "ENOTDIR"],
])("called with %j it says what is wrong, and nothing starts", async (args, message) => {
  const { code, told } = await refused(args);
  expect(code).toBe(1);
  expect(told).toContain(message);
  expect(told).not.toContain("    at ");
});

test("docs/operations.md, in both languages, names every option that there is", async () => {
  const child = launch(["--help"], {});
  let told = "";
  child.stdout?.on("data", (bytes: Buffer) => (told += bytes.toString("utf8")));
  await once(child, "close");
  const options = new Set([...told.matchAll(/--[a-z-]+/g)].map(([option]) => option));
  expect(options).toContain("--workers");
  for (const file of ["operations.md", "operations.zh-CN.md"]) {
    const text = await readFile(join(import.meta.dirname, "..", "..", "docs", file), "utf8");
    expect([...options].filter((option) => !text.includes(`\`${option}\``))).toEqual([]);
  }
});
