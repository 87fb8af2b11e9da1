/**
 * Who may use the operators' API: the secrets `ADMIN_TOKEN`, `ADMIN_TOKENS` and `ACCESS`, read. Faults name fields and
 * never show a value.
 */
import * as v from "valibot";
import type { ConfigFault, Runtime } from "./config/config.ts";
import { issueFaults } from "./config/issue.ts";
import { group, list, oneOf, text } from "./config/schema.ts";
import { credentialLength, describeCredential, howToMake, tokenPattern } from "./credential.ts";

export const operatorRoles = ["viewer", "operator"] as const;
/** `viewer` reads; `operator` changes, too. */
export type OperatorRole = (typeof operatorRoles)[number];

export interface OperatorToken {
  /** As the ledger shows it. */
  readonly name: string;
  readonly token: string;
  readonly role: OperatorRole;
}

/** Cloudflare Access in front: https://developers.cloudflare.com/cloudflare-one/identity/authorization-cookie/ */
export interface AccessSettings {
  /** Issuer of the assertions and home of their keys, `https://<team>.cloudflareaccess.com`. */
  readonly issuer: string;
  /** Audience tags of the applications. */
  readonly audiences: readonly string[];
  /** Groups' names or ids, e-mail addresses, service tokens' client ids; `*` is whoever Access lets in. */
  readonly groups: Readonly<Record<OperatorRole, readonly string[]>>;
}

export interface OperatorAccess {
  readonly tokens: readonly OperatorToken[];
  readonly access: AccessSettings | null;
  /** What is set and can't be used is left out: a mistake here closes, and takes no client's request down. */
  readonly faults: readonly ConfigFault[];
}

/** Of whoever holds `ADMIN_TOKEN`. */
export const adminName = "admin";
/** The ledger's word for the edge itself. */
const reservedNames = ["system"];

const word = text(/^[\x21-\x7e]{1,1024}$/u, "1 to 1024 printable ASCII characters without blanks");
const tokenText = text(tokenPattern, `${credentialLength} printable ASCII characters without blanks; ${howToMake}`);
const tokenName = v.pipe(
  text(/^[A-Za-z0-9._@-]{1,64}$/u, "a name of 1 to 64 letters, digits, dots, dashes, underscores and @"),
  v.check((name) => !reservedNames.includes(name), `a name other than ${reservedNames.join(", ")}`),
);
const tokensSchema = v.pipe(
  v.custom<Record<string, unknown>>(
    isRecord,
    'a JSON object {"<name>": {"token": "…", "role": "viewer" | "operator"}}',
  ),
  v.record(tokenName, group({ token: tokenText, role: oneOf(operatorRoles) })),
);

const members = list(text(/^\S(?:.{0,254}\S)?$/u, "a group's name or id, an e-mail address, or *"), "a list of groups");
const accessSchema = group({
  teamDomain: text(
    /^(?:https?:\/\/)?[A-Za-z0-9.-]{1,253}(?::\d{1,5})?\/?$/u,
    "the team's domain, <team>.cloudflareaccess.com",
  ),
  aud: v.union(
    [word, list(word, "a list of audience tags", { min: 1, max: 20 })],
    "the application's audience tag, or a list of them",
  ),
  groups: group({ viewer: v.optional(members, []), operator: v.optional(members, []) }),
});

export interface OperatorSecrets {
  readonly ADMIN_TOKEN?: unknown;
  readonly ADMIN_TOKENS?: unknown;
  readonly ACCESS?: unknown;
}

export function readOperatorAccess(secrets: OperatorSecrets, runtime: Runtime): OperatorAccess {
  const faults: ConfigFault[] = [];
  const tokens = [...readAdminToken(secrets.ADMIN_TOKEN, faults), ...readAdminTokens(secrets.ADMIN_TOKENS, faults)];
  return { tokens, access: readAccess(secrets.ACCESS, runtime, faults), faults };
}

/** A line's end is what `echo` adds to a secret; nobody means it. */
function readAdminToken(given: unknown, faults: ConfigFault[]): readonly OperatorToken[] {
  const token = typeof given === "string" ? given.trim() : given;
  if (isNothing(token)) return [];
  const parsed = v.safeParse(tokenText, token);
  if (parsed.success) return [{ name: adminName, token: parsed.output, role: "operator" }];
  faults.push({ field: "ADMIN_TOKEN", allowed: parsed.issues[0].message, received: describeCredential(token) });
  return [];
}

const root = ["ADMIN_TOKENS"];

function readAdminTokens(given: unknown, faults: ConfigFault[]): readonly OperatorToken[] {
  if (isNothing(given)) return [];
  const parsed = v.safeParse(tokensSchema, parseJson(given));
  if (!parsed.success) {
    faults.push(...tokensFaults(parsed.issues));
    return [];
  }
  return Object.entries(parsed.output).map(([name, { token, role }]) => ({ name, token, role }));
}

/** Of a token that can't be used its length is told. */
function tokensFaults(issues: v.InferIssue<typeof tokensSchema>[]): readonly ConfigFault[] {
  const tokens = issues.filter(({ path }) => path?.at(-1)?.key === "token");
  const shown = new Map(tokens.map((issue) => [issueFaults([issue], root)[0]?.field, describeCredential(issue.input)]));
  return masked(issueFaults(issues, root)).map((one) => ({ ...one, received: shown.get(one.field) ?? one.received }));
}

function readAccess(given: unknown, runtime: Runtime, faults: ConfigFault[]): AccessSettings | null {
  if (isNothing(given)) return null;
  const parsed = v.safeParse(accessSchema, parseJson(given));
  if (!parsed.success) {
    faults.push(...masked(issueFaults(parsed.issues, ["ACCESS"])));
    return null;
  }
  const { teamDomain, aud, groups } = parsed.output;
  const issuer = (teamDomain.includes("://") ? teamDomain : `https://${teamDomain}`).replace(/\/$/u, "");
  if (issuer.startsWith("http:") && runtime !== "local") {
    faults.push({ field: "ACCESS.teamDomain", allowed: "https: its keys decide who is believed", received: "http" });
    return null;
  }
  return { issuer, audiences: typeof aud === "string" ? [aud] : aud, groups };
}

function isNothing(given: unknown): boolean {
  return given === undefined || given === null || given === "";
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseJson(given: unknown): unknown {
  if (typeof given !== "string") return given;
  try {
    return JSON.parse(given);
  } catch {
    return undefined;
  }
}

function masked(faults: readonly ConfigFault[]): readonly ConfigFault[] {
  return faults.map(({ field, allowed }) => ({ field, allowed, received: "***" }));
}

/** The role of whom Access has let in; null: none of the groups is theirs. */
export function roleOf({ groups }: AccessSettings, memberships: readonly string[]): OperatorRole | null {
  const belongs = (role: OperatorRole): boolean =>
    groups[role].includes("*") || groups[role].some((member) => memberships.includes(member));
  return belongs("operator") ? "operator" : belongs("viewer") ? "viewer" : null;
}

/** Everything in an assertion by which its bearer may be named in `groups`. */
export function membershipsOf(claims: Readonly<Record<string, unknown>>): readonly string[] {
  const custom = isRecord(claims["custom"]) ? (claims["custom"] as Readonly<Record<string, unknown>>) : {};
  const groups = [claims["groups"], custom["groups"]].flatMap((value) =>
    Array.isArray(value) ? (value as unknown[]) : [value],
  );
  const named = groups.flatMap((entry) => {
    if (typeof entry !== "object" || entry === null) return [entry];
    const { id, name, email } = entry as Readonly<Record<string, unknown>>;
    return [id, name, email];
  });
  return [...named, claims["email"], claims["common_name"]].filter(
    (entry): entry is string => typeof entry === "string" && entry !== "",
  );
}
