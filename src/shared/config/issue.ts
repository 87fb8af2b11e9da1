/** From what the schema library found to the faults that people read. */
import type { BaseIssue } from "valibot";
import type { ConfigFault } from "./config.ts";
import { fault, formatPath, unknownSettingMark } from "./fault.ts";
import type { PathKeys } from "./fault.ts";

type Issue = Pick<BaseIssue<unknown>, "message" | "input" | "path">;

/** One fault a field, the first: that a text is also no whole number helps nobody. */
export function issueFaults(issues: readonly Issue[], root: PathKeys): ConfigFault[] {
  const faults = new Map<string, ConfigFault>();
  for (const issue of issues) {
    const keys = [...root, ...issueKeys(issue)];
    const field = formatPath(keys);
    if (faults.has(field)) continue;
    // The value of an unknown setting may be a secret whose name was mistyped.
    const unknown = issue.message.startsWith(unknownSettingMark);
    faults.set(
      field,
      unknown
        ? { field, allowed: issue.message, received: "a value, not shown" }
        : fault(keys, issue.message, issue.input),
    );
  }
  return [...faults.values()];
}

function issueKeys(issue: Issue): PathKeys {
  return (issue.path ?? []).map((item) => (typeof item.key === "number" ? item.key : String(item.key)));
}
