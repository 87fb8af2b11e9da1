/**
 * `npm test`: types, lint, format, then every project of the tests, those of single rooms with coverage. What is skipped
 * counts as failed: a test that does not run guards nothing.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finish, type Tally } from "./tally.ts";

const root = join(import.meta.dirname, "..");
const tsconfigs = ["src/shared", "src/worker", "src/durable", "test/tsconfig.workers.json", "test/tsconfig.node.json"];

interface Check {
  readonly name: string;
  readonly command: readonly [tool: string, ...args: string[]];
}

/** Before all tests: what they find is found soonest. */
const checks: readonly Check[] = [
  ...tsconfigs.map((path): Check => ({ name: `types of ${path}`, command: ["tsc", "-p", path] })),
  { name: "lint", command: ["oxlint", "--deny-warnings"] },
];
/** Beside the tests that mostly wait: it takes a core for a quarter of a minute. */
const checksBeside: readonly Check[] = [
  { name: "format", command: ["prettier", "--check", "--log-level", "warn", "."] },
];

/** At once as many as that: the machine of a continuous integration has two cores. */
const parallel = 2;
const leastCoverage = 90;

/** Counting lines makes a test up to three times as dear, so it is done where each line has its test. */
const runs: readonly (readonly string[])[] = [
  ["--coverage", "--project=pure", "--project=workerd"],
  ["--project=property", "--project=tools", "--project=socket", "--project=e2e", "--project=timed"],
];

/** Node's compiled code, for the many processes that the tests start. */
const compileCache = join(root, "node_modules", ".cache", "node");

/** A runner that hangs (an object whose constructor throws can do that) is ended. A busy machine may take ten minutes. */
const ceilingMs = 17 * 60_000;
/** What it may take to end its own children. */
const termMs = 10_000;

interface Finished {
  readonly code: number;
  readonly output: string;
}

function runTool([tool, ...args]: Check["command"], show: boolean): Promise<Finished> {
  return new Promise((resolve) => {
    const bin = join(root, "node_modules", ".bin", tool);
    const child = spawn(bin, args, {
      cwd: root,
      env: { NODE_COMPILE_CACHE: compileCache, ...process.env },
      stdio: ["ignore", show ? "inherit" : "pipe", show ? "inherit" : "pipe"],
    });
    const ceiling = [
      setTimeout(() => child.kill("SIGTERM"), ceilingMs),
      setTimeout(() => child.kill("SIGKILL"), ceilingMs + termMs),
    ];
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.once("error", (error) => resolve({ code: 1, output: String(error) }));
    child.once("close", (code) => {
      for (const timer of ceiling) clearTimeout(timer);
      resolve({ code: code ?? 1, output });
    });
  });
}

async function runChecks(these: readonly Check[], tally: Tally): Promise<void> {
  const waiting = [...these];
  const work = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const { code, output } = await runTool(check.command, false);
      if (code === 0) tally.passed += 1;
      else tally.failed += 1;
      console.log(`${code === 0 ? "✓" : "✗"} ${check.name}`);
      if (code !== 0) console.log(output);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
}

/** The part of vitest's JSON report that is counted. */
interface VitestReport {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly unknown[];
  }[];
}

async function runVitest(tally: Tally): Promise<void> {
  await rm(join(root, "coverage"), { recursive: true, force: true });
  const seen = new Set<string>();
  for (const run of runs) {
    const beside = run === runs.at(-1) ? runChecks(checksBeside, tally) : null;
    for (const file of await runProjects(run, tally)) seen.add(file);
    await beside;
  }
  const files = await readdir(join(root, "test"), { recursive: true });
  const missed = files.filter((file) => file.endsWith(".test.ts") && !seen.has(join(root, "test", file)));
  for (const file of missed) console.log(`✗ test/${file} belongs to no project that was run`);
  tally.failed += missed.length;
}

/** The files that it has run. */
async function runProjects(run: readonly string[], tally: Tally): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), "jimeng-edge-test-"));
  const file = join(folder, "report.json");
  const args = ["run", ...run, "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const { code } = await runTool(["vitest", ...args], true);
  if (!existsSync(file)) {
    console.log(`✗ vitest wrote no report (code ${code})`);
    tally.failed += 1;
    return [];
  }
  const report = JSON.parse(await readFile(file, "utf8")) as VitestReport;
  await rm(folder, { recursive: true });
  const unrun = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  const failed = report.numTotalTests - report.numPassedTests + unrun.length;
  tally.passed += report.numPassedTests;
  tally.failed += failed;
  const isCovered = !run.includes("--coverage") || (await isCoverageEnough(tally));
  // An error outside of any test, or a worker that died, shows in the exit code alone.
  if (code !== 0 && failed === 0 && isCovered) {
    console.log(`✗ vitest ended with code ${code}`);
    tally.failed += 1;
  }
  return report.testResults.map(({ name }) => name);
}

async function isCoverageEnough(tally: Tally): Promise<boolean> {
  const isEnough = await checkCoverage();
  if (isEnough) tally.passed += 1;
  else tally.failed += 1;
  return isEnough;
}

async function checkCoverage(): Promise<boolean> {
  const file = join(root, "coverage", "coverage-summary.json");
  if (!existsSync(file)) {
    console.log("✗ coverage: no summary was written");
    return false;
  }
  const summary = JSON.parse(await readFile(file, "utf8")) as { total: { lines: { pct: number } } };
  const { pct } = summary.total.lines;
  const enough = pct >= leastCoverage;
  console.log(`${enough ? "✓" : "✗"} coverage of src/: ${pct} % of lines (at least ${leastCoverage} %)`);
  return enough;
}

const tally: Tally = { passed: 0, failed: 0 };
await runChecks(checks, tally);
await runVitest(tally);
finish(tally);
