/** What may be kept of a body, and for how long. */
import { joined, Room } from "./buffer.ts";
import { classOf, readRequest } from "../shared/jimeng/request-body.ts";
import type { Route, RouteClass } from "../shared/route.ts";

/** A cheap request's body up to this is kept for a second attempt; a generation's JSON up to this is read for `model` and `stream`. */
export const keptBodyBytes = 1_048_576;

export interface Outgoing {
  /** The body for one attempt; null: none. What is not `repeatable` can be asked for once. */
  readonly open: () => Uint8Array | ReadableStream<Uint8Array> | null;
  readonly repeatable: boolean;
  /** After a failed attempt: whether it was the client's own stream that broke. */
  readonly brokenByClient: () => Promise<boolean>;
  /** Gives back the room of what was kept; nothing can be opened after it. */
  readonly drop: () => void;
  readonly model: string | null;
  readonly routeClass: RouteClass;
}

/** A body that was declared with a length but ended before it, or that the client gave up. */
export class BodyUnreadable extends Error {}

/** Reads as much of the request's body as the route needs, and no more than may be kept. */
export async function outgoing(request: Request, route: Route): Promise<Outgoing> {
  const length = declaredLength(request.headers);
  if (request.body === null || length === 0) return kept(null, route);
  if (isMultipart(request.headers)) return streamed(request.body, length, route);
  if (length === null) return gathered(request.body, route);
  const room = new Room();
  if (length > keptBodyBytes || !room.take(length, Date.now())) {
    room.give();
    return streamed(request.body, length, route);
  }
  try {
    return kept(new Uint8Array(await request.arrayBuffer()), route, room);
  } catch (error) {
    room.give();
    throw new BodyUnreadable(String(error));
  }
}

function kept(bytes: Uint8Array | null, route: Route, room: Room | null = null): Outgoing {
  const facts = bytes !== null && route.readsBody ? readRequest(parsed(bytes)) : null;
  let held = bytes;
  return {
    open: () => held,
    repeatable: true,
    brokenByClient: async () => false,
    drop: () => {
      held = null;
      room?.give();
    },
    model: facts?.model ?? null,
    routeClass: facts === null ? route.class : classOf(route.id, route.class, facts),
  };
}

const nothingToDrop = (): void => undefined;

function streamed(source: ReadableStream<Uint8Array>, length: number | null, route: Route): Outgoing {
  let uploaded: Promise<boolean> = Promise.resolve(false);
  return {
    open: () => {
      const pipe = length === null ? new IdentityTransformStream() : new FixedLengthStream(length);
      // Not cancelled with the backend's connection, so that it can be asked afterwards which of the two has broken.
      uploaded = source.pipeTo(pipe.writable, { preventCancel: true }).then(
        () => false,
        () => isBroken(source),
      );
      return pipe.readable;
    },
    repeatable: false,
    brokenByClient: () => uploaded,
    drop: nothingToDrop,
    model: null,
    routeClass: route.class,
  };
}

async function isBroken(source: ReadableStream<Uint8Array>): Promise<boolean> {
  try {
    const reader = source.getReader();
    await reader.read();
    reader.releaseLock();
    return false;
  } catch {
    return true;
  }
}

/** A body of unknown length: kept if it ends within what may be kept, else passed on as it comes, its beginning first. */
async function gathered(source: ReadableStream<Uint8Array>, route: Route): Promise<Outgoing> {
  let prefix: Prefix;
  try {
    prefix = await readPrefix(source, keptBodyBytes);
  } catch (error) {
    throw new BodyUnreadable(String(error));
  }
  const { bytes, rest, room } = prefix;
  if (rest === null) return kept(bytes, route, room);
  let broken = false;
  return {
    open: () =>
      followedBy(bytes, rest, room, () => {
        broken = true;
      }),
    repeatable: false,
    brokenByClient: async () => broken,
    drop: () => room.give(),
    model: null,
    routeClass: route.class,
  };
}

/** What was read, then the rest. The room is given back when what was read has gone. */
export function followedBy(
  bytes: Uint8Array,
  rest: ReadableStreamDefaultReader<Uint8Array>,
  room: Room,
  onBroken: () => void = () => undefined,
): ReadableStream<Uint8Array> {
  let first: Uint8Array | null = bytes;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (first !== null) {
          controller.enqueue(first);
          first = null;
          return;
        }
        room.give();
        try {
          const { done, value } = await rest.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          onBroken();
          throw error;
        }
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
  readonly rest: ReadableStreamDefaultReader<Uint8Array> | null;
  readonly room: Room;
}

/** Reads a stream until its end, `limit`, or the end of the isolate's share. Throws what the stream throws. */
export async function readPrefix(stream: ReadableStream<Uint8Array>, limit: number): Promise<Prefix> {
  const reader = stream.getReader();
  const room = new Room();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { bytes: joined(chunks, size), rest: null, room };
      chunks.push(value);
      size += value.byteLength;
      const hasRoom = room.take(value.byteLength, Date.now());
      if (!hasRoom || size > limit) return { bytes: joined(chunks, size), rest: reader, room };
    }
  } catch (error) {
    room.give();
    throw error;
  }
}
