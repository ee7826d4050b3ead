import { expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG, encodeConfig } from '../../../src/kernel/config.ts';
import { CONFIG, KT_ARGV_CAP_MAX } from '../../../src/kernel/layout.gen.ts';

const state = { enabledKinds: 0, rawKinds: 0, policies: false };

test('a configuration is the struct of record.h, the process key left as it was', () => {
  const bytes = new Uint8Array(CONFIG.SIZE);
  bytes.fill(0xaa, 0, 12);
  const config = {
    ...DEFAULT_TAP_CONFIG,
    argvCap: 0x1234,
    envCap: 0x567,
    openMode: 'all',
    failedOpens: true,
    unixMode: 'all',
    budgets: { containerPerSecond: 1000, nodePerSecond: 0, burstSeconds: 10 },
    ignoredPorts: [22],
  } as const;
  encodeConfig(config, { enabledKinds: 0x80000402, rawKinds: 0x400, policies: true }, bytes);
  expect(Buffer.from(bytes).toString('hex')).toBe(
    'aaaaaaaaaaaaaaaaaaaaaaaa' + // self_start_time, self_tgid
      '34120000' + // argv_cap
      '67050000' + // env_cap
      '02040080' + // enabled_kinds
      '03010201' + // open_mode, failed_opens, unix_mode, policies
      '01000000' + // port_filter
      '00040000' + // raw_kinds
      '00000000' +
      '40420f0000000000' + // container_interval_ns: 1,000,000
      '0000000000000000' + // node_interval_ns: none
      '00e40b5402000000', // burst_ns: 10^10
  );
});

test('policies are looked up only where there are some', () => {
  const flag = (policies: boolean) => {
    const bytes = new Uint8Array(CONFIG.SIZE);
    encodeConfig(DEFAULT_TAP_CONFIG, { ...state, policies }, bytes);
    return bytes[CONFIG.policies];
  };
  expect([flag(false), flag(true)]).toEqual([0, 1]);
});

test.each([
  { containerPerSecond: -1, nodePerSecond: 0, burstSeconds: 1 },
  { containerPerSecond: 0, nodePerSecond: Number.NaN, burstSeconds: 1 },
  { containerPerSecond: 0, nodePerSecond: 0, burstSeconds: -1 },
])('a budget that cannot be is refused: %o', (budgets) => {
  expect(() => encodeConfig({ ...DEFAULT_TAP_CONFIG, budgets }, state, new Uint8Array(CONFIG.SIZE))).toThrow(
    RangeError,
  );
});

test.each([[[0]], [[65536]], [[1.5]], [Array.from({ length: 1025 }, (_, i) => i + 1)]])(
  'ports are refused: %o',
  (ports) => {
    const config = { ...DEFAULT_TAP_CONFIG, ignoredPorts: ports };
    expect(() => encodeConfig(config, state, new Uint8Array(CONFIG.SIZE))).toThrow(RangeError);
  },
);

test.each([-1, 1.5, Number.NaN, KT_ARGV_CAP_MAX + 1])('an argv cap of %d is refused', (argvCap) => {
  expect(() => encodeConfig({ ...DEFAULT_TAP_CONFIG, argvCap }, state, new Uint8Array(CONFIG.SIZE))).toThrow(
    RangeError,
  );
});
