/**
 * A verification is a check that is too long for `npm test`: faults, soaks, loads. Each file in `test/verify/` exports one
 * (or a list) by default; `npm run verify` runs them one after the other.
 */
export interface Verification {
  /** A heading of `docs/verification.md`. */
  readonly name: string;
  run(report: VerificationReport): Promise<void>;
}

export class VerificationReport {
  readonly lines: string[] = [];
  passed = 0;
  failed = 0;

  /** A claim and whether it held; `measured` is what was seen. */
  check(claim: string, held: boolean, measured = ""): void {
    if (held) this.passed += 1;
    else this.failed += 1;
    this.#say(`${held ? "✓" : "✗"} ${claim}${measured === "" ? "" : ` – ${measured}`}`);
  }

  /** Something to read that is neither right nor wrong. */
  note(text: string): void {
    this.#say(`  ${text}`);
  }

  #say(line: string): void {
    console.log(line);
    this.lines.push(line);
  }
}
