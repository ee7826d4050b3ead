import { describe, expect, it } from 'vitest';
import { LiveSettings, type SettableTap } from '../../../src/agent/live-settings.ts';
import { kindsOf, needsRestart, tailRulesOf, tapConfigOf } from '../../../src/agent/tap-settings.ts';
import { DEFAULT_SETTINGS, withGiven } from '../../../src/config/settings.ts';
import type { TapConfig } from '../../../src/kernel/config.ts';
import {
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_PROCESS_EXEC,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../../../src/kernel/layout.gen.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';

function setUp(refuse: (call: string) => boolean = () => false) {
  const calls: string[] = [];
  const configs: TapConfig[] = [];
  const note = (call: string): [] => {
    calls.push(call);
    if (refuse(call)) throw new Error(`refused: ${call}`);
    return [];
  };
  const tap: SettableTap = {
    enable: (kinds) => note(`enable ${kinds.join()}`),
    disable: (kinds) => note(`disable ${kinds.join()}`),
    configure: (config) => {
      configs.push(config);
      note('configure');
    },
    setSensitive: ({ files }) => void note(`sensitive ${files.join()}`),
    status: () => [],
    snapshot: (family) => note(`snapshot ${family}`),
  };
  return { live: new LiveSettings(tap, DEFAULT_SETTINGS), calls, configs };
}

describe('settings that change while the tap runs', () => {
  it('touch only what changed', () => {
    const { live, calls } = setUp();
    live.apply(withGiven(DEFAULT_SETTINGS, {}));
    live.apply(withGiven(DEFAULT_SETTINGS, { tail: { eventsPerSecond: 7 }, policies: [] }));
    expect(calls).toEqual([]);
    const change = live.apply(withGiven(DEFAULT_SETTINGS, { probes: { 'file.close': 'off' } }));
    expect(calls).toEqual([`disable ${KT_FILE_CLOSE}`]);
    expect(change).toEqual({ turnedOn: [], turnedOff: ['file.close'] });
    live.apply(DEFAULT_SETTINGS);
    expect(calls.slice(1)).toEqual([`enable ${KT_FILE_CLOSE}`]);
  });

  it('put the mode in force before the probe that needs it', () => {
    const { live, calls, configs } = setUp();
    live.apply(withGiven(DEFAULT_SETTINGS, { probes: { 'file.open': 'off' } }));
    live.apply(withGiven(DEFAULT_SETTINGS, { probes: { 'file.open': 'all' }, sensitivePaths: ['/x'] }));
    expect(calls).toEqual([
      `disable ${KT_FILE_OPEN}`,
      'configure',
      'configure',
      'sensitive /x',
      `enable ${KT_FILE_OPEN}`,
    ]);
    expect(configs.at(-1)?.openMode).toBe('all');
  });

  it('list the connections that are there when the first kind of theirs comes on', () => {
    const { live, calls } = setUp();
    const none = { 'socket.connect': 'off', 'socket.accept': 'off', 'socket.listen': 'off', 'socket.close': 'off' };
    live.apply(withGiven(DEFAULT_SETTINGS, { probes: none }));
    live.apply(withGiven(DEFAULT_SETTINGS, { probes: { ...none, 'socket.connect': 'on' } }));
    live.apply(withGiven(DEFAULT_SETTINGS, { probes: { ...none, 'socket.connect': 'on', 'socket.listen': 'on' } }));
    expect(calls.slice(-3)).toEqual([`enable ${KT_SOCKET_CONNECT}`, 'snapshot socket', `enable ${KT_SOCKET_LISTEN}`]);
  });

  it('take everything back when the tap refuses a part', () => {
    const { live, calls } = setUp((call) => call === 'sensitive /x');
    const next = withGiven(DEFAULT_SETTINGS, {
      probes: { 'file.close': 'off', 'file.open': 'all' },
      sensitivePaths: ['/x'],
    });
    expect(() => live.apply(next)).toThrow(/refused: sensitive/);
    expect(live.current).toBe(DEFAULT_SETTINGS);
    expect(calls.at(-1)).toBe(`enable ${KT_FILE_CLOSE}`);
  });

  it('keep a lower budget of the node through other changes, until it is lifted', () => {
    const { live, configs } = setUp();
    live.limitNode(700);
    live.apply(withGiven(DEFAULT_SETTINGS, { failedOpens: true }));
    expect(configs.at(-1)).toMatchObject({
      failedOpens: true,
      budgets: { nodePerSecond: 700, containerPerSecond: 1000 },
    });
    live.limitNode(9000);
    expect(configs.at(-1)?.budgets.nodePerSecond).toBe(5000);
    live.limitNode(undefined);
    expect(configs.at(-1)?.budgets).toEqual({ nodePerSecond: 5000, containerPerSecond: 1000, burstSeconds: 10 });
  });
});

describe('settings as the tap and the tail take them', () => {
  it('name every kind that is on', () => {
    expect(kindsOf(DEFAULT_SETTINGS)).toContain(KT_PROCESS_EXEC);
    const off = withGiven(DEFAULT_SETTINGS, { probes: { 'process.exec': 'off', 'file.open': 'off' } });
    expect(kindsOf(off)).not.toContain(KT_PROCESS_EXEC);
    expect(kindsOf(off)).not.toContain(KT_FILE_OPEN);
  });

  it('read the environment only where a variable is allowed', () => {
    expect(tapConfigOf(DEFAULT_SETTINGS).envCap).toBe(0);
    expect(tapConfigOf(withGiven(DEFAULT_SETTINGS, { env: { allow: ['A'], capBytes: 512 } })).envCap).toBe(512);
  });

  it('show families, namespaces by pattern, and nothing when the tail is off', () => {
    const rules = tailRulesOf(withGiven(DEFAULT_SETTINGS, { tail: { kinds: ['socket'], namespaces: ['ci-*'] } }));
    expect(rules.kinds?.numbers.has(KT_SOCKET_LISTEN)).toBe(true);
    expect(rules.kinds?.numbers.has(KT_PROCESS_EXEC)).toBe(false);
    const of = (namespace: string) =>
      makeWorkload({ cgroupId: 1n, cgroupPath: '/', state: 'complete', reason: '', namespace });
    expect([of('ci-1'), of('shop'), of('')].map((workload) => rules.wanted?.(workload))).toEqual([true, false, false]);
    const none = tailRulesOf(withGiven(DEFAULT_SETTINGS, { tail: { enabled: false } }));
    expect([none.kinds?.numbers.size, none.kinds?.own.size]).toEqual([0, 0]);
  });

  it('tell what a restart is needed for', () => {
    const next = withGiven(DEFAULT_SETTINGS, { collector: { endpoint: 'c:4750' }, failedOpens: true });
    expect(needsRestart(DEFAULT_SETTINGS, next)).toEqual(['collector']);
  });
});
