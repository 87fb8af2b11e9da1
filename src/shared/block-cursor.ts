/** Where a page of the list of blocks ends: blocks are listed newest first, and by key where two began together. */
export interface BlockCursor {
  readonly sinceMs: number;
  readonly clientKey: string;
}

export function formatBlockCursor({ sinceMs, clientKey }: BlockCursor): string {
  return `${sinceMs}~${clientKey}`;
}

/** null for text that no list has given out. */
export function parseBlockCursor(text: string): BlockCursor | null {
  const [, since, clientKey] = /^(\d{1,16})~(\S{1,300})$/.exec(text) ?? [];
  return since === undefined || clientKey === undefined ? null : { sinceMs: Number(since), clientKey };
}
