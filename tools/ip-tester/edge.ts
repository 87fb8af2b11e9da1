/** The running edge: what it measured, and the weights it is told. The token goes into one header and nowhere else. */
import * as v from "valibot";

export class EdgeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "EdgeError";
  }
}

export interface Edge {
  /** Origin, and a path prefix where the edge has one; no trailing slash. */
  readonly url: string;
  readonly token: string;
}

/** Of a request to the edge; it answers these from memory. */
const timeoutMs = 10_000;

const milliseconds = v.nullable(v.number());

const preferenceShape = v.object({
  region: v.nullable(v.string()),
  regions: v.array(v.string()),
  servers: v.array(
    v.object({
      name: v.string(),
      url: v.string(),
      weight: v.number(),
      healthy: v.boolean(),
      state: v.string(),
      operatorState: v.string(),
      lastHour: v.object({
        requests: v.number(),
        successRate: v.nullable(v.number()),
        avgMs: milliseconds,
        p50Ms: milliseconds,
        p95Ms: milliseconds,
        p99Ms: milliseconds,
      }),
    }),
  ),
});

/** The part of `PreferenceReply` that is compared with. */
export type EdgePreference = v.InferOutput<typeof preferenceShape>;
export type EdgeServer = EdgePreference["servers"][number];

/** `region` ranks by what that region of the edge measured; null: by all of it. */
export async function readPreference(edge: Edge, region: string | null): Promise<EdgePreference> {
  const query = region === null ? "" : `?region=${encodeURIComponent(region)}`;
  return askFor(edge, `/api/ip-preference${query}`, preferenceShape);
}

async function askFor<Answer>(edge: Edge, path: string, shape: v.GenericSchema<unknown, Answer>): Promise<Answer> {
  const answer = await ask(edge, "GET", path, null);
  const parsed = v.safeParse(shape, answer);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  const problem = answer === undefined ? "not JSON" : `${v.getDotPath(issue) ?? "body"}: ${issue.message}`;
  throw new EdgeError(`${edge.url}${path}: not the answer of a jimeng-edge (${problem})`);
}

const backendsShape = v.object({
  backends: v.array(
    v.object({
      name: v.string(),
      url: v.string(),
      healthPath: v.nullable(v.string()),
      headerNames: v.array(v.string()),
    }),
  ),
});
const configShape = v.object({ values: v.object({ HEALTH_CHECK: v.object({ path: v.string() }) }) });

/** A server as the edge asks it. */
export interface EdgeTarget {
  readonly name: string;
  readonly url: string;
  readonly path: string;
  /** Of the secret headers that it wants; their values stay with the edge. */
  readonly headerNames: readonly string[];
}

export async function readTargets(edge: Edge): Promise<readonly EdgeTarget[]> {
  const [{ backends }, { values }] = await Promise.all([
    askFor(edge, "/api/backends", backendsShape),
    askFor(edge, "/api/config", configShape),
  ]);
  return backends.map(({ name, url, healthPath, headerNames }) => ({
    name,
    url,
    path: healthPath ?? values.HEALTH_CHECK.path,
    headerNames,
  }));
}

export async function setWeight(edge: Edge, name: string, weight: number): Promise<void> {
  await ask(edge, "PATCH", `/api/backends/${encodeURIComponent(name)}`, { weight });
}

/** The answer's JSON; undefined where it has none. */
async function ask(edge: Edge, method: string, path: string, body: unknown): Promise<unknown> {
  const what = `${method} ${edge.url}${path}`;
  let response: Response;
  try {
    response = await fetch(edge.url + path, {
      method,
      // A redirect would carry the token elsewhere.
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
      headers: { authorization: `Bearer ${edge.token}`, "content-type": "application/json" },
      body: body === null ? null : JSON.stringify(body),
    });
  } catch (error) {
    throw new EdgeError(`${what}: ${networkWords(error)}`);
  }
  const text = await response.text().catch(() => "");
  const answer = parseJson(text);
  if (!response.ok) throw new EdgeError(`${what}: HTTP ${response.status}${messageOf(answer)}`);
  return answer;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `fetch` says "fetch failed" and keeps the reason in `cause`. */
function networkWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${timeoutMs / 1000} s`;
  const cause = error.cause instanceof AggregateError ? error.cause.errors[0] : error.cause;
  return cause instanceof Error ? cause.message : error.message;
}

function messageOf(answer: unknown): string {
  const parsed = v.safeParse(v.object({ message: v.string() }), answer);
  return parsed.success ? `: ${parsed.output.message}` : "";
}
