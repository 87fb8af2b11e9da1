/** Faults that the control endpoint switches on for a whole server, or for the paths that start with `path`. */
export const faultKinds = [
  "refuse",
  "reset",
  "drop",
  "garbage",
  "freeze",
  "delay",
  "status",
  "cut",
  "upstream-down",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Only requests whose path starts with this; absent: every connection. */
  readonly path?: string;
  /** So many requests, then it is over; absent: until it is cleared. */
  readonly times?: number;
  /** Of `delay`, milliseconds. */
  readonly ms?: number;
  /** Of `status`: the answer's status, with a gateway's HTML body. */
  readonly status?: number;
  /** Of `status`: seconds. */
  readonly retryAfter?: number;
}

/** Checks what the control endpoint got; a string says what is wrong. */
export function readFault(given: unknown): Fault | string {
  if (typeof given !== "object" || given === null) return "a fault is a JSON object";
  const { kind, path, times, ms, status, retryAfter } = given as Record<string, unknown>;
  if (!faultKinds.some((known) => known === kind)) {
    return `kind: one of ${faultKinds.join(", ")}; received ${JSON.stringify(kind)}`;
  }
  for (const [name, value] of Object.entries({ times, ms, status, retryAfter })) {
    if (value !== undefined && (!Number.isInteger(value) || (value as number) < 0)) {
      return `${name}: a whole number; received ${JSON.stringify(value)}`;
    }
  }
  if (path !== undefined && typeof path !== "string") return "path: a string";
  return given as Fault;
}

/** The faults of one server, in the order in which they were switched on; the first that fits decides. */
export class FaultBoard {
  #active: { readonly fault: Fault; left: number }[] = [];

  get empty(): boolean {
    return this.#active.length === 0;
  }

  list(): readonly Fault[] {
    return this.#active.map((entry) => entry.fault);
  }

  add(fault: Fault): void {
    this.#active.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.#active = [];
  }

  /** What befalls a new connection, before a byte of it is read. */
  connection(): Fault | null {
    const whole = (kind: FaultKind): boolean => kind === "reset" || kind === "garbage" || kind === "freeze";
    return this.#take((fault) => fault.path === undefined && whole(fault.kind));
  }

  request(path: string): Fault | null {
    return this.#take(
      (fault) => fault.kind !== "upstream-down" && (fault.path === undefined || path.startsWith(fault.path)),
    );
  }

  upstreamDown(): boolean {
    return this.#take((fault) => fault.kind === "upstream-down") !== null;
  }

  #take(fits: (fault: Fault) => boolean): Fault | null {
    const entry = this.#active.find(({ fault }) => fits(fault));
    if (entry === undefined) return null;
    entry.left -= 1;
    if (entry.left <= 0) this.#active = this.#active.filter((other) => other !== entry);
    return entry.fault;
  }
}
