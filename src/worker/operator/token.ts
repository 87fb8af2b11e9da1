/** The operators' bearer token, compared in constant time over hashes. */
import type { Env } from "../env.ts";

const encoder = new TextEncoder();

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
}

/** Hashes are of one length, so nothing of the secret's shows in the time either. */
export async function sameSecret(given: string, secret: string): Promise<boolean> {
  const [left, right] = await Promise.all([digest(given), digest(secret)]);
  return crypto.subtle.timingSafeEqual(left, right);
}

export function bearerOf(request: Request): string | null {
  const authorization = request.headers.get("authorization");
  const match = authorization === null ? null : /^Bearer +(\S+)$/i.exec(authorization);
  return match?.[1] ?? null;
}

export async function hasAdminToken(request: Request, env: Env): Promise<boolean> {
  const given = bearerOf(request);
  if (given === null || typeof env.ADMIN_TOKEN !== "string" || env.ADMIN_TOKEN === "") return false;
  return sameSecret(given, env.ADMIN_TOKEN);
}
