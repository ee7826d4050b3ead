import { beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../../src/kernel/config.ts';
import { TapOpenError } from '../../../src/kernel/core.ts';
import {
  CONFIG,
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_FORK,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  PROC,
} from '../../../src/kernel/layout.gen.ts';
import { KernelTap, type KernelTapOptions } from '../../../src/kernel/tap.ts';
import { addonError, FakeAddon } from './fake-addon.ts';

let addon: FakeAddon;

beforeEach(() => {
  addon = new FakeAddon();
});

const openTap = (options: KernelTapOptions = {}) => KernelTap.open({ addon, objectDir: '/objects', ...options });
const refuseTrampolines = () => {
  for (const name of ['kt_do_filp_open', 'kt_do_file_open', 'kt_do_file_open_root']) {
    addon.loadErrors.set(name, addonError('EPERM', `load /x: no\nlibbpf: prog '${name}': BPF program load failed: no`));
  }
};
const bits = (at: number) => addon.config().readUInt32LE(at);

describe('opening', () => {
  test('attaches the trackers, and no kind', () => {
    const tap = openTap();
    expect([...addon.attached]).toEqual(['kt_fork', 'kt_exec']);
    expect(tap.status().every(({ state }) => state === 'off')).toBe(true);
    expect(bits(CONFIG.enabled_kinds)).toBe(0);
  });

  test('sizes the slots by CPUs and the rings as told', () => {
    openTap({ ringBytes: { process: 4096, events: 8192 } });
    expect(addon.sizes).toEqual({ kt_slots: 12, kt_ring_process: 4096, kt_ring_events: 8192 });
  });

  test('takes the legacy objects, all of them, where the fast core is refused', () => {
    addon.openErrors.set('core.bpf.o', addonError('EINVAL', 'open: no\nlibbpf: kfunc is missing'));
    const tap = openTap();
    tap.enable([KT_PROCESS_EXEC]);
    expect(tap.variant).toBe('legacy');
    expect(addon.log.filter((line) => !line.startsWith('attach'))).toEqual([
      'open core.bpf.o',
      'open core.legacy.bpf.o',
      'load process.legacy.bpf.o kt_process_exec kt_snapshot_tasks',
    ]);
  });

  test('does not try another form of what is not permitted, and says so', () => {
    addon.openErrors.set('core.bpf.o', addonError('EPERM', 'open core.bpf.o: Operation not permitted'));
    expect(() => openTap()).toThrow(TapOpenError);
    expect(() => openTap()).toThrow(/fast: EPERM: open core.bpf.o: Operation not permitted/);
    expect(addon.log).toEqual(['open core.bpf.o', 'open core.bpf.o']);
  });

  test.each([
    [
      'a tracker is refused',
      () => addon.attachErrors.set('kt_exec', addonError('EBUSY', 'kt_exec: busy')),
      /kt_exec.*busy/,
    ],
    ['it cannot tell who it is', () => (addon.testRunError = addonError('EINVAL', 'kt_identify: no')), /process id/],
  ])('leaves nothing behind when %s', (_, break_, message) => {
    break_();
    expect(() => openTap()).toThrow(message as RegExp);
    expect(addon.closed).toBe(1);
  });

  test('leaves nothing behind when the settings cannot be', () => {
    expect(() => openTap({ config: { ...DEFAULT_TAP_CONFIG, argvCap: -1 } })).toThrow(RangeError);
    expect(() => openTap({ sensitive: { files: ['x'], sockets: [] } })).toThrow(RangeError);
    expect(addon.closed).toBe(2);
  });
});

describe('choosing a tier', () => {
  test('a trampoline that the kernel grants is taken first', () => {
    const [status] = openTap().enable([KT_FILE_OPEN]);
    expect(status).toMatchObject({
      state: 'on',
      tier: 'trampoline',
      reason: '',
      programs: ['kt_do_file_open_root', 'kt_do_filp_open'],
    });
  });

  test('a trampoline whose function has another name on this kernel is taken by that name', () => {
    addon.loadErrors.set('kt_do_filp_open', addonError('ESRCH', 'load: no'));
    const [status] = openTap().enable([KT_FILE_OPEN]);
    expect(status).toMatchObject({
      state: 'on',
      tier: 'trampoline',
      programs: ['kt_do_file_open_root', 'kt_do_file_open'],
    });
  });

  test('refused trampolines are asked for once, then system calls are taken and the reason is kept', () => {
    refuseTrampolines();
    const [status] = openTap().enable([KT_FILE_OPEN]);
    expect(status).toMatchObject({ state: 'on', tier: 'syscall' });
    expect(status?.reason).toBe("trampoline: EPERM: prog 'kt_do_filp_open': BPF program load failed: no");
    expect(addon.log.filter((line) => line.includes('kt_do_fil'))).toHaveLength(1);
  });

  test('per-syscall tracepoints that are closed give way to raw system calls, and the kernel side is told of it', () => {
    refuseTrampolines();
    const tap = openTap();
    for (const name of ['kt_sys_exit_openat', 'kt_sys_enter_fchmod', 'kt_sys_enter_close']) {
      addon.attachErrors.set(name, addonError('EACCES', `${name}: Permission denied`));
    }
    const kinds = [KT_FILE_OPEN, KT_FILE_CHMOD, KT_FILE_CLOSE, KT_FILE_RENAME];
    expect(tap.enable(kinds).map(({ tier }) => tier)).toEqual(['raw_syscall', 'raw_syscall', 'raw_syscall', 'syscall']);
    expect(bits(CONFIG.raw_kinds)).toBe((1 << KT_FILE_OPEN) | (1 << KT_FILE_CHMOD) | (1 << KT_FILE_CLOSE));
    expect(bits(CONFIG.enabled_kinds)).toBe(bits(CONFIG.raw_kinds) | (1 << KT_FILE_RENAME));
    expect(addon.attached).not.toContain('kt_sys_exit_fchmod');
    tap.disable([KT_FILE_OPEN]);
    expect(addon.attached).toContain('kt_file_raw_exit');
    tap.disable([KT_FILE_CHMOD]);
    expect(addon.attached).not.toContain('kt_file_raw_exit');
    expect(addon.attached).toContain('kt_file_raw_enter');
    expect(bits(CONFIG.raw_kinds)).toBe(1 << KT_FILE_CLOSE);
  });

  test('a system call that this architecture has not is left out without a word', () => {
    const tap = openTap();
    addon.attachErrors.set('kt_sys_enter_chmod', addonError('ENOENT', 'kt_sys_enter_chmod: No such file or directory'));
    addon.attachErrors.set('kt_sys_exit_chmod', addonError('ENOENT', 'kt_sys_exit_chmod: No such file or directory'));
    const [status] = tap.enable([KT_FILE_CHMOD]);
    expect(status).toMatchObject({ state: 'on', tier: 'syscall', reason: '' });
    expect(status?.programs).not.toContain('kt_sys_exit_chmod');
    expect(status?.programs).toContain('kt_sys_exit_fchmodat2');
  });

  test('an optional program that the verifier refuses is named, the others work', () => {
    addon.loadErrors.set(
      'kt_sys_enter_fchmodat2',
      addonError('EINVAL', 'load: no\nR1 invalid mem access\nprocessed 9 insns'),
    );
    const [status] = openTap().enable([KT_FILE_CHMOD]);
    expect(status).toMatchObject({ state: 'on', tier: 'syscall' });
    expect(status?.reason).toBe('without kt_sys_enter_fchmodat2: EINVAL: R1 invalid mem access');
  });

  test('entries are attached before exits', () => {
    openTap().enable([KT_FILE_RENAME]);
    const order = addon.log.filter((line) => line.startsWith('attach kt_sys')).map((line) => line.includes('_exit_'));
    expect(order).toEqual([false, false, false, true, true, true]);
  });

  test('a kind that nothing can take is failed with the reason of each tier, and stops no other', () => {
    addon.loadErrors.set('kt_process_exec', addonError('EINVAL', 'load process.bpf.o: Invalid argument'));
    const tap = openTap();
    const [exec, exit] = tap.enable([KT_PROCESS_EXEC, KT_PROCESS_EXIT]);
    expect(exec).toMatchObject({ state: 'failed', tier: undefined, programs: [] });
    expect(exec?.reason).toBe('tracker: EINVAL: load process.bpf.o: Invalid argument');
    expect(exit).toMatchObject({ state: 'on' });
    expect(bits(CONFIG.enabled_kinds)).toBe(1 << KT_PROCESS_EXIT);
    addon.loadErrors.clear();
    expect(tap.enable([KT_PROCESS_EXEC])).toMatchObject([{ state: 'on', reason: '' }]);
  });

  test('a kind without a probe is an error of the caller', () => {
    const tap = openTap();
    expect(() => tap.enable([99])).toThrow(RangeError);
    expect(() => tap.disable([0])).toThrow(RangeError);
  });

  test('forks are tracked, not told: no probe takes them', () => {
    expect(() => openTap().enable([KT_PROCESS_FORK])).toThrow(RangeError);
  });
});

describe('turning on and off', () => {
  test('the kinds of a family are loaded at once', () => {
    openTap().enable([KT_PROCESS_EXEC, KT_PROCESS_EXIT]);
    expect(addon.log.filter((line) => line.startsWith('load'))).toEqual([
      'load process.bpf.o kt_process_exec kt_process_exit kt_snapshot_tasks',
    ]);
  });

  test('a program that two kinds need is attached with the first and detached with the last', () => {
    const tap = openTap();
    tap.enable([KT_SOCKET_ACCEPT, KT_SOCKET_CLOSE]);
    tap.enable([KT_SOCKET_CLOSE]);
    expect(addon.log.filter((line) => line === 'attach kt_sys_exit_accept4')).toHaveLength(1);
    tap.disable([KT_SOCKET_ACCEPT]);
    tap.disable([KT_SOCKET_ACCEPT]);
    expect(addon.attached).toContain('kt_sys_exit_accept4');
    tap.disable([KT_SOCKET_CLOSE]);
    expect([...addon.attached]).toEqual(['kt_fork', 'kt_exec']);
  });

  test('what was loaded once is not loaded again', () => {
    const tap = openTap();
    tap.enable([KT_PROCESS_EXEC]);
    tap.disable([KT_PROCESS_EXEC]);
    const before = addon.log.length;
    expect(tap.enable([KT_PROCESS_EXEC])).toMatchObject([{ state: 'on', tier: 'tracker' }]);
    expect(addon.log.slice(before)).toEqual(['attach kt_process_exec']);
  });

  test('the snapshot runs what the kinds that are on need', () => {
    const tap = openTap();
    tap.enable([KT_PROCESS_EXIT]);
    tap.snapshot();
    expect(addon.log.filter((line) => line.startsWith('iterate'))).toEqual(['iterate kt_snapshot_tasks']);
    tap.enable([KT_SOCKET_CLOSE]);
    tap.snapshot();
    expect(addon.log.at(-1)).toBe('iterate kt_snapshot_sockets');
    tap.snapshot('process');
    expect(addon.log.at(-1)).toBe('iterate kt_snapshot_tasks');
    addon.loadErrors.set('kt_snapshot_sockets', addonError('EINVAL', 'x'));
    expect(tap.snapshot()).toEqual([]);
  });
});

describe('settings', () => {
  test('keep the process key that kt_identify wrote', () => {
    const tap = openTap();
    tap.enable([KT_PROCESS_EXEC]);
    tap.configure({ ...DEFAULT_TAP_CONFIG, argvCap: 77 });
    expect([...addon.config().subarray(0, 12)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(bits(CONFIG.argv_cap)).toBe(77);
    expect(bits(CONFIG.enabled_kinds)).toBe(1 << KT_PROCESS_EXEC);
  });

  test('that cannot be leave the old ones', () => {
    const tap = openTap();
    const before = addon.config();
    expect(() => tap.configure({ ...DEFAULT_TAP_CONFIG, failedOpens: true, envCap: 1e9 })).toThrow(RangeError);
    expect(addon.config()).toEqual(before);
    tap.enable([KT_FILE_OPEN]);
    expect(addon.config()[CONFIG.failed_opens]).toBe(0);
  });

  test('attach the entries of opens only while failed opens are wanted', () => {
    refuseTrampolines();
    const tap = openTap();
    tap.enable([KT_FILE_OPEN, KT_FILE_CHMOD]);
    const entries = () => [...addon.attached].filter((name) => name.startsWith('kt_sys_enter_open'));
    expect(entries()).toEqual([]);
    tap.configure({ ...DEFAULT_TAP_CONFIG, failedOpens: true });
    expect(entries()).toEqual(['kt_sys_enter_open', 'kt_sys_enter_openat', 'kt_sys_enter_openat2']);
    expect(tap.status().find(({ kind }) => kind === KT_FILE_OPEN)?.reason).toMatch(/^trampoline: EPERM[^;]*$/);
    tap.configure(DEFAULT_TAP_CONFIG);
    expect(entries()).toEqual([]);
    expect(addon.attached).toContain('kt_sys_exit_openat');
    tap.disable([KT_FILE_OPEN]);
    tap.configure({ ...DEFAULT_TAP_CONFIG, failedOpens: true });
    expect(entries()).toEqual([]);
    tap.enable([KT_FILE_OPEN]);
    expect(entries()).toHaveLength(3);
  });

  test('new sensitive prefixes replace the old ones, nodes of both never meet', () => {
    const tap = openTap();
    const map = () => addon.maps.get('kt_prefixes') ?? new Map();
    const first = new Set(map().keys());
    for (let round = 0; round < 4; round++) {
      tap.setSensitive({ files: ['/etc/a', '/srv/*/b'], sockets: [] });
      expect(map().size).toBe(5);
    }
    tap.setSensitive({ files: [], sockets: [] });
    expect(map().size).toBe(0);
    expect(first.size).toBeGreaterThan(20);
    expect(() => tap.setSensitive({ files: ['relative'], sockets: [] })).toThrow(RangeError);
  });

  test('a policy is written, looked up while there is one, and removed', () => {
    const tap = openTap();
    tap.setPolicy(0x1_0000_0002n, { off: [], sample: [KT_FILE_OPEN], n: 10 });
    expect(addon.config()[CONFIG.policies]).toBe(1);
    const policies = addon.maps.get('kt_policies');
    expect(Buffer.from(policies?.get('0200000001000000') ?? []).toString('hex')).toBe(
      '00000000000400000a00000000000000',
    );
    tap.setPolicy(3n, { off: [KT_PROCESS_EXEC, 31], sample: [], n: 1 });
    expect(Buffer.from(policies?.get('0300000000000000') ?? []).toString('hex')).toBe(
      '02000080000000000100000000000000',
    );
    tap.setPolicy(0x1_0000_0002n, undefined);
    expect(addon.config()[CONFIG.policies]).toBe(1);
    tap.setPolicy(3n, undefined);
    expect([policies?.size, addon.config()[CONFIG.policies]]).toEqual([0, 0]);
    expect(() => tap.setPolicy(4n, { off: [], sample: [], n: 0 })).toThrow(RangeError);
    expect(addon.config()[CONFIG.policies]).toBe(0);
  });
});

describe('what is older than the tap', () => {
  test('a cgroup is told once, what the tracker knows stays', () => {
    const tap = openTap();
    expect(tap.setCgroup(7n, 0n)).toBe(true);
    expect(tap.setCgroup(8n, 8n)).toBe(true);
    expect(tap.setCgroup(7n, 9n)).toBe(false);
    const values = [...(addon.maps.get('kt_cgroups')?.values() ?? [])].map((value) =>
      Buffer.from(value).toString('hex'),
    );
    expect(values).toEqual(['00000000000000000000000000000000', '08000000000000000100000000000000']);
  });

  test('a first process is marked only where it is that very process', () => {
    const tap = openTap();
    const value = Buffer.alloc(PROC.SIZE);
    value.writeBigUInt64LE(123_456_789n, PROC.start_time);
    value.writeBigUInt64LE(55n, PROC.root_id);
    value.writeUInt32LE(42, PROC.image_tgid);
    addon.updateMap({} as never, 'kt_procs', Buffer.from([42, 0, 0, 0]), value);
    const init = { tgid: 42, startTicks: 12, rootId: 55n };
    expect(tap.markInit({ ...init, tgid: 43 })).toBe(false);
    expect(tap.markInit({ ...init, startTicks: 13 })).toBe(false);
    expect(tap.markInit({ ...init, rootId: 56n })).toBe(false);
    expect(tap.markInit(init)).toBe(true);
    expect(Buffer.from(addon.maps.get('kt_procs')?.get('2a000000') ?? []).readUInt32LE(PROC.entry)).toBe(1);
    value.writeUInt32LE(41, PROC.image_tgid);
    addon.updateMap({} as never, 'kt_procs', Buffer.from([42, 0, 0, 0]), value);
    expect(tap.markInit(init)).toBe(false);
  });
});
