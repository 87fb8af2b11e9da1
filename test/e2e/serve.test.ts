/** `npm run serve` from outside: what it believes, what it leaves behind, and how it ends. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
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

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
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
  const child = launch(["--port", "0"], { CONFIG: '{"RATE_LIMIT":{"requests":-1}}' });
  let told = "";
  child.stderr?.on("data", (bytes: Buffer) => (told += bytes.toString("utf8")));
  const [code] = await once(child, "exit");
  expect(code).toBe(1);
  expect(told).toContain("RATE_LIMIT.requests");
});
