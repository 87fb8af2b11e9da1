/** What is shown to be let in, as a secret holds it: an operators' token, a client's key. */

/** Sixteen: as hexadecimal digits 64 bits, which nobody guesses over a network, from however many addresses. */
export const credentialLength = "16 to 1024";
export const howToMake = "make one with `openssl rand -hex 32`";

/** Printable ASCII without blanks: https://www.rfc-editor.org/rfc/rfc9110#section-5.5 */
export const tokenPattern = /^[\x21-\x7e]{16,1024}$/u;
/** No commas either: in `Authorization` they stand between tokens. */
export const keyPattern = /^[\x21-\x2b\x2d-\x7e]{16,1024}$/u;

/** How a fault speaks of one that came: by its length, never by a character of it. */
export function describeCredential(given: unknown): string {
  if (given === undefined) return "nothing";
  return typeof given === "string" ? `*** (${given.length} characters)` : "***";
}
