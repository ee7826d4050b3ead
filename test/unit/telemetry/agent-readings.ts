import type { AgentReadings } from '../../../src/telemetry/readings.ts';

/** An agent in which every part is there and has something to tell. */
export const READINGS: AgentReadings = {
  version: '1.2.3',
  ledger: {
    kinds: {
      'file.open': {
        seen: 100,
        emitted: 40,
        suppressed: { filtered: 50, self: 5 },
        lost: { ring_full: 5 },
        notes: { user_fault: 1 },
      },
      'process.exec': { seen: 7, emitted: 7, suppressed: {}, lost: {}, notes: {} },
    },
    user: { drained: 47, control: 0, encoded: 47, acked: 40, inFlight: 7, spooled: 3 },
    lost: [
      { stage: 'kernel', reason: 'ring_full', kind: 'file.open', total: 5, unaccountable: false },
      { stage: 'queue', reason: 'overflow', kind: '', total: 2, unaccountable: false },
    ],
    earlierRuns: {
      spooled: 5,
      acked: 11,
      lost: [
        { run: 'aa', stage: 'run', reason: 'killed', kind: 'file.open', total: 3, unaccountable: false },
        { run: 'bb', stage: 'run', reason: 'killed', kind: 'file.open', total: 4, unaccountable: false },
      ],
    },
  },
  namespaces: [
    { namespace: '', events: 40 },
    { namespace: 'shop', events: 7 },
  ],
  rings: [
    { name: 'process', bytes: 0, capacityBytes: 4 << 20 },
    { name: 'events', bytes: 512, capacityBytes: 16 << 20 },
  ],
  drainLagMs: 17.5,
  probes: [
    { name: 'process.exec', tier: 'tracker', state: 'on', reason: '' },
    { name: 'file.open', tier: '', state: 'failed', reason: 'EPERM' },
  ],
  programs: [
    { name: 'kt_a', runTimeNs: 2_500_000_000n, recursionMisses: 3n },
    { name: 'kt_b', runTimeNs: 0n, recursionMisses: null },
  ],
  events: new Map([['file.open', 40]]),
  stream: { state: 'open', ackedEvents: 40, queueBytes: 65_536, lastAckMs: 1_700_000_002_000 },
  otlp: {
    state: 'open',
    problem: '',
    acceptedEvents: 50,
    confirmedEvents: 30,
    waitingEvents: 15,
    lost: { rejected: 4, overflow: 1 },
    queueBytes: 4096,
    sentBytes: 30_000,
  },
  spool: {
    problem: '',
    bytes: 4096,
    capacityBytes: 1 << 30,
    writtenBytes: 8192,
    events: 3,
    otherRunsEvents: 5,
    blindMs: 2500,
  },
  pods: {
    source: 'pods-api',
    changes: 1,
    lastSuccessMs: 1_700_000_000_500,
    problem: '',
    knownPods: 9,
    gonePods: 4,
    pendingPods: 2,
    sources: [
      {
        name: 'pods-api',
        requests: 5,
        failures: { exhausted: 1, timeout: 0 },
        skippedPods: 1,
        lastSuccessMs: 1_700_000_000_500,
        problem: '',
      },
      { name: 'kubelet', requests: 0, failures: {}, skippedPods: 0, lastSuccessMs: undefined, problem: 'forbidden' },
    ],
  },
  hold: { bytes: 16_384, released: 10, expired: 1, overflowed: 0 },
  config: { applied: 2, refused: 1, lastSuccessful: false, lastSuccessMs: 1_700_000_001_000, problem: 'line 3' },
  tls: new Map([
    [
      'collector',
      {
        ownNotAfterMs: 1_700_000_002_000,
        authorityNotAfterMs: 1_700_000_003_000,
        applied: 3,
        refused: 1,
        lastSuccessful: false,
        problem: 'collector.tls.keyFile: no',
      },
    ],
    [
      'otlp',
      {
        ownNotAfterMs: undefined,
        authorityNotAfterMs: 1_700_000_004_000,
        applied: 0,
        refused: 0,
        lastSuccessful: true,
        problem: '',
      },
    ],
  ]),
  tailDropped: { rate: 9 },
};
