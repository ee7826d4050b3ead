import { describe, expect, it } from 'vitest';
import { matchesGlob } from '../../../src/config/glob.ts';
import { type ConfigContext, parseConfig } from '../../../src/config/load.ts';
import { DEFAULT_SETTINGS, nodePlace, overrideMatches, withGiven } from '../../../src/config/settings.ts';

const load = (text: string, context: Partial<ConfigContext> = {}) =>
  parseConfig(Buffer.from(`apiVersion: kerntap.dev/v1alpha1\n${text}`), 'k.yaml', {
    node: { name: 'node-1' },
    ...context,
  });

describe('the settings of a node', () => {
  it('are the defaults where the file says nothing', () => {
    expect(load('')).toEqual(DEFAULT_SETTINGS);
    expect(load('probes:\ntail:\n  # enabled: false\n')).toEqual(DEFAULT_SETTINGS);
  });

  it('keep what the file does not name, key by key; lists are whole', () => {
    const settings = load('probes: {file.close: off}\nargv: {redact: {enabled: false}}\nsensitivePaths: [/a]\n');
    expect(settings).toEqual(
      withGiven(DEFAULT_SETTINGS, {
        probes: { ...DEFAULT_SETTINGS.probes, 'file.close': 'off' },
        argv: { ...DEFAULT_SETTINGS.argv, redact: { ...DEFAULT_SETTINGS.argv.redact, enabled: false } },
        sensitivePaths: ['/a'],
      }),
    );
  });

  it('build on a profile, which the file may change', () => {
    expect(load('profile: forensic\n')).toMatchObject({ probes: { 'file.open': 'all' }, failedOpens: true });
    expect(load('profile: forensic\nfailedOpens: false\n')).toMatchObject({
      probes: { 'file.open': 'all' },
      failedOpens: false,
    });
    expect(load('profile: build-systems\n').probes['file.close']).toBe('off');
  });

  it('take off and on as YAML 1.1 tools write them', () => {
    const { probes } = load('probes: {file.open: false, file.close: false, process.exec: true}\n');
    expect(probes).toMatchObject({ 'file.open': 'off', 'file.close': 'off', 'process.exec': 'on' });
  });

  it('take sizes with units', () => {
    expect(load('argv: {capBytes: 4Ki}\ntail: {bytesPerSecond: 1Mi}\n')).toMatchObject({
      argv: { capBytes: 4096 },
      tail: { bytesPerSecond: 1 << 20 },
    });
  });

  it('give the last word to flags', () => {
    const over = (settings: typeof DEFAULT_SETTINGS) => withGiven(settings, { clusterName: 'flag' });
    expect(load('clusterName: file\n', { over }).clusterName).toBe('flag');
  });
});

describe('overrides', () => {
  const text = (match: string) =>
    `failedOpens: false\noverrides:\n  - match: ${match}\n    set: {failedOpens: true, probes: {file.open: all}}\n`;
  const nodes = Array.from({ length: 20_000 }, (_, i) => `ip-10-0-${i >> 8}-${i & 255}.ec2.internal`);

  it('reach so many of a hundred nodes, and the first percent stays in', () => {
    const share = (nodePercent: number) =>
      nodes.filter((name) => overrideMatches({ match: { nodePercent, nodeLabels: undefined }, set: {} }, { name }));
    const one = share(1);
    const five = share(5);
    // 5 standard deviations of a binomial count
    expect(Math.abs(one.length - 200)).toBeLessThan(5 * Math.sqrt(200));
    expect(Math.abs(five.length - 1000)).toBeLessThan(5 * Math.sqrt(1000));
    expect(five).toEqual(expect.arrayContaining(one));
    expect(share(0)).toEqual([]);
    expect(share(100)).toHaveLength(nodes.length);
    for (const name of nodes.slice(0, 20)) {
      expect(load(text('{nodePercent: 30}'), { node: { name } }).failedOpens).toBe(nodePlace(name) < 30);
    }
  });

  it('place a node by its name alone', () => {
    expect(nodePlace('node-1')).toBe(nodePlace('node-1'));
    expect(nodePlace('node-1')).toBeGreaterThanOrEqual(0);
    expect(nodePlace('node-1')).toBeLessThan(100);
  });

  it('match labels only where they are known', () => {
    const by = (labels?: Record<string, string>) =>
      load(text('{nodeLabels: {pool: canary-*}}'), { node: { name: 'n', labels } });
    expect(by({ pool: 'canary-a' })).toMatchObject({ failedOpens: true, probes: { 'file.open': 'all' } });
    expect(by({ pool: 'main' }).failedOpens).toBe(false);
    expect(by(undefined).failedOpens).toBe(false);
  });

  it('apply in order', () => {
    const settings = load(
      'overrides:\n  - match: {nodePercent: 100}\n    set: {clusterName: a, failedOpens: true}\n' +
        '  - match: {nodePercent: 100}\n    set: {clusterName: b}\n',
    );
    expect(settings).toMatchObject({ clusterName: 'b', failedOpens: true });
  });
});

describe('a pattern', () => {
  it.each([
    ['ci', 'ci', true],
    ['ci', 'c', false],
    ['ci-1', 'ci-*', true],
    ['ci-', 'ci-*', true],
    ['xci-1', 'ci-*', false],
    ['', '*', true],
    ['registry/a/b:1', 'registry/*:1', true],
    ['aba', 'ab*ba', false],
    ['abba', 'ab*ba', true],
    ['a-x-b-y-c', 'a*b*c', true],
    ['a-x-c', 'a*b*c', false],
    ['a.c', 'a*c', true],
  ])('%j by %j: %j', (text, pattern, expected) => {
    expect(matchesGlob(text, pattern)).toBe(expected);
  });
});
