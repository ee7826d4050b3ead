import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import {
  KT_FILE_OPEN,
  KT_FILE_UNLINK,
  KT_FILTERED,
  KT_PROCESS_EXEC,
  KT_PROCESS_IMAGE,
  KT_SELF,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../../src/kernel/layout.gen.ts';
import type { KernelTap } from '../../src/kernel/tap.ts';
import { until } from './condition.ts';
import { counterOf, drainAll } from './kernel-drain.ts';
import { dir, opensOf, openTap, shell } from './live-taps.ts';

describe('settings while probes are on', () => {
  test('sensitive prefixes are replaced: what they name is told, and what they do not is not', () => {
    const tap = openTap(KT_FILE_OPEN);
    tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'sensitive' });
    mkdirSync(join(dir, 'deep/a'), { recursive: true });
    writeFileSync(join(dir, 'deep/a/secret'), '');
    writeFileSync(join(dir, 'plain'), '');
    const told = () => {
      shell(': < deep/a/secret; : < plain');
      const seen = drainAll(tap);
      return ['deep/a/secret', 'plain'].map((name) => opensOf(seen, join(dir, name)).length);
    };
    expect(told()).toEqual([0, 0]);
    tap.setSensitive({ files: [`${dir}/deep`], sockets: [] });
    expect(told()).toEqual([1, 0]);
    tap.setSensitive({ files: [`${dir}/plain`, `${dir}/deep/*/x`], sockets: [] });
    expect(told()).toEqual([0, 1]);
    tap.setSensitive({ files: [`${dir}/deep/*/secret`], sockets: [] });
    expect(told()).toEqual([1, 0]);
  });

  test('failed opens are told only while they are wanted', () => {
    const tap = openTap(KT_FILE_OPEN);
    const failed = () => {
      shell(': < no-such-file');
      return drainAll(tap).filter(({ kind, ret }) => kind === KT_FILE_OPEN && ret !== 0 && ret === -2).length;
    };
    const missing = join(dir, 'no-such-file');
    expect(failed()).toBe(0);
    tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'all', failedOpens: true });
    shell(': < no-such-file');
    expect(opensOf(drainAll(tap), missing).map(({ ret }) => ret)).toEqual([-2]);
    tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'all', failedOpens: false });
    expect(failed()).toBe(0);
  });

  describe('a call whose end was not seen', () => {
    const NAMES = ['first', `second-${'x'.repeat(200)}`] as const;

    /** Opens that wait in the kernel for a writer. Their names lie at different addresses, being of different sizes. */
    function openWaiting() {
      const folder = mkdtempSync(join(dir, 'waiting-'));
      const run = (command: string) => NAMES.map((name) => `${command} ${folder}/${name}`).join('; ');
      shell(run('mkfifo'));
      const child = spawn('/bin/bash', ['-c', run('exec <')]);
      const about = (file: string) => readFileSync(`/proc/${child.pid}/${file}`, 'utf8');
      const waitsAt = () => {
        const address = /^\d+ 0x\S+ (0x\S+)/.exec(about('syscall'))?.[1];
        return about('wchan') === 'wait_for_partner' && address;
      };
      const ends: number[] = [];
      return {
        child,
        folder,
        waitsAt,
        letGo: (name: string) => ends.push(openSync(join(folder, name), constants.O_WRONLY | constants.O_NONBLOCK)),
        end: async () => {
          await until('its end', () => child.exitCode !== null || child.signalCode !== null);
          for (const end of ends) closeSync(end);
        },
      };
    }

    function openTapOfNames(): KernelTap {
      const tap = openTap(KT_FILE_OPEN);
      tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'all', failedOpens: true });
      return tap;
    }

    test('never lends its name to a later call of the thread', async () => {
      const tap = openTapOfNames();
      const { child, folder, waitsAt, letGo, end } = openWaiting();
      const first = await until('the first open', waitsAt);
      tap.disable([KT_FILE_OPEN]);
      letGo(NAMES[0]);
      await until('the second open', () => ![false, first].includes(waitsAt()));
      tap.enable([KT_FILE_OPEN]);
      letGo(NAMES[1]);
      await end();
      const ours = drainAll(tap).filter(({ tgid, path }) => tgid === child.pid && path.startsWith(folder));
      expect(ours.map(({ asked }) => asked)).toEqual([join(folder, NAMES[1])]);
    });

    test('leaves nothing behind when the thread is gone', async () => {
      const tap = openTapOfNames();
      const { child, waitsAt, end } = openWaiting();
      await until('the first open', waitsAt);
      tap.disable([KT_FILE_OPEN]);
      const bpftool = (...args: string[]) =>
        JSON.parse(spawnSync('bpftool', ['-j', 'map', ...args], { encoding: 'utf8' }).stdout);
      const maps = bpftool('show') as { id: number; name?: string }[];
      const newest = Math.max(...maps.flatMap(({ id, name }) => (name === 'kt_names' ? [id] : [])));
      /** Threads of the child of which names are remembered. */
      const remembered = () => {
        const entries = bpftool('dump', 'id', `${newest}`) as { key: string[] }[];
        const tgids = entries.map(({ key }) => Buffer.from(key.map(Number)).readUInt32LE(4));
        return tgids.filter((tgid) => tgid === child.pid).length;
      };
      expect(remembered()).toBe(1);
      child.kill('SIGKILL');
      await end();
      await until('nothing of it', () => remembered() === 0);
    });
  });

  test('toggling one kind loses nothing of another', () => {
    const tap = openTap(KT_FILE_OPEN);
    const file = join(dir, 'steady');
    writeFileSync(file, '');
    let done = 0;
    for (let round = 0; round < 5; round++) {
      shell(': < steady; : < steady');
      tap.enable([KT_FILE_UNLINK]);
      shell(': < steady');
      tap.disable([KT_FILE_UNLINK]);
      done += 3;
    }
    expect(opensOf(drainAll(tap), file)).toHaveLength(done);
  });
});

test('a pipe that is opened by way of /dev/fd has no name of its own, and is told all the same', () => {
  const tap = openTap(KT_FILE_OPEN);
  const child = spawnSync('/bin/bash', ['-c', 'read -r line < <(echo text)'], { cwd: dir });
  const opens = drainAll(tap).filter((one) => one.kind === KT_FILE_OPEN && one.tgid === child.pid);
  expect(opens.map(({ path }) => path)).toContain('');
});

test('what this process opens itself is counted, not told', () => {
  const tap = openTap(KT_FILE_OPEN);
  const before = counterOf(tap, KT_FILE_OPEN, KT_SELF);
  for (let i = 0; i < 100; i++) readFileSync('/etc/hostname');
  expect(counterOf(tap, KT_FILE_OPEN, KT_SELF) - before).toBeGreaterThanOrEqual(100n);
  expect(drainAll(tap).filter(({ tgid, kind }) => tgid === process.pid && kind === KT_FILE_OPEN)).toEqual([]);
});

test('connections with an ignored port are no events at either end, counted, while others are', () => {
  const tap = openTap(KT_SOCKET_CONNECT, KT_SOCKET_LISTEN, KT_SOCKET_ACCEPT, KT_SOCKET_CLOSE);
  const talk = (port: number) => {
    // One connection, closed by both ends before the process ends.
    const script = `
      const net = require('node:net');
      const server = net.createServer((end) => end.on('end', () => end.end()).resume());
      server.listen(${port}, '127.0.0.1', () => {
        const client = net.connect(${port}, '127.0.0.1', () => client.end());
        client.resume().on('close', () => server.close());
      });`;
    const { pid, status } = spawnSync(process.execPath, ['-e', script]);
    expect(status).toBe(0);
    const kinds = drainAll(tap).flatMap((one) => (one.tgid === pid && one.kind >= KT_SOCKET_CONNECT ? [one.kind] : []));
    return kinds.filter((kind) => kind <= KT_SOCKET_CLOSE).toSorted();
  };
  const all = [KT_SOCKET_CONNECT, KT_SOCKET_ACCEPT, KT_SOCKET_LISTEN, KT_SOCKET_CLOSE, KT_SOCKET_CLOSE];
  expect(talk(45671)).toEqual(all);
  tap.configure({ ...DEFAULT_TAP_CONFIG, ignoredPorts: [45671, 9] });
  const filtered = counterOf(tap, KT_SOCKET_CLOSE, KT_FILTERED);
  expect([talk(45671), talk(45672)]).toEqual([[], all]);
  expect(Number(counterOf(tap, KT_SOCKET_CLOSE, KT_FILTERED) - filtered)).toBeGreaterThanOrEqual(2);
  tap.configure(DEFAULT_TAP_CONFIG);
  expect(talk(45671)).toEqual(all);
});

describe('images', () => {
  test('an exec that is no event still tells its image, for the later events of the process', () => {
    const tap = openTap(KT_FILE_OPEN);
    tap.snapshot('process');
    const listed = drainAll(tap);
    expect(listed.some((one) => one.kind === KT_PROCESS_IMAGE && one.tgid === process.pid && one.weight === 0)).toBe(
      true,
    );
    expect(listed.some((one) => one.kind === KT_PROCESS_EXEC)).toBe(false);
    const child = shell(':');
    const seen = drainAll(tap);
    const images = seen.filter((one) => one.kind === KT_PROCESS_IMAGE && one.tgid === child.pid);
    expect(images).toHaveLength(1);
    expect(seen.some((one) => one.kind === KT_PROCESS_EXEC)).toBe(false);
    tap.enable([KT_PROCESS_EXEC]);
    const told = shell(':');
    const kinds = drainAll(tap).filter((one) => one.tgid === told.pid && one.kind !== KT_FILE_OPEN);
    expect(kinds.map(({ kind }) => kind)).toEqual([KT_PROCESS_EXEC]);
  });
});
