import { describe, expect, it } from 'vitest';
import { Observation, type ObservedParts } from '../../../src/agent/observation.ts';
import { KT_FILE_OPEN, KT_PROCESS_EXEC } from '../../../src/kernel/layout.gen.ts';
import type { ProbeStatus } from '../../../src/kernel/probe-switch.ts';
import { KIND_PROBE, KIND_SLOTS } from '../../../src/stream/event-kinds.ts';
import { liveness, readiness } from '../../../src/telemetry/health.ts';
import { NamespaceCounts } from '../../../src/telemetry/namespaces.ts';
import { READINGS } from '../telemetry/agent-readings.ts';

function setUp() {
  const exec: ProbeStatus = {
    kind: KT_PROCESS_EXEC,
    name: 'process.exec',
    tier: 'tracker',
    state: 'on',
    reason: '',
    programs: ['kt_process_exec'],
  };
  const open: ProbeStatus = { ...exec, kind: KT_FILE_OPEN, name: 'file.open', tier: undefined, state: 'failed' };
  const state = {
    now: 100_000,
    lastDrainMs: 99_990,
    probes: [exec, { ...open, reason: 'EPERM' }] as ProbeStatus[],
    wanted: [KT_PROCESS_EXEC, KT_FILE_OPEN],
    stream: 'open',
  };
  const accepted = new Float64Array(KIND_SLOTS);
  accepted[KT_FILE_OPEN] = 7;
  accepted[KIND_PROBE] = 1;
  const namespaces = new NamespaceCounts();
  namespaces.count('shop');
  const parts = {
    version: '1.2.3',
    tap: {
      status: () => state.probes,
      programInfo: () => [],
      ringPositions: () => [
        { name: 'events', consumer: 2n ** 60n, producer: 2n ** 60n + 640n, size: 4096, badRecords: 0 },
      ],
    },
    loop: {
      get lastDrainMs() {
        return state.lastDrainMs;
      },
    },
    pipeline: { namespaces },
    accounts: { read: () => READINGS.ledger },
    client: {
      get state() {
        return state.stream;
      },
      accepted,
      confirmed: Float64Array.of(-1, 5, 3),
      depth: { batches: 1, events: 2, bytes: 999 },
    },
    pods: undefined,
    hold: undefined,
    tail: undefined,
    config: () => undefined,
    tls: () => new Map(),
    wanted: () => state.wanted,
    now: () => state.now,
  };
  // Only what is read of each part.
  const observation = new Observation(parts as unknown as ObservedParts);
  observation.phase = 'running';
  return { state, observation };
}

describe('the observation of an agent', () => {
  it('reads every part at the moment of the question', () => {
    const { observation } = setUp();
    observation.drained(99_000);
    observation.drained(99_990);
    expect(observation.read()).toMatchObject({
      version: '1.2.3',
      namespaces: [{ namespace: 'shop', events: 1 }],
      rings: [{ name: 'events', bytes: 640, capacityBytes: 4096 }],
      drainLagMs: 990,
      stream: { state: 'open', ackedEvents: 7, queueBytes: 999 },
      pods: undefined,
    });
    expect([...observation.read().events]).toEqual([
      ['file.open', 7],
      ['kerntap.probe', 1],
    ]);
  });

  it('is degraded by what was refused from the start, and by a collector that is away', () => {
    const { state, observation } = setUp();
    state.stream = 'waiting';
    const answer = liveness(observation.health());
    expect(answer).toMatchObject({ ok: true, status: 'degraded' });
    expect(answer.degraded.map(({ part }) => part)).toEqual(['probe', 'collector']);
    state.wanted = [KT_PROCESS_EXEC];
    state.stream = 'open';
    expect(liveness(observation.health()).status).toBe('ok');
  });

  it('is not alive once a probe that was attached is gone, or the drain is stuck', () => {
    const { state, observation } = setUp();
    observation.look();
    const [exec] = state.probes;
    if (exec === undefined) throw new Error('no probe');
    state.probes = [{ ...exec, state: 'failed', tier: undefined, reason: 'gone' }];
    expect(liveness(observation.health()).failed).toEqual([
      { part: 'probe', name: 'process.exec', reason: 'lost: gone' },
    ]);
    state.probes = [exec];
    expect(liveness(observation.health()).ok).toBe(true);
    state.now += 11_000;
    expect(liveness(observation.health()).failed).toMatchObject([{ part: 'drain' }]);
  });

  it('is ready while it runs', () => {
    const { observation } = setUp();
    expect(readiness(observation.health()).ok).toBe(true);
    for (const phase of ['starting', 'stopping'] as const) {
      observation.phase = phase;
      expect(readiness(observation.health()).ok).toBe(false);
      expect(liveness(observation.health()).ok).toBe(true);
    }
  });
});
