import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { wholeRow } from '../rows.ts';

/** One line of the collector. Integers beyond 2^53 (time_ns) are left as digits in a string. */
export type Row = Readonly<Record<string, unknown>>;

const CHUNK = 1 << 20;

/** A row from its line, whole. Throws where it is not a JSON object. */
export function parseRow(line: string): Row {
  const value: unknown = JSON.parse(line.replace(/"time_ns":(\d+)/, '"time_ns":"$1"'));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`not an object: ${line}`);
  return wholeRow(value as Row);
}

interface Place {
  read: number;
  rest: Buffer;
}

/**
 * Follows the collector's folder: every row once, in the order of each file, also of files that are still written (they
 * end in .tmp, and are cut at the last whole line).
 */
export class EventFiles {
  readonly rows: Row[] = [];
  /** How many rows were read and not kept. */
  passed = 0;
  readonly #dir: string;
  readonly #keep: (row: Row) => boolean;
  readonly #places = new Map<string, Place>();
  readonly #buffer = Buffer.allocUnsafe(CHUNK);

  /** `keep`: a test of a flood cannot hold all of it in memory. */
  constructor(dir: string, keep: (row: Row) => boolean = () => true) {
    this.#dir = dir;
    this.#keep = keep;
  }

  /** Reads what is new; returns all rows so far that were to be kept. */
  poll(): readonly Row[] {
    for (const file of this.#files()) this.#follow(file);
    return this.rows;
  }

  #files(): string[] {
    let names: string[];
    try {
      names = readdirSync(this.#dir, { recursive: true, encoding: 'utf8' });
    } catch {
      return [];
    }
    return names.filter((name) => /\.ndjson(\.tmp)?$/.test(name)).sort();
  }

  #follow(name: string): void {
    const key = name.replace(/\.tmp$/, '');
    let fd: number;
    try {
      fd = openSync(join(this.#dir, name), 'r');
    } catch {
      return; // renamed since it was listed: found under its new name next time
    }
    const place = this.#places.get(key) ?? { read: 0, rest: Buffer.alloc(0) };
    this.#places.set(key, place);
    try {
      const { size } = fstatSync(fd);
      while (place.read < size) {
        const n = readSync(fd, this.#buffer, 0, CHUNK, place.read);
        if (n === 0) break;
        place.read += n;
        const bytes = Buffer.concat([place.rest, this.#buffer.subarray(0, n)]);
        const end = bytes.lastIndexOf(10) + 1;
        place.rest = Buffer.from(bytes.subarray(end));
        for (const line of bytes.toString('utf8', 0, end).split('\n')) if (line !== '') this.#take(parseRow(line));
      }
    } finally {
      closeSync(fd);
    }
  }

  #take(row: Row): void {
    if (this.#keep(row)) this.rows.push(row);
    else this.passed++;
  }
}
