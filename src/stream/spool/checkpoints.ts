// A small file of each run, written again and again in place: what it knows of itself. It outlives a SIGKILL, as what was
// written is the kernel's, and the run after it reads there what has to be accounted for.

import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

const NAME = /^([0-9a-f]{32})\.checkpoint$/;

export const isCheckpointName = (name: string): boolean => NAME.test(name);

const MAGIC = 0x3143_4b54;
/** Two slots, written in turns: a write that was cut leaves the one before. */
const SLOT_BYTES = 16_384;
const HEAD_BYTES = 20;
/** Runs that ended one after another before they could tell; older ones are given up. */
const KEPT_MAX = 64;

export interface EarlierCheckpoint {
  /** In hex. */
  readonly run: string;
  /** As it was given to `write`; to be checked. */
  readonly value: unknown;
}

export class Checkpoints {
  /** Of the runs before, in no order; filled by `open`. */
  readonly earlier: EarlierCheckpoint[] = [];
  private readonly run: string;
  private dir = '';
  private file: FileHandle | undefined;
  private generation = 0;
  private writing: Promise<void> | undefined;
  private next: unknown;

  /** `run`: this one, in hex. */
  constructor(run: string) {
    this.run = run;
  }

  /** Reads what is there and makes this run's own file. Rejects where the folder does not let it. */
  async open(dir: string): Promise<void> {
    const runs = (await readdir(dir)).flatMap((name) => NAME.exec(name)?.[1] ?? []);
    this.earlier.length = 0;
    for (const run of runs) {
      if (run === this.run) continue;
      const value = await readSlots(join(dir, `${run}.checkpoint`));
      if (value === undefined || this.earlier.length >= KEPT_MAX)
        await rm(join(dir, `${run}.checkpoint`), { force: true });
      else this.earlier.push({ run, value });
    }
    this.file ??= await open(join(dir, `${this.run}.checkpoint`), 'w', 0o600);
    this.dir = dir;
  }

  get isOpen(): boolean {
    return this.file !== undefined;
  }

  /** Writes it, soon: never waits, and while the disk is slow only the newest counts. */
  write(value: unknown): void {
    this.next = value;
    if (this.file === undefined || this.writing !== undefined) return;
    this.writing = this.writeNext(this.file).finally(() => {
      this.writing = undefined;
      if (this.next !== undefined) this.write(this.next);
    });
  }

  /** The last one is written, or `timeoutMs` have passed. */
  async flush(timeoutMs: number): Promise<void> {
    const late = new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref());
    await Promise.race([late, this.written()]);
  }

  /** What a run left is told and kept elsewhere. */
  async forget(run: string): Promise<void> {
    if (this.dir !== '') await rm(join(this.dir, `${run}.checkpoint`), { force: true }).catch(() => {});
  }

  private async written(): Promise<void> {
    while (this.writing !== undefined) await this.writing;
  }

  private async writeNext(file: FileHandle): Promise<void> {
    const json = Buffer.from(JSON.stringify(this.next));
    this.next = undefined;
    if (json.length > SLOT_BYTES - HEAD_BYTES) return;
    const slot = Buffer.alloc(SLOT_BYTES);
    const generation = ++this.generation;
    slot.writeUInt32LE(MAGIC, 0);
    slot.writeDoubleLE(generation, 4);
    slot.writeUInt32LE(json.length, 12);
    slot.writeUInt32LE(crc32(json, generation), 16);
    slot.set(json, HEAD_BYTES);
    // A disk that does not take it is told of by what else is written there.
    await file.write(slot, 0, SLOT_BYTES, (generation % 2) * SLOT_BYTES).catch(() => {});
  }
}

/** The newest whole one; undefined: there is none. */
async function readSlots(path: string): Promise<unknown> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(2 * SLOT_BYTES);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    let newest = { generation: 0, value: undefined as unknown };
    for (let at = 0; at + HEAD_BYTES <= bytesRead; at += SLOT_BYTES) {
      const generation = bytes.readDoubleLE(at + 4);
      const json = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + bytes.readUInt32LE(at + 12));
      if (bytes.readUInt32LE(at) !== MAGIC || !Number.isSafeInteger(generation) || generation <= newest.generation)
        continue;
      if (crc32(json, generation) !== bytes.readUInt32LE(at + 16)) continue;
      newest = { generation, value: JSON.parse(json.toString()) };
    }
    return newest.value;
  } finally {
    await file.close();
  }
}
