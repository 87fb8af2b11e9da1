/** A client's body as it comes, given up where nothing comes any more. */
import { byteSource, Patient, Silence } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";

/** Why a client's body could not be had: it broke off or is malformed, or the client fell silent. */
export type UploadFault = "body_unreadable" | "request_timeout";

export interface UploadPatience {
  /** Of a client that sends nothing. */
  readonly idleMs: number;
  /** What must come on average of a body whose arrival the runtime alone sees. */
  readonly leastBytesPerMs: number;
}

export class UploadFailed extends Error {
  readonly fault: UploadFault;

  constructor(fault: UploadFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

function broken(error: unknown): UploadFailed {
  if (error instanceof UploadFailed) return error;
  return error instanceof Silence
    ? new UploadFailed("request_timeout", error.message)
    : new UploadFailed("body_unreadable", String(error));
}

/** Its reads throw `UploadFailed` only. */
export class Upload implements ByteSource {
  readonly #source: Patient;

  constructor(body: ReadableStream<Uint8Array>, idleMs: number) {
    this.#source = new Patient(byteSource(body), idleMs);
  }

  async read(room: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return await this.#source.read(room);
    } catch (error) {
      throw broken(error);
    }
  }

  cancel(reason?: unknown): Promise<void> {
    return this.#source.cancel(reason);
  }
}

/** A body so small that nobody needs as long as that for all of it: one step of the runtime, not one for each piece. */
export async function uploadedWhole(request: Request, idleMs: number): Promise<Uint8Array> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Silence(`nothing has come for ${idleMs} ms`)), idleMs);
  });
  try {
    return new Uint8Array(await Promise.race([request.arrayBuffer(), late]));
  } catch (error) {
    throw broken(error);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * After the way from client to backend has broken: a backend that has gone, or answered early, is known by its own
 * connection within so long. The runtime has one error for both ends.
 */
const backendsWordMs = 250;

/**
 * Lets the runtime pass the body on, within `withinMs` (null: as long as the connection stands). Resolves at the end, with
 * what was wrong with the client's part, unless the backend was heard of first. `onFault`: the client's part will not end. To
 * cut the connection: a body without a length would otherwise seem to end here.
 */
export async function pipe(
  from: ReadableStream<Uint8Array>,
  to: WritableStream<Uint8Array>,
  withinMs: number | null,
  onFault: () => void,
): Promise<UploadFault | null> {
  const late = new AbortController();
  const timer = withinMs === null ? null : setTimeout(() => late.abort(), withinMs);
  try {
    // Where the client has gone, the backend is not to see an end.
    await from.pipeTo(to, { preventCancel: true, preventAbort: true, signal: late.signal });
    return null;
  } catch (error) {
    const isLate = late.signal.aborted;
    if (!isLate) await new Promise((resolve) => setTimeout(resolve, backendsWordMs));
    onFault();
    if (isLate) await from.cancel().catch(() => undefined);
    await to.abort(error).catch(() => undefined);
    return isLate ? "request_timeout" : "body_unreadable";
  } finally {
    clearTimeout(timer);
  }
}

/** In memory at a time, of an upload that is passed on. */
const carriedBytes = 32_768;

export interface Carriage {
  /** What has come already. */
  readonly first: Uint8Array;
  readonly onFirstGone: () => void;
  /** The client's part will not end. To cut the connection: a body without a length would otherwise seem to end here. */
  readonly onFault: () => void;
}

/** Passes on what comes; resolves at the end, with what was wrong with the client's part, if it was that. */
export async function carry(
  upload: Upload,
  to: WritableStream<Uint8Array>,
  { first, onFirstGone, onFault }: Carriage,
): Promise<UploadFault | null> {
  const writer = to.getWriter();
  try {
    await writer.write(first);
    onFirstGone();
    for (let room = new Uint8Array(carriedBytes); ;) {
      const piece = await upload.read(room);
      if (piece.byteLength === 0) break;
      await writer.write(piece);
      room = new Uint8Array(piece.buffer);
    }
    await writer.close();
    return null;
  } catch (error) {
    const isClients = error instanceof UploadFailed;
    if (isClients) onFault();
    await writer.abort(error).catch(() => undefined);
    return isClients ? error.fault : faultOf(upload);
  }
}

/** The way to the backend is closed: asks whether that is because the client has gone. */
async function faultOf(upload: Upload): Promise<UploadFault | null> {
  try {
    await upload.read(new Uint8Array(1));
    return null;
  } catch (error) {
    return broken(error).fault;
  } finally {
    await upload.cancel().catch(() => undefined);
  }
}
