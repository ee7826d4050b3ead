import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import { TapOpenError } from '../../src/kernel/core.ts';
import {
  KT_EMITTED,
  KT_FILE_CLOSE,
  KT_FILTERED,
  KT_LOST_RING_FULL,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_SEEN,
  KT_TIER_ITERATOR,
} from '../../src/kernel/layout.gen.ts';
import { loadAddon, nativeBuildDir } from '../../src/kernel/native.ts';
import { PROBES, SNAPSHOTS } from '../../src/kernel/probes.ts';
import { KernelTap, type KernelTapOptions } from '../../src/kernel/tap.ts';
import { counterOf, drainAll } from './kernel-drain.ts';

const taps: KernelTap[] = [];
const buffer = new Uint8Array(256 * 1024);

function openTap(options: KernelTapOptions = {}): KernelTap {
  const tap = KernelTap.open(options);
  taps.push(tap);
  return tap;
}

afterEach(() => {
  for (const tap of taps.splice(0)) tap.close();
});

/** Programs, maps, links, BTF and perf events that this process keeps in the kernel. */
function kernelObjects(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /bpf|btf|perf_event/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

const execs = (tap: KernelTap) => drainAll(tap).filter(({ kind }) => kind === KT_PROCESS_EXEC);

describe.each(['fast', 'legacy'] as const)('the %s objects on this kernel', (variant) => {
  test('an exec comes out of the rings with its command line, once', () => {
    const tap = openTap({ variant });
    expect(tap.enable([KT_PROCESS_EXEC])).toMatchObject([{ state: 'on', tier: 'tracker', reason: '' }]);
    const mark = `mark-${process.hrtime.bigint()}`;
    const child = spawnSync('/bin/true', [mark, 'b c']);
    const seen = execs(tap).filter(({ argv }) => argv.includes(mark));
    expect(seen.map(({ argv, tgid }) => ({ argv, tgid }))).toEqual([
      { argv: ['/bin/true', mark, 'b c'], tgid: child.pid },
    ]);
  });

  test('a kind that is turned off leaves no record, one that stays on misses none', () => {
    const tap = openTap({ variant });
    tap.enable([KT_PROCESS_EXEC, KT_PROCESS_EXIT]);
    expect(tap.disable([KT_PROCESS_EXEC])).toMatchObject([{ state: 'off', programs: [] }]);
    drainAll(tap);
    const child = spawnSync('/bin/true');
    const kinds = drainAll(tap).flatMap(({ kind, tgid }) => (tgid === child.pid ? [kind] : []));
    expect(kinds).toEqual([KT_PROCESS_EXIT]);
    expect(tap.enable([KT_PROCESS_EXEC])).toMatchObject([{ state: 'on' }]);
    spawnSync('/bin/true', ['again']);
    expect(execs(tap).filter(({ argv }) => argv.includes('again'))).toHaveLength(1);
  });

  test('the snapshot lists this process with the start time that its own exec would have', () => {
    const tap = openTap({ variant });
    tap.enable([KT_PROCESS_EXEC]);
    expect(tap.snapshot()).toEqual([]);
    const listed = execs(tap).filter(({ tier }) => tier === KT_TIER_ITERATOR);
    const me = listed.filter(({ tgid }) => tgid === process.pid);
    expect(me).toHaveLength(1);
    const ticks = readFileSync('/proc/self/stat', 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')[19];
    expect(((me[0]?.startTime ?? 0n) / 10_000_000n).toString()).toBe(ticks);
  });

  test('what does not fit into a small ring is counted: seen = emitted + lost', () => {
    const tap = openTap({ variant, ringBytes: { process: 4096 } });
    tap.enable([KT_PROCESS_EXEC]);
    spawnSync('/bin/sh', ['-c', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do /bin/true "$i"; done']);
    tap.disable([KT_PROCESS_EXEC]);
    const emitted = counterOf(tap, KT_PROCESS_EXEC, KT_EMITTED);
    const lost = counterOf(tap, KT_PROCESS_EXEC, KT_LOST_RING_FULL);
    expect(lost).toBeGreaterThan(0n);
    expect(counterOf(tap, KT_PROCESS_EXEC, KT_SEEN)).toBe(
      emitted + lost + counterOf(tap, KT_PROCESS_EXEC, KT_FILTERED),
    );
    expect(BigInt(execs(tap).length)).toBe(emitted);
  });
});

test('probes of this table are in the objects, and the other way round', () => {
  const addon = loadAddon();
  for (const family of new Set(PROBES.map((probe) => probe.family))) {
    const named = [
      ...PROBES.filter((probe) => probe.family === family)
        .flatMap(({ tiers }) => tiers)
        .flatMap(({ required, optional = [], failedOpens = [] }) => [...required, ...optional, ...failedOpens]),
      ...SNAPSHOTS.filter((snapshot) => snapshot.family === family).map(({ program }) => program),
    ];
    for (const variant of ['', '.legacy']) {
      const built = addon.programs(join(nativeBuildDir(), `${family}${variant}.bpf.o`)).map(({ name }) => name);
      expect([...new Set(named)].toSorted()).toEqual(built.toSorted());
    }
  }
});

test('settings reach the kernel side without losing the process key of the agent', () => {
  const tap = openTap();
  tap.enable([KT_PROCESS_EXEC]);
  tap.configure({ ...DEFAULT_TAP_CONFIG, argvCap: 16 });
  spawnSync('/bin/true', ['x'.repeat(100)]);
  const cut = execs(tap).at(-1)?.argv ?? [];
  expect(cut.join('\0').length).toBeLessThan(16);
  expect(() => tap.configure({ ...DEFAULT_TAP_CONFIG, argvCap: 1e9 })).toThrow(RangeError);
});

test('a closed tap leaves nothing in the kernel, and says that it is closed', () => {
  const before = kernelObjects();
  const tap = openTap();
  tap.enable([KT_PROCESS_EXEC, KT_FILE_CLOSE]);
  expect(kernelObjects()).toBeGreaterThan(before);
  tap.close();
  expect(kernelObjects()).toBe(before);
  tap.close();
  expect(() => tap.drain(buffer)).toThrow('closed');
  expect(() => tap.counters(new BigUint64Array(512))).toThrow('closed');
  expect(() => tap.enable([KT_PROCESS_EXEC])).toThrow('closed');
});

test('an object that is not there, or is none, ends in one clear error', () => {
  expect(() => KernelTap.open({ objectDir: '/nonexistent' })).toThrow(TapOpenError);
  expect(() => KernelTap.open({ objectDir: '/nonexistent' })).toThrow(/core.bpf.o: No such file/);
  const before = kernelObjects();
  expect(() => KernelTap.open({ ringBytes: { events: 0 } })).toThrow(TapOpenError);
  expect(() => KernelTap.open({ config: { ...DEFAULT_TAP_CONFIG, argvCap: -1 } })).toThrow(RangeError);
  expect(kernelObjects()).toBe(before);
});

describe('the addon refuses what is not what it takes', () => {
  const addon = loadAddon();
  const core = join(nativeBuildDir(), 'core.bpf.o');
  // biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
  const hostile = addon as any;

  test.each([[undefined], [null], [1], ['x'], [{}], [() => {}]])('handle %s', (handle) => {
    for (const call of ['close', 'load', 'attach', 'drain', 'counters', 'updateMap', 'ringPositions', 'programInfo']) {
      expect(() => hostile[call](handle, 'a', new Uint8Array(4), new Uint8Array(4)), call).toThrow(TypeError);
    }
  });

  test('arguments of an open handle', () => {
    const handle = addon.open({ coreObject: core, maps: {} });
    for (const args of [
      [[], 'load'],
      [['a'], 'load'],
      [['a', []], 'load'],
      [['a', [1]], 'load'],
      [['a', Array(1000).fill('x')], 'load'],
      [[1], 'attach'],
      [[], 'drain'],
      [[new Uint16Array(4096)], 'drain'],
      [[new BigInt64Array(512)], 'counters'],
      [['kt_config', new Uint8Array(3), new Uint8Array(40)], 'updateMap'],
      [['kt_config', new Uint8Array(4), new Uint8Array(39)], 'updateMap'],
      [['kt_config', 'key'], 'lookupMap'],
    ] as const) {
      expect(() => hostile[args[1]](handle, ...args[0]), `${args[1]} ${args[0]}`).toThrow(TypeError);
    }
    expect(() => addon.drain(handle, new Uint8Array(64))).toThrow(RangeError);
    expect(() => addon.counters(handle, new BigUint64Array(3))).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => addon.lookupMap(handle, 'none', new Uint8Array(4))).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
    expect(() => addon.attach(handle, 'none')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(() => addon.load(handle, core, ['kt_fork'])).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(addon.deleteMap(handle, 'kt_policies', new Uint8Array(8))).toBe(false);
    expect(addon.updateMap(handle, 'kt_policies', new Uint8Array(8), new Uint8Array(16), true)).toBe(true);
    expect(addon.updateMap(handle, 'kt_policies', new Uint8Array(8), new Uint8Array(16), true)).toBe(false);
    addon.close(handle);
    expect(() => addon.close({} as never)).toThrow(TypeError);
  });
});

test('an environment that ends with an open tap takes its programs out of the kernel', async () => {
  const code = `
    const { parentPort } = require('node:worker_threads');
    const addon = require(${JSON.stringify(join(nativeBuildDir(), 'kerntap.node'))});
    globalThis.handle = addon.open({ coreObject: ${JSON.stringify(join(nativeBuildDir(), 'core.bpf.o'))}, maps: {} });
    addon.attach(globalThis.handle, 'kt_fork');
    parentPort.postMessage('open');
    // It is to be ended within a call, mostly.
    setInterval(() => { for (let i = 0; i < 300; i++) addon.drain(globalThis.handle, new Uint8Array(4096)); }, 1);`;
  const before = kernelObjects();
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(code, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    expect(kernelObjects()).toBeGreaterThan(before);
    expect(await worker.terminate()).toBe(1);
    expect(kernelObjects()).toBe(before);
  }
});
