import os from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { LocalSocket } from '../../../src/agent/local-socket.ts';
import { run } from '../../../src/cli/doctor.ts';
import { askRunning } from '../../../src/cli/doctor-live.ts';
import { UsageError } from '../../../src/cli/flags.ts';
import { nodeTree } from '../kernel/node-tree.ts';

function captureStdout(): () => string {
  let text = '';
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  onTestFinished(() => spy.mockRestore());
  return () => text;
}

describe('kerntap doctor', () => {
  it.each([
    ['an unknown flag', ['--jsn'], /--jsn.*--json/],
    ['an argument', ['now'], /now/],
    ['a collector without a port', ['--collector', 'localhost'], /HOST:PORT/],
    ['a kubelet in the clear', ['--kubelet', 'http://127.0.0.1:10255'], /https/],
    ['a kubelet that is no URL', ['--kubelet', 'node-a'], /https/],
    ['a token without a kubelet', ['--kubelet-token-file', '/t'], /needs --kubelet/],
    ['a CA without a kubelet', ['--kubelet-ca-file', '/t'], /needs --kubelet/],
  ])('refuses %s', async (_, args, message) => {
    const refused = run(args);
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(message);
  });

  it('prints its flags', async () => {
    const stdout = captureStdout();
    expect(await run(['--help'])).toBe(0);
    expect(stdout()).toContain('--bpf-dir DIR');
  });

  it('asks the agent that runs here for its probes and its health', async () => {
    const path = join(nodeTree({ files: {} }), 'agent.sock');
    const probes = [
      { name: 'file.open', tier: 'syscall', state: 'on', reason: '' },
      { name: 'file.close', tier: '', state: 'failed', reason: 'EPERM' },
      { name: 'socket.accept', tier: '', state: 'off', reason: '' },
    ];
    const facts = [{ name: 'host_id', value: 'i-0abc', source: 'dmi' }];
    const finding = { part: 'probe', name: 'file.close', reason: 'EPERM' };
    const health = { status: 'degraded', failed: [], degraded: [finding] };
    const local = await LocalSocket.open({
      path,
      answers: {
        ledger: () => ({}),
        status: () => ({ version: '1.2.3', uptime_s: 5, health, facts, fact_problems: ['no node object'], probes }),
        tail: () => ({ close: () => {} }),
      },
    });
    onTestFinished(() => local.close());
    const stdout = captureStdout();
    await run(['--json', '--socket', path]);
    const report = JSON.parse(stdout());
    expect(report.probes).toEqual(probes.map(({ name, ...rest }) => ({ kind: name, ...rest })));
    expect(report.checks.find(({ id }: { id: string }) => id === 'agent')).toMatchObject({
      verdict: 'warning',
      value: '1.2.3, up 5 s, degraded; probe file.close: EPERM',
    });
    expect(report.facts).toEqual(facts);
    expect(report.checks.find(({ id }: { id: string }) => id === 'node_facts')).toMatchObject({
      verdict: 'warning',
      value: 'no node object',
    });
    expect(await askRunning(`${path}.none`)).toBeUndefined();
  });

  it('tells the facts of the node and their sources where no agent does', async () => {
    const stdout = captureStdout();
    await run(['--json', '--socket', 'off', '--node-name', 'node-7']);
    const { facts } = JSON.parse(stdout());
    expect(facts).toContainEqual({ name: 'node_name', value: 'node-7', source: 'value' });
    expect(facts).toContainEqual({ name: 'kernel_release', value: os.release(), source: 'uname' });
  });

  it('exits with 1, the problem and its remedy on a node that cannot run a tap', async () => {
    const files = { 'proc/self/status': 'CapEff:\t0000000000000000\n' };
    const proc = join(nodeTree({ files }), 'proc');
    const stdout = captureStdout();
    expect(await run(['--json', '--proc', proc, '--socket', 'off'])).toBe(1);
    const report = JSON.parse(stdout());
    expect(report).toMatchObject({ schema: 1, can_run: false, probes: [] });
    const problem = report.checks.find(({ id }: { id: string }) => id === 'capabilities');
    expect(problem).toMatchObject({ verdict: 'problem', remedy: expect.stringContaining('BPF and PERFMON') });
  });
});
