/** What of a URL may be logged. */

/** Query parameters of these names hold credentials, whoever reads them. */
const secretName = /token|key|secret|auth|password|session|signature|sid/i;

/** `/usage/session/:id`: the id may be a pasted credential. */
const sessionPath = /^(.*\/usage\/session\/)([^/?]+)(.*)$/;

/**
 * A hash short enough to read and long enough to find a session again; FNV-1a, 64 bits. It hides the id from a reader
 * of the log, not from one who guesses ids.
 */
function shortHash(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** Path and query, with session ids hashed and secret parameters' values replaced. */
export function loggedUrl(path: string, query: string): string {
  let shown = path;
  const session = path.includes("/usage/session/") ? sessionPath.exec(path) : null;
  if (session !== null) shown = `${session[1]}~${shortHash(session[2] ?? "")}${session[3]}`;
  if (query === "") return shown;
  const parameters = query
    .slice(1)
    .split("&")
    .map((parameter) => {
      const equals = parameter.indexOf("=");
      const name = equals < 0 ? parameter : parameter.slice(0, equals);
      return equals >= 0 && secretName.test(name) ? `${name}=***` : parameter;
    });
  return `${shown}?${parameters.join("&")}`;
}
