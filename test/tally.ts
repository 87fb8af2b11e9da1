/** Counts what passed and what failed, and ends a run with the line that every run of checks ends with. */
export interface Tally {
  passed: number;
  failed: number;
}

export function lastLine({ passed, failed }: Tally): string {
  return `${passed} passed, ${failed} failed`;
}

/** Prints the last line and ends the process with the code that goes with it. */
export function finish(tally: Tally): never {
  console.log(lastLine(tally));
  process.exit(tally.failed === 0 && tally.passed > 0 ? 0 : 1);
}
