/** What a program was given and doesn't know: told, since a slip of the pen would otherwise pass for the default. */
import type { ArgsDef } from "citty";

/** What is wrong with the way that a program was called: told in one line, without a stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export function refuseUnknown(
  given: Readonly<Record<string, unknown>> & { readonly _: readonly string[] },
  known: ArgsDef,
): void {
  const names = Object.keys(known);
  const isKnown = new Set(["_", ...names, ...names.map(camelCase)]);
  const unknown = Object.keys(given).find((name) => !isKnown.has(name));
  const all = names.map((name) => `--${name}`).join(" ");
  if (unknown !== undefined) throw new UsageError(`--${unknown}: there is no such option; there are ${all}`);
  const [stray] = given._;
  if (stray !== undefined) throw new UsageError(`only options are taken, ${all}; received ${JSON.stringify(stray)}`);
}

/** citty hands over `env-file` as `envFile`, too. */
function camelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
