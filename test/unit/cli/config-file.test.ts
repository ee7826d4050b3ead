import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { agentOptions } from '../../../src/cli/agent.ts';
import { run } from '../../../src/cli/config.ts';
import { UsageError } from '../../../src/cli/flags.ts';
import { ConfigError } from '../../../src/config/problem.ts';

const dir = mkdtempSync(join(tmpdir(), 'kerntap-cli-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

function file(text: string): string {
  const path = join(dir, 'kerntap.yaml');
  writeFileSync(path, `apiVersion: kerntap.dev/v1alpha1\n${text}`);
  return path;
}

const ENV = { HOME: '/home/u', NODE_NAME: 'node-7' };
const options = (text: string, ...flags: string[]) => agentOptions(['--config', file(text), ...flags], ENV);

describe('kerntap agent --config', () => {
  it('takes everything from the file', () => {
    expect(
      options(
        'collector: {endpoint: c:4750}\nkubelet: {url: "https://127.0.0.1:10250", insecureSkipVerify: true}\n' +
          'clusterName: prod\nnodeName: n1\n',
      ),
    ).toMatchObject({
      endpoints: ['c:4750'],
      kubelet: 'https://127.0.0.1:10250',
      kubeletInsecure: true,
      clusterName: 'prod',
      nodeName: 'n1',
      config: { file: join(dir, 'kerntap.yaml') },
    });
  });

  it('lets flags win', () => {
    const text =
      'collector: {endpoint: file:1}\nprobes: {file.open: off, file.close: on}\ntail: {eventsPerSecond: 5}\n';
    expect(options(text, '--collector', 'flag:2', '--open-mode', 'all', '--tail-rate', '9')).toMatchObject({
      endpoints: ['flag:2'],
      settings: { probes: { 'file.open': 'all', 'file.close': 'on' }, tail: { eventsPerSecond: 9 } },
    });
    expect(options(text, '--kinds', 'file.open')?.settings.probes).toMatchObject({
      'file.open': 'sensitive',
      'file.close': 'off',
      'process.exec': 'off',
    });
  });

  it('takes several endpoints in their order, from the file or by a flag', () => {
    const text = 'collector: {endpoints: ["a:1", "b:2"]}\n';
    expect(options(text)?.endpoints).toEqual(['a:1', 'b:2']);
    expect(options(text, '--collector', 'c:3, [::1]:4')?.endpoints).toEqual(['c:3', '[::1]:4']);
    expect(() => options(text, '--collector', 'c:3,')).toThrow(/--collector: '' is not HOST:PORT|must not be empty/);
  });

  it('judges overrides by the name and the labels of the node', () => {
    const text =
      'collector: {endpoint: c:1}\noverrides:\n  - match: {nodeLabels: {pool: canary}}\n    set: {failedOpens: true}\n';
    expect(options(text)?.settings.failedOpens).toBe(false);
    expect(options(text, '--node-labels', 'a=b,pool=canary')?.settings.failedOpens).toBe(true);
    const env = { ...ENV, NODE_LABELS: 'pool=canary' };
    expect(agentOptions(['--config', file(text)], env)?.settings.failedOpens).toBe(true);
  });

  it('cannot start with a file that is broken or missing', () => {
    expect(() => options('probs: {}\n')).toThrow(ConfigError);
    expect(() => agentOptions(['--standalone', '--config', join(dir, 'none')], ENV)).toThrow(/is not there; create it/);
  });

  it('still needs somewhere to send events to: a collector, or an OTLP receiver', () => {
    expect(() => options('clusterName: c\n')).toThrow(
      /collector.endpoint or stream.otlp.endpoint in the file of --config/,
    );
    const otlp = options('stream: {otlp: {endpoint: "otel:4317", headers: [{name: a, env: B}]}}\n');
    expect(otlp.endpoints).toEqual([]);
    expect(otlp.settings.stream.otlp).toMatchObject({ endpoint: 'otel:4317', compression: 'gzip', concurrency: 4 });
  });

  it.each([
    ['{name: a}', /headers\[0\].*has no value, or several/],
    ['{name: a, value: x, env: Y}', /headers\[0\].*has no value, or several/],
    ['{name: grpc-timeout, value: x}', /one of gRPC's own/],
    ['{value: x}', /headers\[0\].name.*is missing/],
    ['{name: Up, value: x}', /is not the name of a header in lower case/],
  ])('refuses the header %s', (header, message) => {
    expect(() => options(`stream: {otlp: {endpoint: "o:1", headers: [${header}]}}\n`)).toThrow(message);
  });
});

describe('kerntap config', () => {
  function capture() {
    const out: string[] = [];
    const err: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0);
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => err.push(String(text)) > 0);
    return { out: () => out.join(''), err: () => err.join('') };
  }

  it('check says ok, or each problem on a line and exit code 1', async () => {
    const { out, err } = capture();
    expect(await run(['check', file('profile: forensic\n')])).toBe(0);
    expect(out()).toMatch(/kerntap\.yaml: ok\n$/);
    expect(await run(['check', file('profile: forensc\nfailedOpens: 3\n')])).toBe(1);
    expect(err().trimEnd().split('\n')).toEqual([
      expect.stringMatching(/kerntap\.yaml:2:10: profile: 'forensc' is not known \(did you mean forensic\?\)/),
      expect.stringMatching(/kerntap\.yaml:3:14: failedOpens: '3' is not true or false/),
    ]);
  });

  it('check prints the settings of a node', async () => {
    const { out } = capture();
    const text = 'overrides:\n  - match: {nodePercent: 100}\n    set: {clusterName: canary}\n';
    expect(await run(['check', file(text), '--print', '--node-name', 'n'])).toBe(0);
    expect(JSON.parse(out())).toMatchObject({ clusterName: 'canary', probes: { 'file.open': 'sensitive' } });
  });

  it('explain tells of one key, or of all', async () => {
    const { out } = capture();
    expect(await run(['explain', 'budgets.cpuCores'])).toBe(0);
    expect(out()).toMatch(/^budgets\.cpuCores\n {2}Cores .*\n {2}number, 0 to 64\n {2}default: 0\.25\n$/);
    expect(await run(['explain'])).toBe(0);
    expect(out()).toContain('overrides[].match.nodePercent');
  });

  it('schema prints the JSON Schema', async () => {
    const { out } = capture();
    expect(await run(['schema'])).toBe(0);
    expect(JSON.parse(out())).toHaveProperty('$defs.settings');
  });

  it.each([
    [['explain', 'probs'], /no key probs \(did you mean probes\?\)/],
    [['explain', 'capBytes'], /did you mean argv\.capBytes\?/],
    [['check'], /FILE is missing/],
    [['check', '/x', '--prnt'], /unknown flag: --prnt \(did you mean --print\?\)/],
    [['chek'], /unknown command chek/],
    [['explain', 'a', 'b'], /unexpected argument: b/],
  ])('refuses %j', async (args, message) => {
    const error = await run(args).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toMatch(message);
  });
});
