/** One edge at a time over a state folder: the objects of two would write into the same files, and count apart. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** https://sqlite.org/rescode.html#busy */
const sqliteBusy = 5;

/**
 * A lock of the operating system's, which goes with its process however that ends, so that none is left to be cleaned up.
 * Node offers locks of files through SQLite alone.
 */
export class StateLock {
  readonly #database: DatabaseSync;

  constructor(stateFolder: string) {
    this.#database = new DatabaseSync(join(stateFolder, "lock"), { timeout: 0 });
    try {
      // Nothing is ever written, so there is nothing to roll back.
      this.#database.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
    } catch (error) {
      this.#database.close();
      if ((error as { errcode?: number }).errcode !== sqliteBusy) throw error;
      throw new Error(`another edge runs over ${stateFolder}; --state takes another folder`, { cause: error });
    }
  }

  release(): void {
    this.#database.close();
  }
}
