import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
  KT_TIER_RAW_SYSCALL,
  KT_TIER_SYSCALL,
} from '../../src/kernel/layout.gen.ts';
import { loadAddon, type NativeAddon } from '../../src/kernel/native.ts';
import { KernelTap, type KernelTapOptions } from '../../src/kernel/tap.ts';
import { drainAll, type Seen } from './kernel-drain.ts';

const taps: KernelTap[] = [];
let dir: string;

function openTap(options: KernelTapOptions): KernelTap {
  const tap = KernelTap.open({ config: { ...DEFAULT_TAP_CONFIG, openMode: 'all', failedOpens: true }, ...options });
  taps.push(tap);
  return tap;
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-'));
});
afterEach(() => {
  for (const tap of taps.splice(0)) tap.close();
});
afterAll(() => rmSync(dir, { recursive: true }));

const fileKinds = [KT_FILE_OPEN, KT_FILE_CLOSE, KT_FILE_RENAME, KT_FILE_UNLINK, KT_FILE_CHMOD];
const socketKinds = [KT_SOCKET_CONNECT, KT_SOCKET_ACCEPT, KT_SOCKET_LISTEN, KT_SOCKET_CLOSE];

/** Each file act once, by a shell and coreutils in a folder of its own. */
function actOnFiles(): void {
  writeFileSync(join(dir, 'old'), 'x');
  const script = 'truncate -s 3 old; chmod 640 old; mv old new; rm new; : < missing';
  expect(spawnSync('/bin/sh', ['-c', script], { cwd: dir }).stderr.toString()).toMatch(/missing/);
}

/** What was told of the acts: kind, leaf of the path, result. */
function told(seen: readonly Seen[]): string[] {
  const names = {
    [KT_FILE_OPEN]: 'open',
    [KT_FILE_CLOSE]: 'close',
    [KT_FILE_RENAME]: 'rename',
    [KT_FILE_UNLINK]: 'unlink',
    [KT_FILE_CHMOD]: 'chmod',
  };
  return seen
    .filter(({ path }) => path.startsWith(`${dir}/`))
    .map(({ kind, path, ret }) => `${(names as Record<number, string>)[kind]} ${path.slice(dir.length + 1)} ${ret}`)
    .toSorted();
}

const expected = ['chmod old 0', 'close old 0', 'open missing -2', 'open old 0', 'rename old 0', 'unlink new 0'];

test.each(['fast', 'legacy'] as const)(
  '%s: file acts are told once by per-syscall tracepoints, and once by raw ones',
  (variant) => {
    for (const [tier, number] of [
      ['syscall', KT_TIER_SYSCALL],
      ['raw_syscall', KT_TIER_RAW_SYSCALL],
    ] as const) {
      const tap = openTap({ variant, tiers: [tier] });
      expect(tap.enable(fileKinds).map((status) => [status.state, status.tier, status.reason])).toEqual(
        fileKinds.map(() => ['on', tier, '']),
      );
      actOnFiles();
      const seen = drainAll(tap);
      expect(told(seen)).toEqual(expected);
      expect(new Set(seen.flatMap((one) => (fileKinds.includes(one.kind) ? [one.tier] : [])))).toEqual(
        new Set([number]),
      );
      tap.close();
    }
  },
);

/** The kernel's addon, but for programs that it refuses to attach. */
function refusing(refused: (program: string) => boolean): NativeAddon {
  const addon = loadAddon();
  return {
    ...addon,
    attach: (handle, name) => {
      if (refused(name)) throw Object.assign(new Error(`${name}: Permission denied`), { code: 'EACCES' });
      addon.attach(handle, name);
    },
  };
}

test('a kind that has a better tier is not told again by a raw dispatcher that others of its family need', () => {
  for (const name of ['close', 'renameat2', 'openat']) {
    const tap = openTap({ addon: refusing((program) => program.endsWith(`_${name}`)) });
    const tiers = tap.enable(fileKinds).map(({ tier }) => tier);
    expect(tiers.filter((tier) => tier === 'raw_syscall')).toHaveLength(1);
    actOnFiles();
    expect(told(drainAll(tap)), `${name} refused`).toEqual(expected);
    tap.close();
  }
});

test('socket acts are told once by per-syscall tracepoints, by raw ones and by a mix of both', () => {
  const script = `
    const net = require('node:net');
    const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
      net.connect(server.address().port, '127.0.0.1').resume().on('close', () => server.close());
    });`;
  const options: KernelTapOptions[] = [
    { tiers: ['tracker', 'syscall'] },
    { tiers: ['tracker', 'raw_syscall'], addon: refusing((program) => program.startsWith('kt_sys_')) },
    { addon: refusing((program) => program === 'kt_sys_enter_connect') },
    { addon: refusing((program) => program === 'kt_sys_exit_accept4') },
  ];
  for (const option of options) {
    const tap = openTap(option);
    expect(tap.enable(socketKinds).map(({ state }) => state)).toEqual(['on', 'on', 'on', 'on']);
    const child = spawnSync(process.execPath, ['-e', script]);
    const counts = new Map<number, number>();
    for (const { kind, tgid } of drainAll(tap)) {
      if (tgid === child.pid && socketKinds.includes(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    const once = [
      [KT_SOCKET_CONNECT, 1],
      [KT_SOCKET_ACCEPT, 1],
      [KT_SOCKET_LISTEN, 1],
      [KT_SOCKET_CLOSE, 2],
    ];
    expect(
      [...counts].toSorted(([a], [b]) => a - b),
      JSON.stringify(option.tiers),
    ).toEqual(once);
    tap.close();
  }
});
