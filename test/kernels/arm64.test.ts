import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unseenActs } from '../integration/unseen.ts';
import { arm64, crossBuild } from './arm64.ts';
import { debianKernel } from './debian-kernel.ts';
import { faults, type Run, runTruth, unseenByTrampoline } from './truth-run.ts';

const folder = mkdtempSync(join(tmpdir(), 'kerntap-arm64-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CONFIG = '/etc/kerntap/kerntap.yaml';

/** By program of test/truth: kinds that it does. */
const DONE = [
  ['open', 'file.open'],
  ['failing', 'file.open'],
  ['uring', 'file.open'],
  ['close', 'file.close'],
  ['change', 'file.rename'],
  ['change', 'file.unlink'],
  ['change', 'file.chmod'],
  ['failing', 'file.rename'],
  ['failing', 'file.unlink'],
  ['failing', 'file.chmod'],
  ['tcp', 'socket.listen'],
  ['tcp', 'socket.accept'],
] as const;

describe('built for arm64, on 6.12 for arm64, with BPF and PERFMON only', () => {
  let run: Run;

  beforeAll(async () => {
    const machine = await arm64();
    run = await runTruth({
      machine,
      built: await crossBuild(machine, folder),
      kernel: await debianKernel('trixie', 'arm64'),
      caps: 'BPF,PERFMON',
      // open to who has PERFMON, as where per-syscall tracepoints may be used
      paranoid: 2,
      files: { [CONFIG]: { text: 'apiVersion: kerntap.dev/v1alpha1\nprobes: {file.opne: off}\n' } },
      commands: [['--version'], ['config', 'check', CONFIG]],
      programs: [...new Set(DONE.map(([program]) => program))],
    });
  });

  it('says its version, and what is wrong with a configuration', () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
    const [said, checked] = run.ran;
    expect(run.ran).toHaveLength(2);
    expect(said).toMatchObject({ code: 0, stdout: expect.stringContaining(version) });
    expect(checked?.code).toBe(1);
  });

  it('the doctor finds every probe on, by its best tier', () => {
    expect(run.doctor).toMatchObject({ code: 0, can_run: true });
    const tiers = Object.fromEntries(run.doctor.probes.map(({ kind, tier, state }) => [kind, `${state} ${tier}`]));
    expect(tiers).toEqual({
      'process.exec': 'on tracker',
      'process.exit': 'on tracker',
      'process.io_uring': 'on syscall',
      'file.open': 'on trampoline',
      'file.close': 'on syscall',
      'file.rename': 'on syscall',
      'file.unlink': 'on syscall',
      'file.chmod': 'on syscall',
      'socket.connect': 'on syscall',
      'socket.accept': 'on syscall',
      'socket.listen': 'on syscall',
      'socket.close': 'on tracker',
    });
  });

  it.each(DONE)('tells all that %s does as %s', (program, kind) => {
    const tier = kind === 'file.open' ? 'trampoline' : 'syscall';
    const unseen = tier === 'trampoline' ? unseenByTrampoline : unseenActs(kind === 'file.close' ? 'close' : '');
    expect(run.acts.get(program)?.some((act) => act.kind === kind)).toBe(true);
    expect(faults(run, program, kind, unseen, { tier })).toEqual([]);
  });

  it('loses nothing', () => {
    expect(run.ledger.lost).toEqual([]);
  });
});
