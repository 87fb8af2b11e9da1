/**
 * `npm run verify [-- NAME…]`: the long checks in `test/verify/`, one after the other (those whose name holds one of the
 * words). Their latest output is kept in `docs/verification.md`.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { finish, lastLine, type Tally } from "./tally.ts";
import { VerificationReport, type Verification } from "./verification.ts";

const root = join(import.meta.dirname, "..");
const document = join(root, "docs", "verification.md");
const preamble = `# Verification

The checks that are too long for \`npm test\`, with the output of their latest run: \`npm run verify\`, or
\`npm run verify -- WORD\` for those whose name holds a word.
`;

async function findAll(): Promise<Verification[]> {
  const folder = join(import.meta.dirname, "verify");
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".ts")).sort();
  const found: Verification[] = [];
  for (const file of files) {
    const { default: members } = (await import(join(folder, file))) as { default: Verification | Verification[] };
    found.push(...[members].flat());
  }
  return found;
}

async function runOne(verification: Verification): Promise<VerificationReport> {
  const report = new VerificationReport();
  console.log(`\n${verification.name}`);
  const began = performance.now();
  try {
    await verification.run(report);
  } catch (error) {
    report.check("runs to its end", false, error instanceof Error ? error.message : String(error));
  }
  if (report.passed + report.failed === 0) report.check("checks anything at all", false);
  report.note(`took ${Math.round((performance.now() - began) / 1000)} s`);
  return report;
}

function section(name: string, report: VerificationReport): string {
  const day = new Date().toISOString().slice(0, 10);
  const machine = `${cpus().length} cores, Node ${process.versions.node}`;
  return `## ${name}\n\n${day}, ${machine}: ${lastLine(report)}\n\n\`\`\`\n${report.lines.join("\n")}\n\`\`\`\n`;
}

/** Sections of the document by their heading. */
function readSections(text: string): Map<string, string> {
  const parts = text.split(/^(?=## )/m).slice(1);
  return new Map(parts.map((part) => [part.slice(3, part.indexOf("\n")), `${part.trimEnd()}\n`]));
}

const words = process.argv.slice(2).map((word) => word.toLowerCase());
const all = await findAll();
const chosen = all.filter(({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word)));
const known = readSections(existsSync(document) ? await readFile(document, "utf8") : "");
const tally: Tally = { passed: 0, failed: 0 };
for (const verification of chosen) {
  const report = await runOne(verification);
  tally.passed += report.passed;
  tally.failed += report.failed;
  known.set(verification.name, section(verification.name, report));
}
const kept = all.flatMap(({ name }) => known.get(name) ?? []);
await mkdir(join(root, "docs"), { recursive: true });
await writeFile(document, [preamble, ...kept].join("\n"));
finish(tally);
