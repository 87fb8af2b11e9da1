/** `npm start` as a user has it: what it starts, and that nothing of it stays. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { isFree } from "../../demo/ports.ts";

const root = join(import.meta.dirname, "..", "..");
const readyWithinMs = 20_000;
const goneWithinMs = 10_000;

interface Started {
  readonly child: ChildProcess;
  readonly url: string;
  readonly text: string;
}

const running: ChildProcess[] = [];
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }
});

async function freePort(from: number): Promise<number> {
  for (let port = from; ; port += 1) if (await isFree(port)) return port;
}

/** `--vars` points nowhere, so that a `.dev.vars` of whoever runs this doesn't matter. */
async function start(port: number, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Started> {
  const child = spawn(process.execPath, [join(root, "demo", "start.ts"), "--vars", "none", ...args], {
    cwd: root,
    env: { ...process.env, ...env, PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.push(child);
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
  await expect.poll(() => text, { timeout: readyWithinMs }).toContain("Ctrl-C");
  return { child, url: `http://127.0.0.1:${port}`, text };
}

/** Processes that descend from `pid`, itself included, as long as their parents live. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const parent = parentOf(Number(name));
    if (parent !== null) parents.set(Number(name), parent);
  }
  const found = [pid];
  for (const known of found) for (const [child, parent] of parents) if (parent === known) found.push(child);
  return found;
}

function parentOf(pid: number): number | null {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has ended; it only waits for its parent to read how.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

const postPicture = (url: string, prompt: string): Promise<Response> =>
  fetch(`${url}/v1/images/generations`, {
    method: "POST",
    headers: { authorization: "Bearer any", "content-type": "application/json" },
    body: JSON.stringify({ prompt }),
  });

it("serves models, a picture and a chat stream, and prints five commands", async () => {
  const { url, text } = await start(await freePort(21_000), ["--fresh"]);
  expect(text.match(/^ {2}curl /gm)).toHaveLength(5);
  const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: unknown[] };
  expect(models.data.length).toBeGreaterThan(3);
  expect((await postPicture(url, "a cat")).status).toBe(200);
  const stream = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: "Bearer any", "content-type": "application/json" },
    body: JSON.stringify({ model: "jimeng-4.5", stream: true, messages: [{ role: "user", content: "a cat" }] }),
  });
  expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/);
});

it.each(["SIGTERM", "SIGINT", "SIGKILL"] as const)(
  "%s leaves no process, also while a request runs",
  async (signal) => {
    const started = await start(await freePort(21_100));
    const { child, url } = started;
    const processes = descendants(child.pid ?? 0);
    expect(processes.length).toBeGreaterThanOrEqual(6);
    const request = postPicture(url, "[[delay=30000]]").then(
      ({ status }) => status,
      () => "broken off",
    );
    await expect.poll(async () => jobsRunning(started)).toBe(1);
    child.kill(signal);
    await expect.poll(() => processes.filter(isAlive), { timeout: goneWithinMs }).toEqual([]);
    expect(await request).not.toBe(200);
  },
);

it.each([
  ["npm", "sh -c '{}; exit' & exec sleep 0"],
  ["npm and its shell", "{} & exec sleep 0"],
])("ends by itself when %s had ended before it came up", async (_who, script) => {
  const port = await freePort(21_500);
  const command = `"${process.execPath}" demo/start.ts --vars none`;
  const shell = spawn("sh", ["-c", script.replace("{}", command)], {
    cwd: root,
    env: { ...process.env, npm_lifecycle_event: "start", PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  // All that it starts is in its process group, but for the edge, which ends with who started it.
  const group = -(shell.pid ?? 0);
  try {
    await expect.poll(() => signal(group, 0), { timeout: goneWithinMs }).toBe(false);
  } finally {
    signal(group, "SIGKILL");
  }
});

/** False when there is no such process or group. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Generations that the stand-ins are at work on, as their control endpoints tell. */
async function jobsRunning({ text }: Started): Promise<number> {
  const controls = [...text.matchAll(/http:\S+\/__demo/g)].map(([control]) => control);
  const states = await Promise.all(controls.map(async (control) => (await fetch(`${control}/state`)).json()));
  return (states as { jobsRunning: number }[]).reduce((sum, state) => sum + state.jobsRunning, 0);
}

it("two of them run side by side, each with servers of its own, also where BACKEND_SERVERS is there and empty", async () => {
  const first = await freePort(21_200);
  const second = await freePort(first + 1);
  const [a, b] = await Promise.all([start(first), start(second, [], { BACKEND_SERVERS: "" })]);
  const serversIn = ({ text }: Started): string[] => text.match(/^ {2}demo-\S+ +(http\S+)/gm) ?? [];
  expect(new Set([...serversIn(a), ...serversIn(b)]).size).toBe(6);
  for (const { url } of [a, b]) expect((await fetch(`${url}/v1/models`)).status).toBe(200);
});

it("with BACKEND_SERVERS it starts no servers of its own, and a broken one is said to the client", async () => {
  const { url, text } = await start(await freePort(21_300), [], { BACKEND_SERVERS: "{broken" });
  expect(text).not.toContain("demo-mapped");
  const answer = await fetch(`${url}/v1/models`);
  expect([answer.status, await answer.json()]).toMatchObject([503, { error: { code: "configuration_invalid" } }]);
});

it("what was stored is there after the next start, and --fresh forgets it", async () => {
  const port = await freePort(21_400);
  const status = async ({ url }: Started): Promise<number> =>
    (await fetch(`${url}/ping`, { headers: { "cf-connecting-ip": "203.0.113.9" } })).status;
  const first = await start(port, ["--fresh"]);
  const statuses = await Promise.all(Array.from({ length: 110 }, () => status(first)));
  expect(statuses).toContain(429);
  await stop(first.child);
  const second = await start(port);
  expect(await status(second)).toBe(429);
  await stop(second.child);
  expect(await status(await start(port, ["--fresh"]))).toBe(200);
});

async function stop(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  await gone;
}
