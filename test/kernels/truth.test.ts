import { beforeAll, describe, expect, it } from 'vitest';
import { buildTruth } from '../integration/truth-program.ts';
import { unseenActs } from '../integration/unseen.ts';
import { debianKernel } from './debian-kernel.ts';
import { faults, type Run, runTruth, unseenByTrampoline } from './truth-run.ts';

const nothing: ReadonlySet<string> = new Set();
const changes = ['file.rename', 'file.unlink', 'file.chmod'];

describe('on 6.12, with BPF and PERFMON only and kernel.perf_event_paranoid 3', () => {
  const programs = ['open', 'failing', 'uring', 'close', 'change', 'tcp'];
  let run: Run;

  beforeAll(async () => {
    buildTruth();
    run = await runTruth({ kernel: await debianKernel('trixie'), caps: 'BPF,PERFMON', programs });
  });

  it('the doctor finds every probe on, by a trampoline, a tracker or raw system calls', () => {
    expect(run.doctor).toMatchObject({ code: 0, can_run: true });
    const tiers = Object.fromEntries(run.doctor.probes.map(({ kind, tier, state }) => [kind, `${state} ${tier}`]));
    expect(tiers).toEqual({
      'process.exec': 'on tracker',
      'process.exit': 'on tracker',
      'process.io_uring': 'on raw_syscall',
      'file.open': 'on trampoline',
      'file.close': 'on raw_syscall',
      'file.rename': 'on raw_syscall',
      'file.unlink': 'on raw_syscall',
      'file.chmod': 'on raw_syscall',
      'socket.connect': 'on raw_syscall',
      'socket.accept': 'on raw_syscall',
      'socket.listen': 'on raw_syscall',
      'socket.close': 'on tracker',
    });
  });

  it('was refused perf events: what is on is on without them', () => {
    const close = run.doctor.probes.find(({ kind }) => kind === 'file.close');
    expect(close?.reason).toMatch(/^syscall: EACCES/);
  });

  it.each(['open', 'uring'])(
    'file.open by trampoline tells all of %s, also what no system call tier sees',
    (program) => {
      const tier = 'trampoline';
      expect(faults(run, program, 'file.open', nothing, { tier })).toEqual([]);
    },
  );

  it('file.open by trampoline tells opens that fail, but for those that fail before the file is looked for', () => {
    const done = new Set(run.acts.get('failing')?.map(({ act }) => act));
    expect([...unseenByTrampoline].filter((act) => !done.has(act))).toEqual([]);
    expect(faults(run, 'failing', 'file.open', unseenByTrampoline, { tier: 'trampoline' })).toEqual([]);
  });

  it.each(changes)('raw system calls tell %s, done and failed', (kind) => {
    for (const program of ['change', 'failing']) {
      expect(faults(run, program, kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });

  it('raw system calls tell the close of files that were written', () => {
    const unseen = unseenActs('close');
    expect(faults(run, 'close', 'file.close', unseen, { tier: 'raw_syscall' })).toEqual([]);
  });

  it('loses nothing', () => {
    expect(run.ledger.lost).toEqual([]);
  });

  it('raw system calls tell listen and accept', () => {
    for (const kind of ['socket.listen', 'socket.accept']) {
      expect(faults(run, 'tcp', kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });
});

describe('on 5.10, the oldest kernel', () => {
  const programs = ['open', 'failing', 'change'];
  let run: Run;

  beforeAll(async () => {
    buildTruth();
    // maps count against RLIMIT_MEMLOCK there
    run = await runTruth({ kernel: await debianKernel('bullseye'), caps: 'BPF,PERFMON,SYS_RESOURCE', programs });
  });

  it('every probe is on', () => {
    expect(run.doctor).toMatchObject({ code: 0, can_run: true });
    expect(run.doctor.probes.filter(({ state }) => state !== 'on')).toEqual([]);
  });

  it('file.open tells all opens, done and failed', () => {
    const tier = run.doctor.probes.find(({ kind }) => kind === 'file.open')?.tier;
    expect(tier).toBe('trampoline');
    expect(faults(run, 'open', 'file.open', nothing, { tier })).toEqual([]);
    expect(faults(run, 'failing', 'file.open', unseenByTrampoline, { tier })).toEqual([]);
  });

  it.each(changes)('raw system calls tell %s, done and failed', (kind) => {
    for (const program of ['change', 'failing']) {
      expect(faults(run, program, kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });

  it('loses nothing', () => {
    expect(run.ledger.lost).toEqual([]);
  });
});
