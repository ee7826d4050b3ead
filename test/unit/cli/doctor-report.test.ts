import { describe, expect, it } from 'vitest';
import { canRun, type ProbeFinding, type Report, reportAsJson, reportAsTable } from '../../../src/cli/doctor-report.ts';
import type { Check, Verdict } from '../../../src/kernel/requirements.ts';

const check = (id: string, verdict: Verdict): Check => ({
  id,
  title: `The ${id}`,
  verdict,
  value: `value of ${id}`,
  remedy: verdict === 'warning' || verdict === 'problem' ? `mend ${id}` : '',
});
const on: ProbeFinding = { kind: 'file.open', tier: 'syscall', state: 'on', reason: 'trampoline: EPERM' };
const failed: ProbeFinding = { kind: 'file.close', tier: '', state: 'failed', reason: 'syscall: ENOENT' };
const outcome = (report: Report) => {
  const json = JSON.parse(reportAsJson(report));
  expect(json.can_run).toBe(canRun(report));
  return [json.can_run, json.degraded];
};

describe('the report', () => {
  it('says whether kerntap can run, and whether with less', () => {
    const fine = [check('kernel', 'ok'), check('kubelet', 'unknown')];
    expect(outcome({ facts: [], checks: fine, probes: [{ ...on, reason: '' }] })).toEqual([true, false]);
    expect(outcome({ facts: [], checks: [...fine, check('tracefs', 'warning')], probes: [on] })).toEqual([true, true]);
    expect(outcome({ facts: [], checks: fine, probes: [on, failed] })).toEqual([true, true]);
    expect(outcome({ facts: [], checks: fine, probes: [failed] })).toEqual([false, false]);
    expect(outcome({ facts: [], checks: [...fine, check('btf', 'problem')], probes: [] })).toEqual([false, false]);
    expect(outcome({ facts: [], checks: [...fine, check('btf', 'problem')], probes: [on] })).toEqual([false, false]);
  });

  it('is one JSON object on one line', () => {
    const facts = [{ name: 'host_id', value: 'i-1', source: 'dmi' }];
    const report = { checks: [check('kernel', 'ok'), check('btf', 'problem')], facts, probes: [on, failed] };
    const text = reportAsJson(report);
    expect(text).not.toContain('\n');
    expect(JSON.parse(text)).toEqual({ schema: 1, can_run: false, degraded: false, ...report });
  });

  it('is a table for people: mark, title, value, and the remedy below', () => {
    const facts = [{ name: 'host_id', value: 'i-1', source: 'dmi' }];
    const report = { checks: [check('kernel', 'ok'), check('tracefs', 'warning')], facts, probes: [on, failed] };
    expect(reportAsTable(report)).toBe(
      [
        '✓ The kernel   value of kernel',
        '! The tracefs  value of tracefs',
        '    mend tracefs',
        '',
        'Facts of the node',
        '  host_id      i-1 (dmi)',
        '',
        'Probes',
        '✓ file.open    syscall',
        '    trampoline: EPERM',
        '✗ file.close   none',
        '    syscall: ENOENT',
        '',
        'kerntap runs here, with less than it could: see the lines below !, ✗ and probes.',
        '',
      ].join('\n'),
    );
    expect(reportAsTable({ facts: [], checks: [check('btf', 'problem')], probes: [] })).toMatch(
      /^✗ The btf[\s\S]*cannot run here/,
    );
  });

  it('keeps control characters of the kernel and of peers off the terminal', () => {
    const reason = 'libbpf:\x1b[31m red\nnext\u009b2J\x7f';
    const table = reportAsTable({ facts: [], checks: [check('kernel', 'ok')], probes: [{ ...failed, reason }] });
    expect(table).not.toMatch(/(?!\n)\p{Cc}/u);
    expect(table).toContain('libbpf: [31m red next 2J');
  });
});
