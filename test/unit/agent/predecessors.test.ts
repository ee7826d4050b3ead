import { describe, expect, it } from 'vitest';
import { type Checkpoint, checkpointValue, parseCheckpoint } from '../../../src/agent/checkpoint.ts';
import { Predecessors } from '../../../src/agent/predecessors.ts';
import { KT_FILE_OPEN, KT_PROCESS_EXEC } from '../../../src/kernel/layout.gen.ts';
import { KIND_SLOTS } from '../../../src/stream/event-kinds.ts';

const A = 'aa'.repeat(16);
const B = 'bb'.repeat(16);
const BOOT = 'boot-1';

const NOTE: Checkpoint = {
  run: A,
  bootId: BOOT,
  startNs: 1_000n,
  timeNs: 5_000_000_000n,
  wallMs: 105_000,
  closed: false,
  nextSeq: 101,
  oldestUnsafe: 91,
  inMemory: { 'file.open': 12, 'process.exec': 3 },
  lost: [{ stage: 'kernel', reason: 'budget', kind: 'file.open', total: 9, unaccountable: false }],
  storedTo: { segment: 4, at: 1000 },
  readTo: 2,
};
const NOW = { bootId: BOOT, startNs: 9_000_000_000n, wallMs: 109_000 };

const after = (...notes: Checkpoint[]): Predecessors => new Predecessors(notes.map(checkpointValue));
function frame(firstSeq: number, segment: number, at: number, opens: number, execs = 0) {
  const kinds = new Uint32Array(KIND_SLOTS);
  kinds[KT_FILE_OPEN] = opens;
  kinds[KT_PROCESS_EXEC] = execs;
  return { run: A, segment, at, firstSeq, events: opens + execs, kinds };
}

describe('a checkpoint', () => {
  it('is read as it was written, and anything else is not one', () => {
    expect(parseCheckpoint(JSON.parse(JSON.stringify(checkpointValue(NOTE))))).toEqual(NOTE);
    const wrong = [null, 7, [], {}, { ...checkpointValue(NOTE), version: 2 }, { ...checkpointValue(NOTE), timeNs: -1 }];
    for (const value of [
      ...wrong,
      { ...checkpointValue(NOTE), inMemory: { 'file.open': 'many' } },
      { ...checkpointValue(NOTE), lost: [7] },
    ]) {
      expect(parseCheckpoint(value)).toBeUndefined();
    }
  });
});

describe('a run that was killed', () => {
  it('is missed with what it had in memory, among those sequences, and from its last word on nobody watched', () => {
    expect(after(NOTE).ended(NOW)).toEqual([
      {
        run: A,
        killed: true,
        missing: new Map([
          ['file.open', 12],
          ['process.exec', 3],
        ]),
        lost: NOTE.lost,
        firstSeq: 91,
        lastSeq: 100,
        fromNs: 5_000_000_000n,
        toNs: 9_000_000_000n,
        blindNs: 4_000_000_000n,
      },
    ]);
  });

  it('is not missed with what it stored after its last word', () => {
    const runs = after(NOTE);
    // Stored before it: never in memory alone by then.
    runs.found(frame(1, 4, 0, 50, 5));
    runs.found(frame(60, 3, 5000, 20));
    // After it: what was in memory, and what came later still.
    runs.found(frame(91, 4, 1000, 4, 3));
    runs.found(frame(96, 5, 100, 2));
    runs.found(frame(101, 5, 600, 40));
    expect(runs.ended(NOW)[0]?.missing).toEqual(new Map([['file.open', 6]]));
  });

  it('had nothing with a sequence in memory: only what was in the rings is missing', () => {
    const [ended] = after({ ...NOTE, oldestUnsafe: 101 }).ended(NOW);
    expect(ended).toMatchObject({ firstSeq: 0, lastSeq: 0 });
  });
});

describe('runs before', () => {
  it('that were stopped in order miss nothing, and are missed', () => {
    const [ended] = after({ ...NOTE, closed: true, inMemory: {}, oldestUnsafe: 101 }).ended(NOW);
    expect(ended).toMatchObject({ killed: false, missing: new Map(), blindNs: 4_000_000_000n });
  });

  it('are told one after another: nobody watched between one and the next', () => {
    const second = { ...NOTE, run: B, startNs: 6_000_000_000n, timeNs: 7_000_000_000n, wallMs: 107_000 };
    const [first, next] = after(second, NOTE).ended(NOW);
    expect(first).toMatchObject({ run: A, toNs: 6_000_000_000n, blindNs: 1_000_000_000n });
    expect(next).toMatchObject({ run: B, toNs: 9_000_000_000n, blindNs: 2_000_000_000n });
  });

  it('that never watched do not end the blindness of those before them', () => {
    const second = { ...NOTE, run: B, startNs: 0n, timeNs: 7_000_000_000n, wallMs: 107_000 };
    expect(after(second, NOTE).ended(NOW)[0]).toMatchObject({ run: A, toNs: 9_000_000_000n, blindNs: 4_000_000_000n });
  });

  it('of another boot are told by the wall clock: the boot clock began anew', () => {
    const [ended] = after({ ...NOTE, bootId: 'boot-0' }).ended(NOW);
    expect(ended).toMatchObject({ fromNs: 0n, toNs: 9_000_000_000n, blindNs: 4_000_000_000n });
  });

  it('read so far that a collector may have it', () => {
    expect(after(NOTE, { ...NOTE, run: B, readTo: 7 }).readTo).toBe(7);
    expect(after().readTo).toBe(0);
  });
});
