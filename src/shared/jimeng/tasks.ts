/** The asynchronous interface: a task lives in the process that took it, so its id must lead back there. */
import { asObject, asText } from "./json.ts";

/** Ids are UUIDs (36 characters); the bound keeps a strange server from filling the registry. */
const maxIdLength = 128;

/**
 * The id in a submission's answer, `{"success": true, "data": {"task_id": …}}`, also without the envelope; null where
 * there is none, as in an error.
 */
export function taskIdOf(json: unknown): string | null {
  const body = asObject(json);
  if (body === null || body["success"] === false) return null;
  const task = asObject(body["data"]) ?? body;
  return asText(task["task_id"], maxIdLength);
}
