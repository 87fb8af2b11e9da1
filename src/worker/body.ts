/** What may be kept of a body, and for how long. */
import { joined, pieceBytes, Room, uncountedBytes } from "./buffer.ts";
import { Gathering } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
import { classOf, readRequest } from "../shared/jimeng/request-body.ts";
import type { Route, RouteClass } from "../shared/route.ts";
import { carry, pipe, Upload, uploadedWhole } from "./upload.ts";
import type { UploadFault, UploadPatience } from "./upload.ts";

/** A cheap request's body up to this is kept for a second attempt; a generation's JSON up to this is read for `model` and `stream`. */
export const keptBodyBytes = 1_048_576;

export interface Outgoing {
  /** The body for one attempt; null: none. What is not `repeatable` can be asked for once; `onFault`: it will not come to its end. */
  readonly open: (onFault: () => void) => Uint8Array | ReadableStream<Uint8Array> | null;
  readonly repeatable: boolean;
  /** After a failed attempt: whether it was the client's own upload that failed. */
  readonly uploadFault: () => Promise<UploadFault | null>;
  /** Gives back the room of what was kept; nothing can be opened after it. */
  readonly drop: () => void;
  readonly model: string | null;
  readonly routeClass: RouteClass;
}

/** Reads as much of the request's body as the route needs, and no more than may be kept. Throws `UploadFailed`. */
export async function outgoing(request: Request, route: Route, patience: UploadPatience): Promise<Outgoing> {
  const { body, headers, method } = request;
  const length = declaredLength(headers);
  if (body === null || length === 0 || isWithoutMeaning(method)) return kept(null, route);
  if (isMultipart(headers) || (length ?? 0) > keptBodyBytes) return piped(body, length, route, patience);
  const { idleMs } = patience;
  if (length !== null && length <= uncountedBytes) return kept(await uploadedWhole(request, idleMs), route);
  return gathered(new Upload(body, idleMs), length, route);
}

/**
 * A body of these has no meaning (RFC 9110 §9.3.1, §9.3.2) and the runtime sends none: it would throw, as it does at a
 * broken connection.
 */
function isWithoutMeaning(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

export const nobodysFault = async (): Promise<null> => null;

function kept(bytes: Uint8Array | null, route: Route, room: Room | null = null): Outgoing {
  const facts = bytes !== null && route.readsBody ? readRequest(parsed(bytes)) : null;
  let held = bytes;
  return {
    open: () => held,
    repeatable: true,
    uploadFault: nobodysFault,
    drop: () => {
      held = null;
      room?.give();
    },
    model: facts?.model ?? null,
    routeClass: facts === null ? route.class : classOf(route.id, route.class, facts),
  };
}

/**
 * The runtime passes it on, at a third of the memory and half the CPU that reading it here takes. How much has come only the
 * runtime knows: a declared length bounds the time for it, and without one the attempt's deadline does.
 */
function piped(
  body: ReadableStream<Uint8Array>,
  length: number | null,
  route: Route,
  { idleMs, leastBytesPerMs }: UploadPatience,
): Outgoing {
  let fault: Promise<UploadFault | null> = nobodysFault();
  return {
    open: (onFault) => {
      const way = wayFor(length);
      fault = pipe(body, way.writable, length === null ? null : idleMs + length / leastBytesPerMs, onFault);
      return way.readable;
    },
    repeatable: false,
    uploadFault: () => fault,
    drop: () => undefined,
    model: null,
    routeClass: route.class,
  };
}

function wayFor(length: number | null): IdentityTransformStream {
  return length === null ? new IdentityTransformStream() : new FixedLengthStream(length);
}

/** What has come already, then what still comes, read here. */
function streamed(upload: Upload, length: number | null, route: Route, first: Uint8Array, room: Room): Outgoing {
  let fault: Promise<UploadFault | null> = nobodysFault();
  const drop = (): void => room.give();
  return {
    open: (onFault) => {
      const way = wayFor(length);
      fault = carry(upload, way.writable, { first, onFirstGone: drop, onFault });
      return way.readable;
    },
    repeatable: false,
    uploadFault: () => fault,
    drop,
    model: null,
    routeClass: route.class,
  };
}

/** Kept if it ends within what may be kept, else passed on as it comes, its beginning first. */
async function gathered(upload: Upload, length: number | null, route: Route): Promise<Outgoing> {
  const { bytes, rest, room } = await readPrefix(upload, keptBodyBytes);
  return rest === null ? kept(bytes, route, room) : streamed(upload, length, route, bytes, room);
}

/** What was read, then the rest. The room is given back when what was read has gone. `length`: of all of it; null: unknown. */
export function followedBy(
  bytes: Uint8Array,
  rest: ByteSource,
  room: Room,
  length: number | null = null,
): ReadableStream<Uint8Array> {
  let first: Uint8Array | null = bytes.byteLength === 0 ? null : bytes;
  return new ReadableStream<Uint8Array>(
    {
      ...(length === null ? {} : { expectedLength: length }),
      async pull(controller) {
        if (first !== null) {
          controller.enqueue(first);
          first = null;
          return;
        }
        room.give();
        const piece = await rest.read(new Uint8Array(pieceBytes));
        if (piece.byteLength === 0) controller.close();
        else controller.enqueue(piece);
      },
      async cancel(reason) {
        room.give();
        await rest.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Malformed JSON is passed on as it is: the server judges it, in its own words. */
function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return null;
  }
}

function declaredLength(headers: Headers): number | null {
  const text = headers.get("content-length");
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

function isMultipart(headers: Headers): boolean {
  return headers.get("content-type")?.toLowerCase().startsWith("multipart/") ?? false;
}

/** A body as far as it may be kept; `rest` continues it where it is longer. Its room is the caller's to give back. */
export interface Prefix {
  readonly bytes: Uint8Array;
  readonly rest: ByteSource | null;
  readonly room: Room;
}

/** Reads until the end, `limit`, or the end of the isolate's share. Throws what the source throws. */
export async function readPrefix(source: ByteSource, limit: number): Promise<Prefix> {
  const room = new Room();
  const gathering = new Gathering();
  try {
    for (;;) {
      const before = gathering.size;
      const isOver = !(await gathering.takeFrom(source));
      const hasRoom = room.take(gathering.size - before, Date.now());
      if (isOver || !hasRoom || gathering.size > limit) {
        return { bytes: joined(gathering.pieces(), gathering.size), rest: isOver ? null : source, room };
      }
    }
  } catch (error) {
    room.give();
    throw error;
  }
}
