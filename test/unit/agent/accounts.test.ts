import { describe, expect, it } from 'vitest';
import { type AccountParts, Accounts } from '../../../src/agent/accounts.ts';
import {
  KT_EMITTED,
  KT_FILE_OPEN,
  KT_KIND_COUNT,
  KT_LOST_RING_FULL,
  KT_REASON_COUNT,
  KT_SEEN,
} from '../../../src/kernel/layout.gen.ts';
import { RunLosses } from '../../../src/stream/run-losses.ts';

function setUp() {
  const counters = new BigUint64Array(KT_KIND_COUNT * KT_REASON_COUNT);
  const state = {
    counters,
    programs: [] as { name: string; recursionMisses: bigint | null }[],
    badRecords: 0,
    attached: ['open_exit', 'raw'],
    losses: [] as { stage: 'queue' | 'collector'; reason: string; kind: string; total: number }[],
    loop: { records: 0, undecodable: 0, unwalkableBytes: 0 },
    pipeline: { control: 0, encoded: 0, badControl: 0, shedding: { counts: new Float64Array(64) } },
    refused: new Float64Array(7),
    stored: undefined as { events: number; otherRunsEvents: number } | undefined,
  };
  const lost = new RunLosses('');
  const parts = {
    tap: {
      counters: (into: BigUint64Array) => into.set(state.counters),
      programInfo: () => state.programs.map((program) => ({ attached: true, runCount: 0n, runTimeNs: 0n, ...program })),
      ringPositions: () => [{ name: 'events', consumer: 0n, producer: 0n, size: 1, badRecords: state.badRecords }],
      status: () => [
        {
          kind: KT_FILE_OPEN,
          name: 'file.open',
          tier: 'syscall',
          state: 'on',
          reason: '',
          programs: ['open_exit', 'raw'],
        },
        { kind: 11, name: 'file.close', tier: 'raw_syscall', state: 'on', reason: '', programs: ['raw'] },
      ],
    },
    loop: state.loop,
    pipeline: state.pipeline,
    encoder: { refused: state.refused, events: 2 },
    client: {
      losses: () => state.losses,
      lost,
      get stored() {
        return state.stored;
      },
      confirmedOfOthers: 0,
      confirmed: Float64Array.of(4, 3),
      depth: { batches: 1, events: 5, bytes: 9 },
    },
    hold: { heldRecords: 1 },
  };
  // Only what the accounts read of each part.
  return { state, lost, accounts: new Accounts(parts as unknown as AccountParts, 0n) };
}

const told = (accounts: Accounts) =>
  accounts.poll(1n).map(({ stage, reason, kind, count, unaccountable }) => [stage, reason, kind, count, unaccountable]);

describe('the accounts', () => {
  it('tell nothing while nothing is lost', () => {
    const { accounts, state } = setUp();
    state.counters[KT_FILE_OPEN * KT_REASON_COUNT + KT_SEEN] = 5n;
    state.counters[KT_FILE_OPEN * KT_REASON_COUNT + KT_EMITTED] = 5n;
    expect(told(accounts)).toEqual([]);
  });

  it('tell what every stage lost, once', () => {
    const { accounts, state } = setUp();
    state.counters[KT_FILE_OPEN * KT_REASON_COUNT + KT_LOST_RING_FULL] = 7n;
    state.badRecords = 1;
    state.loop.undecodable = 2;
    state.pipeline.badControl = 3;
    state.refused[5] = 4;
    state.losses = [{ stage: 'queue', reason: 'overflow', kind: 'file.open', total: 6 }];
    expect(told(accounts)).toEqual([
      ['kernel', 'ring_full', 'file.open', 7, false],
      ['decode', 'ring', '', 1, false],
      ['decode', 'walk', '', 2, false],
      ['decode', 'control', 'cgroup', 3, false],
      ['decode', 'path', '', 4, false],
      ['queue', 'overflow', 'file.open', 6, false],
    ]);
    expect(told(accounts)).toEqual([]);
  });

  it('say that what the kernel skipped is a lower bound, by kind where a program serves one alone', () => {
    const { accounts, state } = setUp();
    state.programs = [
      { name: 'open_exit', recursionMisses: 3n },
      { name: 'raw', recursionMisses: 2n },
      { name: 'tracker', recursionMisses: 1n },
      { name: 'old', recursionMisses: null },
    ];
    expect(told(accounts)).toEqual([
      ['kernel', 'kernel_missed', 'file.open', 3, true],
      ['kernel', 'kernel_missed', '', 3, true],
    ]);
    // The probe is off, its program served no other: what it missed is booked already.
    state.attached = [];
    expect(told(accounts)).toEqual([]);
    expect(accounts.ledger().lost.reduce((sum, entry) => sum + entry.total, 0)).toBe(6);
  });

  it("leave the agent's own events out", () => {
    const { accounts, state } = setUp();
    state.losses = [{ stage: 'queue', reason: 'overflow', kind: 'kerntap.loss', total: 6 }];
    expect(told(accounts)).toEqual([]);
  });

  it('notice lost control records: the cgroup tree must be walked again', () => {
    const { accounts, state } = setUp();
    expect(accounts.lostControl).toBe(0);
    state.counters[KT_LOST_RING_FULL] = 2n;
    accounts.poll(1n);
    expect(accounts.lostControl).toBe(2);
  });

  it('say what is on its way', () => {
    const { accounts } = setUp();
    accounts.poll(1n);
    expect(accounts.ledger().user).toMatchObject({ acked: 7, inFlight: 8 });
  });

  it('say what of it is on disk, and of whom', () => {
    const { accounts, state } = setUp();
    expect(accounts.ledger().earlierRuns).toBeUndefined();
    state.stored = { events: 40, otherRunsEvents: 2 };
    expect(accounts.ledger()).toMatchObject({
      user: { inFlight: 48, spooled: 40 },
      earlierRuns: { spooled: 2, acked: 0, lost: [] },
    });
  });

  it('tell what an earlier run lost as that run’s, beside its own', () => {
    const { accounts, lost } = setUp();
    const run = 'ab'.repeat(16);
    lost.of(run).addKinds('spool', 'evicted', [0, 0, 0, 5], { firstSeq: 3, lastSeq: 7 });
    accounts.earlierRuns.noteEnded(run, 'killed', new Map([['file.open', 4]]));
    const records = accounts.poll(1n);
    expect(records).toMatchObject([
      { stage: 'spool', reason: 'evicted', count: 5, ofRun: run, firstSeq: 3, lastSeq: 7 },
    ]);
    expect(accounts.poll(2n)).toEqual([]);
    expect(accounts.ledger().lost).toEqual([]);
    // What went with the run itself is told by who found it out.
    expect(accounts.earlierRuns.read()).toBeUndefined();
  });
});
