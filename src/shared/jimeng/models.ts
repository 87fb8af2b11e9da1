/** `GET /v1/models`: reading one server's answer, and the union over the fleet. */
import type { ModelEntry } from "../contract.ts";
import { asObject, asText } from "./json.ts";

/** Bounds on what one server may make the registry remember; real lists hold some dozens. */
const maxModels = 1000;
const maxIdLength = 200;

/**
 * Reads `{"data": [{id, object, owned_by, …}]}`; entries without an id are left out, an id that appears twice counts
 * once. Null when the answer is no list, as an error or somebody else's page is; an empty list is a list.
 */
export function parseModels(json: unknown): ModelEntry[] | null {
  const data = asObject(json)?.["data"];
  if (!Array.isArray(data)) return null;
  const entries = new Map<string, ModelEntry>();
  for (const item of data) {
    const fields = asObject(item);
    const id = asText(fields?.["id"], maxIdLength);
    if (fields === null || id === null || entries.has(id)) continue;
    const object = asText(fields["object"], maxIdLength) ?? "model";
    const owned_by = asText(fields["owned_by"], maxIdLength) ?? "jimeng";
    entries.set(id, { ...fields, id, object, owned_by });
    if (entries.size === maxModels) break;
  }
  return [...entries.values()];
}

/** What a server is taken to serve: the operator's list where there is one, since it binds, in the server's own words where it has any. */
export function servedModels(read: readonly ModelEntry[], configured: readonly string[] | null): readonly ModelEntry[] {
  if (configured === null) return read;
  const known = new Map(read.map((entry) => [entry.id, entry]));
  return configured.map((id) => known.get(id) ?? { id, object: "model", owned_by: "jimeng" });
}

/** The union in the order of the lists and within them; of an id that several servers have, the first one's entry. */
export function mergeModels(lists: readonly (readonly ModelEntry[])[]): ModelEntry[] {
  const entries = new Map<string, ModelEntry>();
  for (const list of lists) {
    for (const entry of list) if (!entries.has(entry.id)) entries.set(entry.id, entry);
  }
  return [...entries.values()];
}

/** The answer's body, in the OpenAI shape. */
export function modelsAnswer(entries: readonly ModelEntry[]): { object: "list"; data: readonly ModelEntry[] } {
  return { object: "list", data: entries };
}
