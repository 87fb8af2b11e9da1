/**
 * Why a probe failed, told by the error that Node gave and by how far the request had come. The union is closed, so that a
 * report can count by it; the system's own words travel beside it.
 */
export const causeKinds = [
  "refused",
  "reset",
  "dns",
  "tls",
  "timeout",
  "unreachable",
  "http_status",
  "wrong_body",
  "protocol",
  "other",
] as const;

/**
 * - `unreachable`: the network has no way to the address.
 * - `http_status`: answered, but not with 2xx.
 * - `wrong_body`: answered 2xx, without the text that was expected.
 * - `protocol`: what came is not HTTP.
 */
export type CauseKind = (typeof causeKinds)[number];

export const phases = ["dns", "connect", "tls", "first_byte", "body"] as const;
/** What the request was waiting for. */
export type Phase = (typeof phases)[number];

export interface Failure {
  readonly cause: CauseKind;
  readonly phase: Phase;
  /** The system's words or code, the HTTP status, or the beginning of the wrong body. */
  readonly detail: string;
}

/** Ends a probe whose time is up. */
export class ProbeTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.name = "ProbeTimeout";
  }
}

const causeByCode: Readonly<Record<string, CauseKind>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  EPIPE: "reset",
  ENOTFOUND: "dns",
  ENODATA: "dns",
  ESERVFAIL: "dns",
  EAI_AGAIN: "dns",
  EAI_FAIL: "dns",
  EAI_NODATA: "dns",
  EAI_NONAME: "dns",
  ETIMEDOUT: "timeout",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ENETDOWN: "unreachable",
  EHOSTDOWN: "unreachable",
  EADDRNOTAVAIL: "unreachable",
};

/** OpenSSL's own codes (`ERR_SSL_*`, `EPROTO`), Node's (`ERR_TLS_*`), and those of certificate verification. */
const tlsCode =
  /^(?:EPROTO|ERR_SSL_|ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL_)/;

export function failureOf(error: unknown, phase: Phase): Failure {
  const detail = error instanceof Error ? wordsOf(error) : String(error);
  if (error instanceof ProbeTimeout) return { cause: "timeout", phase, detail };
  return { cause: causeOf(codeOf(error), phase), phase, detail };
}

function causeOf(code: string, phase: Phase): CauseKind {
  const known = causeByCode[code];
  if (known !== undefined) return known;
  if (tlsCode.test(code)) return "tls";
  if (code.startsWith("HPE_")) return "protocol";
  // Whatever else breaks before the handshake has ended is the handshake's.
  return phase === "tls" ? "tls" : "other";
}

/** A host with several addresses fails with an AggregateError, whose parts carry the codes. */
function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  if ("code" in error && typeof error.code === "string") return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return "";
}

function wordsOf(error: Error): string {
  if (error.message !== "") return error.message;
  if (error instanceof AggregateError) {
    return error.errors.map((part: unknown) => (part instanceof Error ? part.message : String(part))).join("; ");
  }
  return codeOf(error) || error.name;
}
