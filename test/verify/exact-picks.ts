/** The end-to-end tests once more, with the registry asked for every pick. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { picksVariable } from "../e2e/edge.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const root = join(import.meta.dirname, "..", "..");

/** The part of vitest's JSON report that is read. */
interface Told {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

async function tested(): Promise<Told> {
  const folder = await mkdtemp(join(tmpdir(), "jimeng-edge-exact-"));
  const file = join(folder, "report.json");
  const args = ["run", "--project=e2e", "--project=timed", "--reporter=json", `--outputFile=${file}`];
  const env = { ...process.env, [picksVariable]: "exact" };
  const child = spawn(join(root, "node_modules", ".bin", "vitest"), args, { cwd: root, env, stdio: "ignore" });
  await new Promise((resolve) => child.once("close", resolve));
  try {
    return JSON.parse(await readFile(file, "utf8")) as Told;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function run(report: VerificationReport): Promise<void> {
  const { numTotalTests, numPassedTests, testResults } = await tested();
  const claim = "every end-to-end test passes with PICKS=exact, as it does with auto";
  report.check(
    claim,
    numTotalTests > 0 && numPassedTests === numTotalTests,
    `${numPassedTests} of ${numTotalTests} tests`,
  );
  for (const { assertionResults } of testResults)
    for (const { status, fullName } of assertionResults) if (status !== "passed") report.note(`${status}: ${fullName}`);
}

export default { name: "End to end with exact picks", run } satisfies Verification;
