/** The Cache API of a data centre as a store, and the isolate's own memory where that API is missing or does nothing. */
import type { Slot } from "../../shared/cache/cached-answer.ts";
import { decodeSlot, encodeSlot } from "./envelope.ts";
import type { CacheStore } from "./store.ts";
import { MemoryStore } from "./store.ts";

/** Never resolved: only a name space of the API. */
const keyOrigin = "https://cache.jimeng-edge.invalid/";

/** Whether an answer may be used is decided by us; the API only has to keep it that long. */
export class CacheApiStore implements CacheStore {
  readonly shared = true;
  readonly #cache: Cache;

  constructor(cache: Cache) {
    this.#cache = cache;
  }

  async read(key: string): Promise<Slot | null> {
    const response = await this.#cache.match(keyOrigin + key);
    if (response === undefined) return null;
    return decodeSlot(key, new Uint8Array(await response.arrayBuffer()));
  }

  async write(key: string, slot: Slot, keepMs: number): Promise<void> {
    const seconds = Math.ceil(keepMs / 1000);
    if (seconds <= 0) return;
    const headers = { "content-type": "application/octet-stream", "cache-control": `public, max-age=${seconds}` };
    await this.#cache.put(keyOrigin + key, new Response(encodeSlot(key, slot), { headers }));
  }

  async remove(key: string): Promise<void> {
    await this.#cache.delete(keyOrigin + key);
  }
}

/**
 * The API exists, throws (plain workerd) or silently keeps nothing (`*.workers.dev`): the first request of an isolate
 * finds out by writing and reading one entry. A fault later on moves the isolate to its own memory for good.
 */
export class DetectingStore implements CacheStore {
  #state: "unknown" | "works" | "broken" = "unknown";
  readonly #api: () => CacheStore;
  readonly #memory: CacheStore;

  constructor(api: () => CacheStore, memory: CacheStore = new MemoryStore()) {
    this.#api = api;
    this.#memory = memory;
  }

  get shared(): boolean {
    return this.#state !== "broken";
  }

  read(key: string): Promise<Slot | null> {
    return this.#on((store) => store.read(key));
  }

  write(key: string, slot: Slot, keepMs: number): Promise<void> {
    return this.#on((store) => store.write(key, slot, keepMs));
  }

  remove(key: string): Promise<void> {
    return this.#on((store) => store.remove(key));
  }

  async #on<T>(work: (store: CacheStore) => Promise<T>): Promise<T> {
    if (this.#state === "unknown") this.#state = await this.#probe();
    if (this.#state === "works") {
      try {
        return await work(this.#api());
      } catch {
        this.#state = "broken";
      }
    }
    return work(this.#memory);
  }

  /** Requests that arrive during it make their own: a promise of one may not be awaited by another. */
  async #probe(): Promise<"works" | "broken"> {
    try {
      const store = this.#api();
      await store.write("probe", probe, 60_000);
      return (await store.read("probe")) === null ? "broken" : "works";
    } catch {
      return "broken";
    }
  }
}

const probe: Slot = {
  epoch: "",
  names: [],
  selection: [],
  answer: {
    status: 200,
    headers: [],
    etag: null,
    lastModified: null,
    body: new Uint8Array(1),
    receivedMs: 0,
    lifetimeMs: 60_000,
    initialAgeMs: 0,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    alwaysValidate: false,
    neverStale: false,
    forCredentials: false,
  },
};

/** The store of this isolate. */
export function openStore(): CacheStore {
  return new DetectingStore(() => new CacheApiStore(caches.default));
}
