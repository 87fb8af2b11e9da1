/** What a stranger does first: clone, `npm ci`, `npm start`, and everything that the README promises of it. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isFree } from "../../demo/ports.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const root = join(import.meta.dirname, "..", "..");
const config = {
  RATE_LIMIT: { enabled: false },
  ROUTES: [{ path: "/test/*", methods: ["GET"], class: "query", cache: "none" }],
};

interface Clone {
  readonly folder: string;
  remove(): void;
}

function cloneInto(): Clone {
  const folder = mkdtempSync(join(tmpdir(), "jimeng-edge-clone-"));
  run(root, "git", "clone", "--quiet", root, folder);
  run(folder, "npm", "ci", "--silent");
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

function run(cwd: string, command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

interface Running {
  readonly npm: ChildProcess;
  readonly url: string;
  readonly output: () => string;
}

async function npmStart(folder: string): Promise<Running> {
  let port = 23_000;
  while (!(await isFree(port))) port += 1;
  const npm = spawn("npm", ["start"], {
    cwd: folder,
    env: { ...process.env, PORT: String(port), CONFIG: JSON.stringify(config) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  npm.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
  return { npm, url: `http://127.0.0.1:${port}`, output: () => text };
}

/** Polls until it holds; the seconds it took, or null when it never did. */
async function secondsUntil(limitS: number, holds: () => Promise<boolean>): Promise<number | null> {
  const began = performance.now();
  for (;;) {
    const tookS = (performance.now() - began) / 1000;
    if (tookS > limitS) return null;
    if (await holds().catch(() => false)) return (performance.now() - began) / 1000;
    await sleep(100);
  }
}

const shown = (seconds: number | null): string => (seconds === null ? "never" : `${seconds.toFixed(1)} s`);

async function serves(url: string): Promise<boolean> {
  const headers = { authorization: "Bearer any", "content-type": "application/json" };
  const post = (path: string, body: unknown): Promise<Response> =>
    fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  const models = await fetch(`${url}/v1/models`);
  const picture = await post("/v1/images/generations", { prompt: "a cat" });
  const messages = [{ role: "user", content: "a cat" }];
  const stream = await post("/v1/chat/completions", { model: "jimeng-4.5", stream: true, messages });
  return models.ok && picture.ok && (await stream.text()).endsWith("data: [DONE]\n\n");
}

async function spread(url: string, count: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const answer = await fetch(`${url}/test/spread`);
    const name = answer.ok ? (answer.headers.get("x-jimeng-edge-backend") ?? "none") : `status ${answer.status}`;
    counts[name] = (counts[name] ?? 0) + 1;
    await answer.arrayBuffer();
  }
  return counts;
}

async function healthOf(url: string, name: string): Promise<boolean | undefined> {
  const { backends } = (await (await fetch(`${url}/health`)).json()) as {
    backends: { name: string; healthy: boolean }[];
  };
  return backends.find((backend) => backend.name === name)?.healthy;
}

async function checkSpread(report: VerificationReport, url: string): Promise<void> {
  const counts = await spread(url, 60);
  const expected = { "demo-mapped": 30, "demo-flat-1": 20, "demo-flat-2": 10 };
  const held = Object.entries(expected).every(([name, share]) => Math.abs((counts[name] ?? 0) - share) <= 1);
  report.check("60 cheap requests spread 3:2:1 over weights 3, 2, 1 within ± 1", held, JSON.stringify(counts));
}

async function checkDeath(report: VerificationReport, { url, output }: Running, folder: string): Promise<void> {
  const line = /^ {2}demo-mapped +http:\S+:(\d+) .*process (\d+)/m.exec(output());
  if (line === null) throw new Error("the start names no process of demo-mapped");
  process.kill(Number(line[2]), "SIGKILL");
  const counts = await spread(url, 100);
  const failed = Object.entries(counts).filter(([name]) => name.startsWith("status"));
  report.check("after one backend is killed the next 100 GETs succeed", failed.length === 0, JSON.stringify(counts));
  const downS = await secondsUntil(15, async () => (await healthOf(url, "demo-mapped")) === false);
  report.check("/health shows it down within 15 s", downS !== null, shown(downS));
  const args = ["demo/backend.ts", "--dialect", "mapped", "--port", line[1] ?? "", "--name", "demo-mapped"];
  const back = spawn(process.execPath, args, { cwd: folder, stdio: "ignore" });
  try {
    const upS = await secondsUntil(15, async () => (await healthOf(url, "demo-mapped")) === true);
    report.check("… and up within 15 s of its return", upS !== null, shown(upS));
  } finally {
    back.kill();
  }
}

/** Processes that work in the clone. */
function processesIn(folder: string): string[] {
  return readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`) === folder;
    } catch {
      return false;
    }
  });
}

async function checkStop(report: VerificationReport, { npm }: Running, folder: string): Promise<void> {
  const gone = once(npm, "exit");
  npm.kill("SIGTERM");
  await gone;
  const emptyS = await secondsUntil(10, async () => processesIn(folder).length === 0);
  report.check("SIGTERM to npm start leaves no process", emptyS !== null, shown(emptyS));
}

export default {
  name: "The first way through",
  async run(report) {
    const clone = cloneInto();
    try {
      const running = await npmStart(clone.folder);
      const upS = await secondsUntil(20, () => serves(running.url));
      report.check(
        "npm ci && npm start in an empty clone serves models, a picture and a stream within 20 s",
        upS !== null,
        shown(upS),
      );
      await checkSpread(report, running.url);
      await checkDeath(report, running, clone.folder);
      await checkStop(report, running, clone.folder);
    } finally {
      clone.remove();
    }
  },
} satisfies Verification;
