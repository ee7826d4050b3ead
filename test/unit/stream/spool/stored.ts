// Batches for a spool, and a folder for it.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KT_FILE_OPEN, KT_PROCESS_EXEC } from '../../../../src/kernel/layout.gen.ts';
import { loadAddon } from '../../../../src/kernel/native.ts';
import { KIND_SLOTS } from '../../../../src/stream/event-kinds.ts';
import type { FrameContent } from '../../../../src/stream/spool/format.ts';
import type { SpoolLoss } from '../../../../src/stream/spool/losses.ts';
import { Spool, type SpoolOptions } from '../../../../src/stream/spool/spool.ts';

export const RUN_A = 'aa'.repeat(16);
export const RUN_B = 'bb'.repeat(16);
export const tryLock = loadAddon().lockFile;

/** A frame whose bytes tell its sequence; of two kinds, so that the counts by kind are not all the same. */
export function frameOf(firstSeq: number, events = 3, bytes = 60, sent = false): FrameContent {
  const kinds = new Uint32Array(KIND_SLOTS);
  kinds[KT_PROCESS_EXEC] = 1;
  kinds[KT_FILE_OPEN] = events - 1;
  const content = Buffer.alloc(bytes, `${firstSeq};`);
  return { bytes: content, firstSeq, events, sent, kinds };
}

/** Frames of `events` each, one after another from sequence 1. */
export function framesOf(count: number, events = 3, bytes = 60): FrameContent[] {
  return Array.from({ length: count }, (_, i) => frameOf(1 + i * events, events, bytes));
}

export class SpoolRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-spool-'));
  readonly lost: SpoolLoss[] = [];
  readonly logged: string[] = [];
  private readonly spools: Spool[] = [];

  open(run: string, options: Partial<SpoolOptions> = {}): Spool {
    const say = (fields: object, message: string): void => {
      this.logged.push(`${message} ${JSON.stringify(fields)}`);
    };
    const spool = new Spool({
      dir: join(this.dir, 'spool'),
      tryLock,
      run,
      facts: () => ({ node: Buffer.from(`node of ${run}`).toString('base64'), agentVersion: '1' }),
      maxBytes: 64 << 20,
      minFreePercent: 0,
      fsync: 'never',
      fsyncMs: 1000,
      log: { info: say, warn: say },
      lost: (loss) => this.lost.push(loss),
      ...options,
    });
    this.spools.push(spool);
    return spool;
  }

  segments(): string[] {
    return readdirSync(join(this.dir, 'spool')).filter((name) => name.endsWith('.seg'));
  }

  /** Events lost, by reason. */
  lostEvents(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { reason, kinds } of this.lost) {
      sums[reason] = (sums[reason] ?? 0) + Array.from(kinds).reduce((total, count) => total + count, 0);
    }
    return sums;
  }

  async close(): Promise<void> {
    for (const spool of this.spools) await spool.close(2000);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
