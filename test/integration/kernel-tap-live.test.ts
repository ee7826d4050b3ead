import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import {
  KT_CGROUP_MKDIR,
  KT_ENTRY_EXEC,
  KT_ENTRY_HOST,
  KT_ENTRY_INIT,
  KT_FILE_CHMOD,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_FILTERED,
  KT_LOST_BUDGET,
  KT_LOST_UNPAIRED,
  KT_PROCESS_EXEC,
  KT_PROCESS_IMAGE,
  KT_SELF,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../../src/kernel/layout.gen.ts';
import { KernelTap } from '../../src/kernel/tap.ts';
import { until } from './condition.ts';
import { counterOf, drainAll, drainOnce, type Seen } from './kernel-drain.ts';

const taps: KernelTap[] = [];
let dir: string;

function openTap(...kinds: number[]): KernelTap {
  const tap = KernelTap.open({ config: { ...DEFAULT_TAP_CONFIG, openMode: 'all' } });
  taps.push(tap);
  expect(tap.enable(kinds).map(({ state }) => state)).toEqual(kinds.map(() => 'on'));
  return tap;
}

/** A child that does it: what the test's own process does is the agent's own, and not told. */
const shell = (script: string) => spawnSync('/bin/sh', ['-c', script], { cwd: dir });
const opensOf = (seen: readonly Seen[], path: string) =>
  seen.filter((one) => one.kind === KT_FILE_OPEN && one.path === path);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-'));
});
afterEach(() => {
  for (const tap of taps.splice(0)) tap.close();
});
afterAll(() => rmSync(dir, { recursive: true }));

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

describe('cgroups made while the tap runs', () => {
  const root = /^cgroup2 (\S+)/m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1] ?? '/sys/fs/cgroup';
  const made: string[] = [];

  function makeCgroup(name: string): { path: string; id: bigint } {
    const path = join(root, name);
    mkdirSync(path);
    made.push(path);
    return { path, id: statSync(path, { bigint: true }).ino };
  }

  afterEach(() => {
    for (const path of made.splice(0).reverse()) rmdirSync(path);
  });

  const inside = (cgroup: string, script: string) => shell(`echo $$ > ${cgroup}/cgroup.procs; ${script}`);

  test('a consumer that pauses between the rings still meets the cgroup before the file opened in it', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const marker = join(dir, 'marker');
    writeFileSync(marker, '');
    drainAll(tap);
    shell('/bin/true; /bin/true; : < marker');
    const seen: Seen[] = [];
    // One record at a time: every stop between two records of a round is a pause.
    const small = new Uint8Array(1024);
    for (let pause = 0; pause < 12; pause++) seen.push(...drainOnce(tap, small));
    const { path, id } = makeCgroup(`kerntap-order-${process.pid}`);
    inside(path, `/bin/true; : < ${marker}`);
    seen.push(...drainAll(tap));
    const at = (wanted: (one: Seen) => boolean) => seen.findIndex(wanted);
    const mkdir = at((one) => one.kind === KT_CGROUP_MKDIR && one.cgroupId === id);
    const exec = at((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id);
    const open = at((one) => one.kind === KT_FILE_OPEN && one.cgroupId === id && one.path === marker);
    expect(mkdir).toBeGreaterThanOrEqual(0);
    expect(exec).toBeGreaterThan(mkdir);
    expect(open).toBeGreaterThan(exec);
    expect(seen[mkdir]?.path).toContain(`kerntap-order-${process.pid}`);
  });

  test('a policy turns a kind off for one cgroup alone, and is counted', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const { path, id } = makeCgroup(`kerntap-policy-${process.pid}`);
    const marker = join(dir, 'policy');
    writeFileSync(marker, '');
    const told = () => {
      inside(path, `: < ${marker}; /bin/true`);
      shell(`: < ${marker}`);
      const seen = drainAll(tap);
      const opens = opensOf(seen, marker);
      return {
        inside: opens.filter(({ cgroupId }) => cgroupId === id).length,
        outside: opens.filter(({ cgroupId }) => cgroupId !== id).length,
        execs: seen.filter((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id).length,
      };
    };
    expect(told()).toEqual({ inside: 1, outside: 1, execs: 1 });
    tap.setPolicy(id, { off: [KT_FILE_OPEN], sample: [], n: 1 });
    const before = counterOf(tap, KT_FILE_OPEN, KT_FILTERED);
    expect(told()).toEqual({ inside: 0, outside: 1, execs: 1 });
    expect(counterOf(tap, KT_FILE_OPEN, KT_FILTERED)).toBeGreaterThan(before);
    tap.setPolicy(id, undefined);
    expect(told()).toEqual({ inside: 1, outside: 1, execs: 1 });
  });

  test('acts of two halves are left out by a policy whole, counted, and whole again when it is gone', () => {
    const kinds = [KT_FILE_RENAME, KT_FILE_CHMOD, KT_FILE_UNLINK];
    const tap = openTap(...kinds);
    const { path, id } = makeCgroup(`kerntap-halves-${process.pid}`);
    const told = () => {
      // A directory's removal is made of the same system call, and is no unlink.
      inside(path, ': > a; mv a b; chmod 600 b; rm b; mkdir c; rmdir c');
      const ours = drainAll(tap).filter(({ kind, cgroupId }) => kinds.includes(kind) && cgroupId === id);
      return ours.map((one) => [one.kind, one.path.replace(/^.*\//, '')]);
    };
    const counted = (reason: number) => kinds.map((kind) => counterOf(tap, kind, reason));
    const whole = [
      [KT_FILE_RENAME, 'a'],
      [KT_FILE_CHMOD, 'b'],
      [KT_FILE_UNLINK, 'b'],
    ];
    expect(told()).toEqual(whole);
    tap.setPolicy(id, { off: kinds, sample: [], n: 1 });
    const before = counted(KT_FILTERED);
    expect(told()).toEqual([]);
    counted(KT_FILTERED).forEach((count, i) => {
      expect(count).toBeGreaterThan(before[i] ?? 0n);
    });
    tap.setPolicy(id, undefined);
    expect(told()).toEqual(whole);
    expect(counted(KT_LOST_UNPAIRED)).toEqual([0n, 0n, 0n]);
  });

  test('over its budget a group loses files first, each counted, and no exec; another group loses nothing', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const { path, id } = makeCgroup('greedy');
    const modest = makeCgroup('modest');
    const marker = join(dir, 'budget');
    writeFileSync(marker, '');
    // A burst of 50 files; 60 may be followed by execs, which have half as much again.
    const budgets = { containerPerSecond: 0.5, nodePerSecond: 0, burstSeconds: 100 };
    tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'all', budgets });
    const shed = counterOf(tap, KT_FILE_OPEN, KT_LOST_BUDGET);
    inside(path, `i=0; while [ $i -lt 200 ]; do : < ${marker}; i=$((i+1)); done; /bin/true; /bin/true`);
    inside(modest.path, `: < ${marker}`);
    const seen = drainAll(tap);
    const opens = opensOf(seen, marker);
    const kept = opens.filter(({ cgroupId }) => cgroupId === id).length;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThanOrEqual(52);
    expect(opens.filter(({ cgroupId }) => cgroupId === modest.id).length).toBe(1);
    expect(Number(counterOf(tap, KT_FILE_OPEN, KT_LOST_BUDGET) - shed)).toBeGreaterThanOrEqual(200 - kept);
    expect(seen.filter((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id).length).toBe(2);
    expect(counterOf(tap, KT_PROCESS_EXEC, KT_LOST_BUDGET)).toBe(0n);
  });

  test('the first process of a container is its init, one that comes from outside was injected', () => {
    const tap = openTap(KT_PROCESS_EXEC);
    tap.setCgroup(1n, 0n);
    const name = Buffer.from(`${process.pid}`.padStart(32, '0')).toString('hex');
    const { path, id } = makeCgroup(name);
    const entries = (script: string) => {
      script === '' || inside(path, script);
      return drainAll(tap).flatMap((one) => (one.kind === KT_PROCESS_EXEC && one.cgroupId === id ? [one.entry] : []));
    };
    expect(entries('/bin/true; /bin/true')).toEqual([KT_ENTRY_INIT, KT_ENTRY_INIT]);
    expect(entries('/bin/true')).toEqual([KT_ENTRY_EXEC]);
  });

  test('a process in a cgroup that setCgroup names as the host is the host', () => {
    const tap = openTap(KT_PROCESS_EXEC);
    const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
    const id = statSync(join(root, own), { bigint: true }).ino;
    tap.setCgroup(id, 0n);
    tap.snapshot();
    drainAll(tap);
    shell('/bin/true host-entry');
    const entries = drainAll(tap).flatMap(({ argv, entry }) => (argv.includes('host-entry') ? [entry] : []));
    expect(entries).toEqual([KT_ENTRY_HOST]);
  });
});
